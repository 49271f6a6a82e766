//! The program on a broker that survives it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use outbox::MessageId;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{FutureProducer, FutureRecord};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Connection, Row};
use tokio::process::Command;
use uuid::Uuid;

use crate::messages::topic;
use crate::support::{PATIENCE, built_with, run};

/// A broker as long as this value lives. It may not move, so it stays on a thread of its own.
struct Broker {
    address: String,
    _end: mpsc::Sender<()>,
}

impl Broker {
    fn start() -> Self {
        let (end, ended) = mpsc::channel::<()>();
        let (told, address) = mpsc::channel();
        std::thread::spawn(move || {
            let mock = MockCluster::new(1).expect("a mock cluster");
            for topic in topic::ALL {
                mock.create_topic(topic, 4, 1).expect("a topic");
            }
            told.send(mock.bootstrap_servers()).expect("somebody waits");
            let _ = ended.recv();
        });
        Self { address: address.recv().expect("the address"), _end: end }
    }

    /// How many records lie in all topics.
    fn records(&self) -> i64 {
        let consumer: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", &self.address).create().expect("a consumer");
        let partitions = topic::ALL.iter().flat_map(|topic| (0..4).map(move |partition| (topic, partition)));
        partitions
            .map(|(topic, partition)| {
                let (low, high) = consumer.fetch_watermarks(topic, partition, PATIENCE).expect("it answers");
                high - low
            })
            .sum()
    }
}

fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| built_with("orders", "kafka"))
}

