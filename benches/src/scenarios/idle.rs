//! What a dispatcher asks of a database while nothing happens.

use std::time::Duration;

use super::Context;
use crate::database::{Bed as _, PostgresBed};
use crate::figures::{Spread, Table};
use crate::library::{self, Running};
use crate::machine;
use crate::output::Goal::{AtMost, None as Stated};
use crate::receiver::Receiver;

/// How long a dispatcher gets to find out that nothing happens, and a server to count what it was asked.
const SETTLES: Duration = Duration::from_secs(12);

pub(super) async fn run(context: &mut Context<'_>) {
    context.needs_postgres();
    let lasts = context.seconds(60);
    let bed = PostgresBed::new(false).await;
    let mut table = Table::new("Transactions of an idle minute", "a minute");
    // The server itself, cleaning up, is counted alone first, and not what made the tables.
    tokio::time::sleep(SETTLES).await;
    let alone = transactions(&bed, lasts).await;
    table.add("no dispatcher", alone);
    let running = Running::start(bed.elsewhere(), library::settings(None), Receiver::new(1, 0));
    tokio::time::sleep(SETTLES).await;
    let (own, server) = (machine::own_time(), bed.server_time().await);
    let with = transactions(&bed, lasts).await;
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

/// Transactions a minute of the whole database, apart from our question. An idle dispatcher asks one statement at a
/// time, each a transaction.
async fn transactions(bed: &PostgresBed, lasts: Duration) -> f64 {
    let count = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()";
    let before = bed.number(count).await;
    tokio::time::sleep(lasts + SETTLES).await;
    let after = bed.number(count).await;
    (after - before - 1) as f64 * 60.0 / (lasts + SETTLES).as_secs_f64()
}
