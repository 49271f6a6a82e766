//! From the commit to the delivery on an idle system: in the process that commits, and in another one.

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use outbox::{Delivery, DeliveryReport, OutboxStore, Outcome, Transport, async_trait};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::interval;

use super::Context;
use crate::database::{Bed, Database, MySqlBed, PostgresBed, SqliteBed};
use crate::figures::{Table, percentile};
use crate::library::{self, Running};
use crate::load::{message, number_in};
use crate::output::Goal::AtMost;
use crate::receiver::Receiver;

/// Messages a second.
const RATE: u32 = 50;

pub(super) async fn run(context: &mut Context<'_>) {
    let messages = context.messages(500);
    let rounds = context.rounds(3);
    let mut table = Table::new("From the commit to the delivery, 50 messages a second", "ms");
    for round in 0..rounds {
        eprintln!("  round {} of {rounds}", round + 1);
        let mut places = vec![("same process", to_us(context.database, messages).await)];
        if context.database != Database::Memory {
            places.push(("another process", elsewhere(context.database, messages).await));
        }
        for (place, late) in places {
            for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
                table.add(format!("{place}, {name}"), percentile(&late, share));
            }
        }
    }
    context.report.setting("messages a round", messages);
    let aims = [
        ("same process, p50", 1.0),
        ("same process, p99", 5.0),
        ("another process, p50", 2.0),
        ("another process, p99", 10.0),
    ];
    for (name, goal) in aims {
        context.report.aim(format!("commit to delivery, {name}, ms"), AtMost(goal), table.spread(name));
    }
    context.report.tables = vec![table];
}

/// Milliseconds of each message, delivered to this process.
async fn to_us(database: Database, messages: usize) -> Vec<f64> {
    let receiver = Receiver::with_times(messages + 1, 0);
    here(database, messages, &receiver, receiver.clone()).await
}

/// Milliseconds of each message, delivered by the process that commits, until `receiver` sees it.
pub(super) async fn here(
    database: Database,
    messages: usize,
    receiver: &Receiver,
    transport: impl Transport,
) -> Vec<f64> {
    let bed = database.open(false).await;
    let running = Running::start(bed.store(), library::settings(None), transport);
    bed.enqueue(&[message(0, 0)]).await;
    while receiver.count() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut ticks = interval(Duration::from_secs(1) / RATE);
    let mut committed = Vec::with_capacity(messages);
    for number in 1..=messages {
        ticks.tick().await;
        bed.enqueue(&[message(number, 0)]).await;
        committed.push(Instant::now());
    }
    receiver.wait().await;
    running.stop().await;
    receiver.check(messages + 1, bed.left().await);
    let arrived = receiver.times();
    let late = |(n, committed): (usize, &Instant)| {
        arrived[n + 1].expect("it arrived").saturating_duration_since(*committed).as_secs_f64() * 1e3
    };
    committed.iter().enumerate().map(late).collect()
}

/// The same, delivered by a process of its own.
async fn elsewhere(database: Database, messages: usize) -> Vec<f64> {
    match database {
        Database::Memory => Vec::new(),
        Database::Sqlite => {
            let bed = SqliteBed::new(false).await;
            to_a_child(&bed, "sqlite", &bed.path.display().to_string(), messages).await
        }
        Database::Postgres => {
            let bed = PostgresBed::new(false).await;
            to_a_child(&bed, "postgres", &bed.schema, messages).await
        }
        Database::MySql => {
            let bed = MySqlBed::new(false).await;
            to_a_child(&bed, "mysql", &bed.database, messages).await
        }
    }
}

async fn to_a_child(bed: &dyn Bed, database: &str, place: &str, messages: usize) -> Vec<f64> {
    let mut child = tokio::process::Command::new(std::env::current_exe().expect("a program"))
        .args([
            super::CHILD,
            "latency",
            place,
            "--database",
            database,
            "--messages",
            &(messages + 1).to_string(),
        ])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("a child");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    bed.enqueue(&[message(0, 0)]).await;
    lines.next_line().await.expect("a line").expect("the first message");
    let reads = tokio::spawn(async move {
        let mut arrived = vec![0; messages];
        for _ in 0..messages {
            let line = lines.next_line().await.expect("a line").expect("a message");
            let (number, micros) = line.split_once(' ').expect("number and time");
            let number: usize = number.parse().expect("a number");
            assert_eq!(
                std::mem::replace(&mut arrived[number - 1], micros.parse().expect("a time")),
                0,
                "arrived twice"
            );
        }
        arrived
    });
    let mut ticks = interval(Duration::from_secs(1) / RATE);
    let mut committed = Vec::with_capacity(messages);
    for number in 1..=messages {
        ticks.tick().await;
        bed.enqueue(&[message(number, 0)]).await;
        committed.push(now());
    }
    let arrived: Vec<u64> = reads.await.expect("every message arrived");
    assert!(child.wait().await.expect("its end").success(), "the other process ended well");
    assert_eq!(bed.left().await, 0, "everything was settled");
    committed
        .iter()
        .zip(arrived)
        .map(|(committed, arrived)| arrived.saturating_sub(*committed) as f64 / 1e3)
        .collect()
}

/// Delivers in a process of its own and prints when each message arrived.
pub(super) async fn child(store: Arc<dyn OutboxStore>, messages: usize) {
    let receiver = Receiver::new(messages, 0);
    let running = Running::start(store, library::settings(None), Printing(receiver.clone()));
    receiver.wait().await;
    running.stop().await;
}

struct Printing(Receiver);

#[async_trait]
impl Transport for Printing {
    async fn deliver(&self, batch: &[Delivery], report: &DeliveryReport) {
        let arrived = now();
        for delivery in batch {
            println!("{} {arrived}", number_in(&delivery.message.payload));
        }
        self.0.see(batch.iter().map(|delivery| number_in(&delivery.message.payload)));
        report.record_rest(batch, &Outcome::delivered());
    }
}

/// The clock that processes of one machine share, in microseconds.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    u64::try_from(since.as_micros()).expect("a clock of this age")
}