/// The program, with `orders` of its own, on `brokers` or on the ones it brings itself.
fn command(data_dir: &Path, brokers: Option<&str>, orders: usize) -> Command {
    let mut command = Command::new(program());
    for variable in ["DATABASE_URL", "KAFKA_BROKERS", "RUST_LOG"] {
        command.env_remove(variable);
    }
    if let Some(brokers) = brokers {
        command.env("KAFKA_BROKERS", brokers);
    }
    command.arg("--data-dir").arg(data_dir).arg("--orders").arg(orders.to_string());
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs the program until everything has arrived.
async fn finish(data_dir: &Path, broker: &Broker, orders: usize) -> String {
    let (status, story, errors) = run(command(data_dir, Some(&broker.address), orders)).await;
    assert!(status.success(), "{story}\n{errors}");
    story
}

async fn query(data_dir: &Path, sql: &'static str) -> Vec<AnyRow> {
    sqlx::any::install_default_drivers();
    let url = format!("sqlite:{}", data_dir.join("orders.db").display());
    let mut connection = AnyConnection::connect(&url).await.expect("the database opens");
    let rows = sqlx::query(sql).fetch_all(&mut connection).await.expect("the query runs");
    connection.close().await.expect("the database closes");
    rows
}

/// Everything that was published has arrived, its work was done once, and that of each order in the order of its steps.
/// Answers how many messages that were.
async fn assert_worked_once(data_dir: &Path) -> usize {
    let published = query(data_dir, "select message_id from order_message").await;
    let published: BTreeSet<String> = published.iter().map(|row| row.get(0)).collect();
    let work = query(data_dir, "select message_id, order_id, message_type, record from work order by seq").await;
    let worked: Vec<String> = work.iter().map(|row| row.get(0)).collect();
    assert_eq!(worked.iter().cloned().collect::<BTreeSet<_>>(), published, "nothing is lost, nothing made up");
    assert_eq!(worked.len(), published.len(), "each once");

    let mut steps: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in &work {
        if row.get::<&str, _>(3).starts_with(topic::ORDERS) {
            steps.entry(row.get(1)).or_default().push(row.get(2));
        }
    }
    let orders = query(data_dir, "select id, status from customer_order").await;
    assert_eq!(steps.len(), orders.len(), "every order has arrived");
    for steps in steps.values() {
        let all = ["order.placed", "order.confirmed", "order.cancelled"];
        let positions: Vec<_> = steps.iter().map(|step| all.iter().position(|known| known == step)).collect();
        assert!(positions.is_sorted() && positions[0] == Some(0), "out of order: {steps:?}");
    }
    published.len()
}

#[tokio::test]
async fn without_a_server_it_tells_what_arrived_where() {
    let data = tempfile::tempdir().expect("a folder");
    let (status, story, errors) = run(command(data.path(), None, 3)).await;
    assert!(status.success(), "{story}\n{errors}");
    assert_eq!(errors, "", "nothing went wrong, so nothing is logged");
    assert!(story.contains("inside this process"), "{story}");
    for part in ["shop.orders/", "bank: pay back 20.99 EUR", "warehouse: pack and ship", "mail to Alan"] {
        assert!(story.contains(part), "{part}: {story}");
    }
    assert_eq!(assert_worked_once(data.path()).await, 17);
}

#[tokio::test]
async fn killed_between_sending_and_settling_it_sends_again_and_works_once() {
    let (data, broker) = (tempfile::tempdir().expect("a folder"), Broker::start());
    let mut dies = command(data.path(), Some(&broker.address), 3);
    dies.args(["--die", "sending"]);
    let (status, _, errors) = run(dies).await;
    assert!(!status.success() && errors.contains("dying on purpose"), "{errors}");
    assert!(broker.records() > 0, "the records were sent");

    finish(data.path(), &broker, 1).await;
    let published = assert_worked_once(data.path()).await;
    assert!(broker.records() > published as i64, "they were sent twice");
}

#[tokio::test]
async fn killed_before_the_work_is_committed_it_receives_again_and_works_once() {
    let (data, broker) = (tempfile::tempdir().expect("a folder"), Broker::start());
    let mut dies = command(data.path(), Some(&broker.address), 3);
    dies.args(["--die", "receiving"]);
    let (status, _, errors) = run(dies).await;
    assert!(!status.success() && errors.contains("dying on purpose"), "{errors}");
    assert_eq!(query(data.path(), "select 1 from work").await.len(), 0, "the work died with it");

    finish(data.path(), &broker, 1).await;
    assert_worked_once(data.path()).await;
}

#[tokio::test]
async fn killed_at_any_moment_it_loses_nothing_and_works_once() {
    let (data, broker) = (tempfile::tempdir().expect("a folder"), Broker::start());
    for _ in 0..4 {
        let mut command = command(data.path(), Some(&broker.address), 20);
        let mut life = command.stdout(Stdio::null()).spawn().expect("it starts");
        // Anywhere from the start over the first records to the end of its work.
        let moment = Duration::from_millis(Uuid::now_v7().as_u64_pair().1 % 7_000);
        if tokio::time::timeout(moment, life.wait()).await.is_err() {
            life.kill().await.expect("it can be killed");
        }
    }
    finish(data.path(), &broker, 1).await;
    let published = assert_worked_once(data.path()).await;
    println!("{published} messages, {} records", broker.records());
}

#[tokio::test]
async fn what_it_does_not_know_is_refused_and_kept_and_holds_up_nothing() {
    let (data, broker) = (tempfile::tempdir().expect("a folder"), Broker::start());
    let producer: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", &broker.address).create().expect("a producer");
    let newer = MessageId::generate().to_string();
    let headers = [("outbox-id", newer.as_str()), ("outbox-type", "order.placed"), ("message-version", "2")];
    let headers = headers.into_iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
        headers.insert(Header { key, value: Some(value) })
    });
    for partition in 0..4 {
        // One in front of every order of the program, and one that no outbox has sent.
        for headers in [headers.clone(), OwnedHeaders::new()] {
            let record = FutureRecord::to(topic::ORDERS).partition(partition).key("k").headers(headers);
            let sent = producer.send(record.payload("{\"from\":\"the future\"}"), PATIENCE).await;
            sent.map_err(|(error, _)| error).expect("the broker takes it");
        }
    }

    let story = finish(data.path(), &broker, 3).await;
    assert!(story.contains("8 records were refused"), "{story}");
    assert_worked_once(data.path()).await;
    let kept = query(data.path(), "select why, cast(value as text), headers from refused_record").await;
    assert_eq!(kept.len(), 8);
    for row in &kept {
        let (why, value, headers): (&str, &str, &str) = (row.get(0), row.get(1), row.get(2));
        assert_eq!(value, "{\"from\":\"the future\"}");
        match headers.contains("message-version") {
            true => assert_eq!(why, "order.placed came in version 2; this receiver knows version 1"),
            false => assert!(why.contains("no header outbox-id"), "{why}"),
        }
    }
    let remembered = query(data.path(), "select message_id from outbox_inbox").await;
    let remembered = remembered.iter().any(|row| row.get::<&str, _>(0) == newer);
    assert!(!remembered, "a program that knows version 2 may still work on it");
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_by_name() {
    let data = tempfile::tempdir().expect("a folder");
    for (arguments, says) in [
        (vec!["--die", "sending"], "KAFKA_BROKERS"),
        (vec!["--die", "soon"], "--die"),
        (vec!["--orders", "many"], "--orders"),
        (vec!["--verbose"], "--verbose"),
    ] {
        let mut command = command(data.path(), None, 1);
        command.args(&arguments);
        let (status, _, errors) = run(command).await;
        assert_eq!(status.code(), Some(1), "{arguments:?}: {errors}");
        assert!(errors.contains(says), "{arguments:?}: {errors}");
    }
}
