//! The write-ahead log that a drain writes, without the images of whole pages.

use super::Context;
use crate::arguments::refuse;
use crate::by_hand::postgres::Loop;
use crate::database::{Bed as _, PostgresBed};
use crate::figures::Table;
use crate::library;
use crate::load::Load;
use crate::output::Goal::AtMost;
use crate::receiver::Receiver;

const KEYS: usize = 10_000;
const BEHIND: usize = 20_000;

pub(super) async fn run(context: &mut Context<'_>) {
    context.needs_postgres();
    can_tell_records().await;
    let messages = context.messages(100_000);
    let rounds = context.rounds(3);
    let mut table = Table::new("Write-ahead log of a drain", "bytes a message");
    for round in 0..rounds {
        eprintln!("  round {} of {rounds}", round + 1);
        for batch in [100, 1_000] {
            table.add(format!("library, batch {batch}"), log_of(None, batch, messages).await);
            for by_hand in [Loop::Owner, Loop::Claiming] {
                let name = format!("{}, batch {batch}", by_hand.name());
                table.add(name, log_of(Some(by_hand), batch, messages).await);
            }
        }
    }
    context.report.setting("messages drained", messages);
    let aim = "write-ahead log a message drained, batch 100, without page images, bytes";
    context.report.aim(aim, AtMost(120.0), table.spread("library, batch 100"));
    context.report.tables = vec![table];
}

/// Ends the program where the server cannot tell records from images of whole pages.
async fn can_tell_records() {
    let bed = PostgresBed::new(false).await;
    let there = "SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_walinspect'";
    let there = bed.number(there).await > 0;
    // A refusal ends the process at once, and no schema is to stay behind.
    drop(bed);
    if !there {
        refuse(
            "wal wants the extension pg_walinspect, which this server lacks; it comes with PostgreSQL 15 and later, in \
             the package of the server or in postgresql-contrib. The scenario peers counts the log without it",
        );
    }
}

async fn log_of(by_hand: Option<Loop>, batch: usize, messages: usize) -> f64 {
    let bed = PostgresBed::new(false).await;
    bed.run("CREATE EXTENSION IF NOT EXISTS pg_walinspect SCHEMA public").await;
    let receiver = Receiver::new(messages, KEYS);
    let load = Load::first(messages + BEHIND, KEYS);
    let by_hand_or_library = by_hand.unwrap_or(Loop::Library);
    by_hand_or_library.fill(&bed, load).await;
    let before = bed.text("SELECT pg_current_wal_insert_lsn()::text").await;
    match by_hand {
        Some(by_hand) => by_hand.drain(&bed, batch, &receiver).await,
        None => library::drain(bed.store(), library::settings(Some(batch)), &receiver).await,
    }
    let after = bed.text("SELECT pg_current_wal_flush_lsn()::text").await;
    let bytes = bed
        .number(format!(
            "SELECT sum(record_size)::bigint FROM public.pg_get_wal_stats('{before}', '{after}')"
        ))
        .await;
    receiver.check(load.len(), by_hand_or_library.left(&bed).await);
    bytes as f64 / receiver.count() as f64
}
