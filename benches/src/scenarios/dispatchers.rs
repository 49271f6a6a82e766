//! One, two and four dispatchers of one outbox: what they deliver together.

use std::time::Duration;

use outbox::Settings;

use super::Context;
use crate::database::{Bed as _, PostgresBed};
use crate::figures::Table;
use crate::library::{self, Running};
use crate::load::Load;
use crate::output::Goal::AtLeast;
use crate::receiver::Receiver;

const KEYS: usize = 10_000;

pub(super) async fn run(context: &mut Context<'_>) {
    context.needs_postgres();
    let messages = context.messages(100_000);
    let rounds = context.rounds(5);
    let one = "1 dispatcher";
    let mut table = Table::new("Drain by dispatchers, together", "messages/s").over(one);
    for round in 0..rounds {
        eprintln!("  round {} of {rounds}", round + 1);
        let mut counts = [1, 2, 4];
        counts.rotate_left(round % 3);
        for count in counts {
            let name = if count == 1 { one.to_owned() } else { format!("{count} dispatchers") };
            table.add(name, together(count, messages).await);
        }
    }
    table.variants.sort_by(|(a, _), (b, _)| a.cmp(b));
    for count in [2, 4] {
        let ratio = table.ratio(&format!("{count} dispatchers"), one);
        context.report.aim(format!("{count} dispatchers ÷ one"), AtLeast(0.95), ratio);
    }
    context.report.setting("messages timed", messages);
    context.report.tables = vec![table];
}

/// They share the slots of an empty outbox first; then everything is committed at once.
async fn together(count: usize, messages: usize) -> f64 {
    let bed = PostgresBed::new(false).await;
    let receiver = Receiver::new(messages, KEYS);
    let often = Duration::from_millis(25);
    let settings = Settings {
        lease: Duration::from_secs(3),
        poll_min: often,
        poll_max: often,
        ..library::settings(None)
    };
    let start = || Running::start(bed.elsewhere(), settings.clone(), receiver.clone());
    let running: Vec<Running> = (0..count).map(|_| start()).collect();
    let shared = format!(
        "SELECT count(*) FROM (SELECT FROM outbox_leases WHERE epoch IS NOT NULL GROUP BY epoch HAVING count(*) = {})
            AS shares",
        16 / count
    );
    while bed.number(shared.as_str()).await != i64::try_from(count).expect("a few") {
        tokio::time::sleep(often).await;
    }
    bed.fill_at_once(Load::first(messages, KEYS)).await;
    receiver.wait().await;
    for running in running {
        running.stop().await;
    }
    receiver.check(messages, bed.left().await);
    receiver.rate()
}
