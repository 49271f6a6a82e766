//! How long a message is under way from its commit to its delivery, and what the wake-up costs those who commit.
//! Measurements: they print figures and assert nothing, so nobody runs them but by name, built with `--release`.

use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use outbox_core::{
    Delivery, Dispatcher, Enqueue, LeasedDispatcher, Outcome, PerMessage, Route, SendOne, async_trait,
};
use outbox_sqlx::PostgresOutbox;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::mpsc;

use crate::fixture::{Schema, message, pool};

const MESSAGES: usize = 1_000;
const SCHEMA: &str = "LATENCY_SCHEMA";

struct Stamp(mpsc::UnboundedSender<(usize, u128)>);

#[async_trait]
impl SendOne for Stamp {
    async fn send(&self, delivery: &Delivery) -> Outcome {
        let number = String::from_utf8_lossy(&delivery.message.payload).parse().unwrap();
        let _ = self.0.send((number, now()));
        Outcome::delivered()
    }
}

fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()
}

/// Commits one message after another on an idle system; tells when each was committed.
async fn produce(outbox: &PostgresOutbox, mut committed: impl FnMut(usize, u128)) {
    for number in 0..MESSAGES {
        tokio::time::sleep(Duration::from_millis(15 + (number as u64 * 7) % 20)).await;
        let mut tx = outbox.begin().await.unwrap();
        outbox.enqueue(&mut tx, &[message("k", &number.to_string())]).await.unwrap();
        outbox.commit(tx).await.unwrap();
        committed(number, now());
    }
}

fn print(what: &str, committed: &[u128], delivered: &[u128]) {
    let mut took: Vec<_> =
        committed.iter().zip(delivered).map(|(from, to)| to.saturating_sub(*from)).collect();
    took.sort_unstable();
    let at = |share: usize| took[took.len() * share / 1000] as f64 / 1e6;
    println!("{what}: p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms", at(500), at(990), at(999));
}

fn start(outbox: PostgresOutbox) -> mpsc::UnboundedReceiver<(usize, u128)> {
    let (sender, delivered) = mpsc::unbounded_channel();
    let dispatcher = LeasedDispatcher::builder(outbox)
        .route(Route::topic("t", PerMessage::new(4, Stamp(sender))))
        .build()
        .unwrap();
    tokio::spawn(async move { dispatcher.run(Box::pin(std::future::pending())).await });
    delivered
}

async fn all(mut delivered: mpsc::UnboundedReceiver<(usize, u128)>) -> Vec<u128> {
    let mut at = vec![0; MESSAGES];
    for _ in 0..MESSAGES {
        let (number, when) = delivered.recv().await.unwrap();
        at[number] = when;
    }
    at
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a part of the measurement below"]
async fn a_producer() {
    let outbox = PostgresOutbox::new(pool(&std::env::var(SCHEMA).unwrap()).await);
    produce(&outbox, |number, when| println!("\ncommitted {number} {when}")).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn from_commit_to_delivery() {
    let schema = Schema::new().await;
    let delivered = start(schema.outbox.clone());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut committed = Vec::new();
    produce(&schema.outbox, |_, when| committed.push(when)).await;
    print("in the same process", &committed, &all(delivered).await);

    let schema = Schema::new().await;
    let delivered = start(schema.outbox.clone());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "latency::a_producer"])
        .env(SCHEMA, &schema.name)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut committed = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        if let Some((_, when)) = line.strip_prefix("committed ").and_then(|rest| rest.split_once(' ')) {
            committed.push(when.parse().unwrap());
        }
    }
    print("in another process", &committed, &all(delivered).await);
    assert!(child.wait().await.unwrap().success());
}

/// Transactions a second of `writers`, each with a business row and, with an outbox, a message.
async fn commits(schema: &Schema, outbox: Option<&PostgresOutbox>, writers: usize) -> f64 {
    let (pool, until) = (&schema.pool, Instant::now() + Duration::from_millis(1_500));
    let write = async |_| {
        let mut done = 0_u32;
        while Instant::now() < until {
            let mut tx = pool.begin().await.unwrap();
            sqlx::query("INSERT INTO business (name) VALUES ('a booking')").execute(&mut *tx).await.unwrap();
            match outbox {
                Some(outbox) => {
                    outbox.enqueue(&mut tx, &[message("k", "a message of some length")]).await.unwrap();
                    outbox.commit(tx).await.unwrap();
                }
                None => tx.commit().await.unwrap(),
            }
            done += 1;
        }
        done
    };
    let started = Instant::now();
    let done = futures_util::future::join_all((0..writers).map(write)).await;
    f64::from(done.iter().sum::<u32>()) / started.elapsed().as_secs_f64()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn what_the_wake_up_costs_those_who_commit() {
    let schema = Schema::new().await;
    schema.execute("CREATE TABLE business (id bigserial PRIMARY KEY, name text NOT NULL)").await;
    let with = PostgresOutbox::new(pool(&schema.name).await);
    let without = PostgresOutbox::builder(schema.pool.clone()).notifications(false).build().unwrap();
    let listeners = std::env::var("LISTENERS").map_or(1, |n| n.parse().unwrap());
    let mut listening = Vec::new();
    for _ in 0..listeners {
        let mut listener = sqlx::postgres::PgListener::connect_with(&pool(&schema.name).await).await.unwrap();
        listener.listen("outbox_messages").await.unwrap();
        listening.push(tokio::spawn(async move { while listener.recv().await.is_ok() {} }));
    }
    for writers in [1, 8] {
        let (mut ratios, mut plain) = (Vec::new(), Vec::new());
        for _ in 0..7 {
            let business = commits(&schema, None, writers).await;
            let silent = commits(&schema, Some(&without), writers).await;
            let told = commits(&schema, Some(&with), writers).await;
            ratios.push(told / silent);
            plain.push(told / business);
            schema.execute("TRUNCATE outbox_messages, business").await;
        }
        ratios.sort_by(f64::total_cmp);
        plain.sort_by(f64::total_cmp);
        println!(
            "{writers} writers: with notifications ÷ without {:.2}; ÷ business alone {:.2}",
            ratios[3], plain[3]
        );
    }
}
