//! What each part of the owner's protocol costs: a ladder of loops, each with one part more.

use super::Context;
use super::drain::drain_by_hand;
use crate::by_hand::postgres::Loop;
use crate::figures::Table;

pub(super) async fn run(context: &mut Context<'_>) {
    context.needs_postgres();
    let messages = context.messages(100_000);
    let rounds = context.rounds(5);
    let base = Loop::Owner.name();
    for batch in [100, 1_000] {
        let title = format!("The owner's protocol, part by part, batch {batch}");
        let mut rates = Table::new(title.clone(), "messages/s").over(base);
        let mut times = Table::new(title, "µs of processor time a message, loop and server").over(base);
        for round in 0..rounds {
            eprintln!("  batch {batch}, round {} of {rounds}", round + 1);
            for n in 0..Loop::PARTS.len() {
                let part = Loop::PARTS[(n + round) % Loop::PARTS.len()];
                let cost = drain_by_hand(part, batch, messages).await;
                rates.add(part.name(), cost.rate);
                times.add(part.name(), cost.own + cost.server);
            }
        }
        // In the order of the ladder, whichever came first.
        for mut table in [rates, times] {
            table.variants.sort_by_key(|(name, _)| Loop::PARTS.iter().position(|part| part.name() == name));
            context.report.tables.push(table);
        }
    }
    context.report.setting("messages timed", messages);
}
