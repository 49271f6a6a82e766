//! What each part of the owner's protocol costs: a ladder of loops, each with one part more.

use super::Context;
use crate::by_hand::postgres::Loop;
use crate::database::PostgresBed;
use crate::figures::Table;
use crate::load::Load;
use crate::receiver::Receiver;

const KEYS: usize = 10_000;
const BEHIND: usize = 20_000;

pub(super) async fn run(context: &mut Context<'_>) {
    context.needs_postgres();
    let messages = context.messages(100_000);
    let rounds = context.rounds(5);
    let batches = [100, 1_000];
    let mut tables = batches.map(|batch| {
        Table::new(format!("The owner's protocol, part by part, batch {batch}"), "messages/s")
            .over(Loop::Owner.name())
    });
    for round in 0..rounds {
        eprintln!("  round {} of {rounds}", round + 1);
        for (table, batch) in tables.iter_mut().zip(batches) {
            for n in 0..Loop::PARTS.len() {
                let part = Loop::PARTS[(n + round) % Loop::PARTS.len()];
                let bed = PostgresBed::new(false).await;
                let receiver = Receiver::new(messages, KEYS);
                let load = Load::first(messages + BEHIND, KEYS);
                part.fill(&bed, load).await;
                part.drain(&bed, batch, &receiver).await;
                receiver.check(load.len(), part.left(&bed).await);
                table.add(part.name(), receiver.rate());
            }
        }
    }
    // In the order of the ladder, whichever came first.
    for table in &mut tables {
        table.variants.sort_by_key(|(name, _)| Loop::PARTS.iter().position(|part| part.name() == name));
    }
    context.report.setting("messages timed", messages);
    context.report.tables = tables.into();
}
