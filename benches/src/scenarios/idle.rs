//! What a dispatcher asks of a database while nothing happens.

use std::time::Duration;

use super::Context;
use crate::arguments::refuse;
use crate::database::Bed;
use crate::figures::{Spread, Table};
use crate::library::{self, Running};
use crate::machine;
use crate::output::Goal::{AtMost, None as Stated};
use crate::receiver::Receiver;

/// How long a dispatcher gets to find out that nothing happens, and a server to count what it was asked.
const SETTLES: Duration = Duration::from_secs(12);

pub(super) async fn run(context: &mut Context<'_>) {
    let lasts = context.seconds(60);
    let bed = context.database.open(false).await;
    if bed.asked().await.is_none() {
        refuse("idle counts what a server is asked; add --database postgres or mysql");
    }
    let mut table = Table::new("Queries of an idle minute", "a minute");
    // The server itself, cleaning up, is counted alone first, and not what made the tables.
    tokio::time::sleep(SETTLES).await;
    let alone = queries(&*bed, lasts).await;
    table.add("no dispatcher", alone);
    let running = Running::start(bed.elsewhere(), library::settings(None), Receiver::new(1, 0));
    tokio::time::sleep(SETTLES).await;
    let (own, server) = (machine::own_time(), bed.server_time().await);
    let with = queries(&*bed, lasts).await;
    let share = |time: f64| Spread::of(&[time / (lasts + SETTLES).as_secs_f64() * 1e3]);
    let (own, server) = (share(machine::own_time() - own), share(bed.server_time().await - server));
    running.stop().await;
    table.add("an idle dispatcher", with);
    let report = &mut context.report;
    report.setting("seconds", lasts.as_secs());
    report.aim("queries of an idle dispatcher a minute", AtMost(60.0), Spread::of(&[with - alone]));
    report.aim("processor time of an idle dispatcher, ms a second", Stated, own);
    report.aim("processor time of the server meanwhile, ms a second", Stated, server);
    report.tables = vec![table];
}

/// Queries a minute, apart from our own. PostgreSQL counts transactions; an idle dispatcher asks one statement at a
/// time, each a transaction. MySQL and MariaDB count every statement.
async fn queries(bed: &dyn Bed, lasts: Duration) -> f64 {
    let before = bed.asked().await.unwrap_or_default();
    tokio::time::sleep(lasts + SETTLES).await;
    let after = bed.asked().await.unwrap_or_default();
    (after - before - 1) as f64 * 60.0 / (lasts + SETTLES).as_secs_f64()
}
