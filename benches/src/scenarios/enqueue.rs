//! What an enqueue costs inside a one-row business transaction, by the number of writers.

use std::sync::Arc;
use std::time::Instant;

use super::Context;
use crate::database::{Bed, Database};
use crate::figures::Table;
use crate::library::{self, Running};
use crate::load::message;
use crate::output::Goal::AtLeast;
use crate::receiver::Receiver;

const KEYS: usize = 1_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Variant {
    Alone,
    Message,
    /// And a dispatcher of the same process delivers what was committed.
    Delivered,
}

pub(super) async fn run(context: &mut Context<'_>) {
    let transactions = context.messages(4_000);
    let rounds = context.rounds(9);
    // One writer at a time is what SQLite and the memory store allow.
    let writers: &[(usize, f64)] = match context.database {
        Database::Postgres | Database::MySql => &[(1, 0.7), (8, 0.6), (32, 0.6)],
        _ => &[(1, 0.7)],
    };
    for (writers, goal) in writers {
        let alone = "business row alone";
        let mut table = Table::new(format!("Transactions with {writers} writers"), "tx/s").over(alone);
        for round in 0..rounds {
            eprintln!("  {writers} writers, round {} of {rounds}", round + 1);
            let mut variants = [
                (alone, Variant::Alone),
                ("business row and message", Variant::Message),
                ("business row and message, delivered meanwhile", Variant::Delivered),
            ];
            variants.rotate_left(round % 3);
            for (name, variant) in variants {
                table.add(name, transact(context.database, *writers, transactions, variant).await);
            }
        }
        let ratio = table.ratio("business row and message", alone);
        let what = format!("(business + enqueue) ÷ business, {writers} writers, wake-up on");
        context.report.aim(what, AtLeast(*goal), ratio);
        context.report.tables.push(table);
    }
    context.report.setting("transactions timed", transactions);
}

async fn transact(database: Database, writers: usize, transactions: usize, variant: Variant) -> f64 {
    let bed: Arc<dyn Bed> = Arc::from(database.open(false).await);
    let receiver = Receiver::new(transactions, 0);
    let running = (variant == Variant::Delivered)
        .then(|| Running::start(bed.store(), library::settings(None), receiver.clone()));
    // Connections are opened before the clock starts.
    let warm = (0..writers).map(|_| bed.business(None));
    futures_util::future::join_all(warm).await;
    let started = Instant::now();
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let bed = Arc::clone(&bed);
            tokio::spawn(async move {
                for number in (writer..transactions).step_by(writers) {
                    let message = (variant != Variant::Alone).then(|| message(number, KEYS));
                    bed.business(message.as_ref()).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a writer");
    }
    let rate = transactions as f64 / started.elapsed().as_secs_f64();
    if let Some(running) = running {
        receiver.wait().await;
        running.stop().await;
        receiver.check(transactions, bed.left().await);
    } else {
        let expected = if variant == Variant::Alone { 0 } else { transactions };
        assert_eq!(bed.left().await, expected, "every message was stored");
    }
    rate
}
