//! What an enqueue costs inside a one-row business transaction: `cargo bench --bench enqueue -- [--rounds N]`.
//!
//! Business row alone, business row and message, and bulk; the variants take turns, so that a machine that slows
//! down slows all of them.

use std::time::Instant;

use outbox::{Enqueue, SqliteOutbox};
use outbox_benches::{Figures, Load, argument, runtime};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

const TRANSACTIONS: usize = 500;
const BULK: usize = 10_000;

fn main() {
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    runtime().block_on(run());
}

async fn run() {
    let rounds = argument("rounds", 9);
    for (name, synchronous) in [("FULL", SqliteSynchronous::Full), ("NORMAL", SqliteSynchronous::Normal)] {
        let folder = tempfile::tempdir().expect("a folder");
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join("enqueue.sqlite"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(synchronous);
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.expect("a pool");
        let outbox = SqliteOutbox::new(pool.clone());
        outbox.migrate().await.expect("the tables");
        sqlx::query("CREATE TABLE business (id INTEGER PRIMARY KEY, name TEXT NOT NULL)")
            .execute(&pool)
            .await
            .expect("a table");

        let (mut small, mut bulk) = (Figures::default(), Figures::default());
        for _ in 0..rounds {
            small.add("business row alone", transactions(&pool, None).await);
            small.add("business row and message", transactions(&pool, Some(&outbox)).await);
            for batch in [10, 100, 1_000] {
                bulk.add(format!("{batch} a transaction"), in_bulk(&outbox, batch).await);
            }
            sqlx::query("DELETE FROM outbox_messages").execute(&pool).await.expect("room");
        }
        small.print(
            &format!("Transactions a second, one writer, synchronous = {name}"),
            "tx/s",
            "business row alone",
        );
        bulk.print(
            &format!("Messages a second in bulk, synchronous = {name}"),
            "msg/s",
            "1000 a transaction",
        );
    }
}

async fn transactions(pool: &SqlitePool, outbox: Option<&SqliteOutbox>) -> f64 {
    let load = Load { messages: TRANSACTIONS, keys: 100 };
    let messages = load.slice(0, TRANSACTIONS);
    let started = Instant::now();
    for message in &messages {
        let mut tx = pool.begin_with("BEGIN IMMEDIATE").await.expect("begin");
        sqlx::query("INSERT INTO business (name) VALUES ('a booking')")
            .execute(&mut *tx)
            .await
            .expect("insert");
        if let Some(outbox) = outbox {
            outbox.enqueue(&mut tx, std::slice::from_ref(message)).await.expect("enqueue");
        }
        tx.commit().await.expect("commit");
    }
    TRANSACTIONS as f64 / started.elapsed().as_secs_f64()
}

async fn in_bulk(outbox: &SqliteOutbox, batch: usize) -> f64 {
    let messages = Load { messages: BULK, keys: 100 }.slice(0, BULK);
    let started = Instant::now();
    for batch in messages.chunks(batch) {
        let mut tx = outbox.begin().await.expect("begin");
        outbox.enqueue(&mut tx, batch).await.expect("enqueue");
        tx.commit().await.expect("commit");
    }
    BULK as f64 / started.elapsed().as_secs_f64()
}
