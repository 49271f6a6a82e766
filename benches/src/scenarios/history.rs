//! What remembering delivered messages costs, and whether many remembered ones cost more than few.

use super::Context;
use crate::database::Bed;
use crate::figures::Table;
use crate::library;
use crate::load::Load;
use crate::output::Goal::AtLeast;
use crate::receiver::Receiver;

const KEYS: usize = 10_000;
const BEHIND: usize = 20_000;
const KEPT: usize = 1_000_000;

pub(super) async fn run(context: &mut Context<'_>) {
    let messages = context.messages(100_000);
    let rounds = context.rounds(5);
    let (none, empty, full) = ("no history", "history, empty at first", "history of a million");
    eprintln!("  delivering a million messages into the history");
    let kept = context.database.open(true).await;
    let mut loaded = 0;
    while loaded < KEPT {
        drain(&*kept, &mut loaded, 100_000).await;
    }
    let mut table = Table::new("Drain with history", "messages/s").over(none).over(empty);
    for round in 0..rounds {
        eprintln!("  round {} of {rounds}", round + 1);
        for (name, history) in [(none, false), (empty, true)] {
            let bed = context.database.open(history).await;
            table.add(name, drain(&*bed, &mut 0, messages).await);
        }
        table.add(full, drain(&*kept, &mut loaded, messages).await);
    }
    context.report.setting("messages timed", messages);
    context.report.aim("a history of a million ÷ an empty one", AtLeast(0.9), table.ratio(full, empty));
    context.report.aim("a history of a million ÷ none kept", AtLeast(0.7), table.ratio(full, none));
    context.report.tables = vec![table];
}

/// Loads and drains `messages`, numbered from `loaded` on; messages a second.
async fn drain(bed: &dyn Bed, loaded: &mut usize, messages: usize) -> f64 {
    let load = Load { from: *loaded, to: *loaded + messages + BEHIND, keys: KEYS };
    bed.fill(load).await;
    *loaded = load.to;
    let receiver = Receiver::new(messages, KEYS);
    library::drain(bed.elsewhere(), library::settings(None), &receiver).await;
    let rate = receiver.rate();
    // The rest goes too, so that each round begins with an empty outbox.
    let left = bed.left().await;
    receiver.check(load.len(), left);
    if left > 0 {
        let rest = Receiver::new(left, 0);
        library::drain(bed.elsewhere(), library::settings(None), &rest).await;
        rest.check(left, bed.left().await);
    }
    rate
}
