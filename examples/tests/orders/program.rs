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
use serde_json::Value;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Connection, Row};
use tempfile::TempDir;
use tokio::process::Command;
use uuid::Uuid;

use crate::messages::topic;
use crate::python::read_by_python;
use crate::support::{PATIENCE, built_with, run, server};

/// A broker as long as this value lives. It may not move, so it stays on a thread of its own.
pub(crate) struct Broker {
    pub(crate) address: String,
    _end: mpsc::Sender<()>,
}

impl Broker {
    pub(crate) fn start() -> Self {
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
}

/// Where the program runs: it has a folder of its own, and shares broker and database with nobody.
struct World {
    data: TempDir,
    brokers: String,
    topic_prefix: String,
    database_url: Option<String>,
    _broker: Option<Broker>,
}

impl World {
    fn new() -> Self {
        let (data, broker) = (tempfile::tempdir().expect("a folder"), Broker::start());
        let (brokers, topic_prefix) = (broker.address.clone(), String::new());
        Self { data, brokers, topic_prefix, database_url: None, _broker: Some(broker) }
    }

    /// On the broker of `scripts/services`, with topics of its own.
    fn on_the_real_broker() -> Self {
        let topic_prefix = format!("orders_{}.", Uuid::now_v7().simple());
        let data = tempfile::tempdir().expect("a folder");
        let brokers = variable("TEST_KAFKA_BROKERS");
        Self { data, brokers, topic_prefix, database_url: None, _broker: None }
    }

    /// The program, with `orders` new orders.
    fn command(&self, orders: usize) -> Command {
        let mut command = command(self.data.path(), orders);
        command.env("KAFKA_BROKERS", &self.brokers).env("KAFKA_TOPIC_PREFIX", &self.topic_prefix);
        if let Some(url) = &self.database_url {
            command.env("DATABASE_URL", url);
        }
        command
    }

    /// Lets the program die in the middle of three orders.
    async fn die(&self, moment: &str) {
        let mut command = self.command(3);
        command.args(["--die", moment]);
        let (status, story, errors) = run(command).await;
        assert!(!status.success() && errors.contains("dying on purpose"), "{story}\n{errors}");
    }

    /// Runs the program until everything has arrived.
    async fn finish(&self, orders: usize) -> String {
        let (status, story, errors) = run(self.command(orders)).await;
        assert!(status.success(), "{story}\n{errors}");
        story
    }

    /// Dies at both moments, and goes on.
    async fn is_survived(&self) {
        self.finish(3).await;
        self.die("sending").await;
        self.die("receiving").await;
        self.finish(20).await;
        let published = self.assert_worked_once().await;
        assert!(self.records() > published as i64, "some were sent twice");
    }

    /// The same, with a database of its own on that server.
    async fn survive_on(self, server: &str) {
        let server = variable(server);
        let name = format!("orders_{}", Uuid::now_v7().simple());
        let (start, _) = server.rsplit_once('/').expect("the URL names a database");
        let url = format!("{start}/{name}");
        server::create(&url).await;
        Self { database_url: Some(url), ..self }.is_survived().await;
        server::remove(&server, &name).await;
    }

    async fn query(&self, sql: &'static str) -> Vec<AnyRow> {
        sqlx::any::install_default_drivers();
        let file = || format!("sqlite:{}", self.data.path().join("orders.db").display());
        let url = self.database_url.clone().unwrap_or_else(file);
        let mut connection = AnyConnection::connect(&url).await.expect("the database opens");
        let rows = sqlx::query(sql).fetch_all(&mut connection).await.expect("the query runs");
        connection.close().await.expect("the database closes");
        rows
    }

    /// How many records lie in all topics.
    fn records(&self) -> i64 {
        let consumer: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", &self.brokers).create().expect("a consumer");
        let mut records = 0;
        for topic in topic::ALL.map(|topic| format!("{}{topic}", self.topic_prefix)) {
            let metadata = consumer.fetch_metadata(Some(&topic), PATIENCE).expect("it answers");
            for partition in metadata.topics()[0].partitions() {
                let marks = consumer.fetch_watermarks(&topic, partition.id(), PATIENCE);
                let (low, high) = marks.expect("it answers");
                records += high - low;
            }
        }
        records
    }

    /// Everything that was published has arrived, its work was done once, and that of each order in the order of its
    /// steps. Answers how many messages that were.
    async fn assert_worked_once(&self) -> usize {
        let published = self.query("select lower(cast(message_id as char(36))) from order_message").await;
        let published: BTreeSet<String> = published.iter().map(|row| row.get(0)).collect();
        let work = self
            .query(
                "select lower(cast(message_id as char(36))), lower(cast(order_id as char(36))), message_type, record
                 from work order by seq",
            )
            .await;
        let worked: Vec<String> = work.iter().map(|row| row.get(0)).collect();
        assert_eq!(worked.iter().cloned().collect::<BTreeSet<_>>(), published, "nothing is lost or made up");
        assert_eq!(worked.len(), published.len(), "each once");

        let mut steps: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for row in work.iter().filter(|row| row.get::<&str, _>(3).contains(topic::ORDERS)) {
            steps.entry(row.get(1)).or_default().push(row.get(2));
        }
        let orders = self.query("select customer from customer_order").await;
        assert_eq!(steps.len(), orders.len(), "every order has arrived");
        for steps in steps.values() {
            let all = ["order.placed", "order.confirmed", "order.cancelled"];
            let positions: Vec<_> =
                steps.iter().map(|step| all.iter().position(|known| known == step)).collect();
            assert!(positions.is_sorted() && positions[0] == Some(0), "out of order: {steps:?}");
        }
        published.len()
    }
}

fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| built_with("orders", "kafka"))
}

/// The program, with `orders` new orders, on a broker inside it.
fn command(data_dir: &Path, orders: usize) -> Command {
    let mut command = Command::new(program());
    for variable in ["DATABASE_URL", "KAFKA_BROKERS", "KAFKA_TOPIC_PREFIX", "RUST_LOG"] {
        command.env_remove(variable);
    }
    command.arg("--data-dir").arg(data_dir).arg("--orders").arg(orders.to_string());
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

#[tokio::test]
async fn without_a_server_it_tells_what_arrived_where() {
    let data = tempfile::tempdir().expect("a folder");
    let mut command = command(data.path(), 3);
    // Of statements that took a second, sqlx warns: a slow disk is nothing that went wrong.
    command.env("RUST_LOG", "warn,sqlx=error");
    let (status, story, errors) = run(command).await;
    assert!(status.success(), "{story}\n{errors}");
    assert_eq!(errors, "", "nothing went wrong, so nothing is logged");
    assert!(story.contains("inside this process"), "{story}");
    for part in ["shop.orders/", "bank: pay back 20.99 EUR", "warehouse: pack and ship", "mail to Alan"] {
        assert!(story.contains(part), "{part}: {story}");
    }
}

#[tokio::test]
async fn killed_between_sending_and_settling_it_sends_again_and_works_once() {
    let world = World::new();
    world.die("sending").await;
    assert!(world.records() > 0, "the records were sent");
    world.finish(1).await;
    let published = world.assert_worked_once().await;
    assert!(world.records() > published as i64, "they were sent twice");
}

#[tokio::test]
async fn killed_before_the_work_is_committed_it_receives_again_and_works_once() {
    let world = World::new();
    world.die("receiving").await;
    assert_eq!(world.query("select what from work").await.len(), 0, "the work died with it");
    world.finish(1).await;
    world.assert_worked_once().await;
}

#[tokio::test]
async fn killed_at_any_moment_it_loses_nothing_and_works_once() {
    let world = World::new();
    for _ in 0..4 {
        let mut life = world.command(20).stdout(Stdio::null()).spawn().expect("it starts");
        // Anywhere from the start over the first records to the end of its work.
        let moment = Duration::from_millis(Uuid::now_v7().as_u64_pair().1 % 7_000);
        if tokio::time::timeout(moment, life.wait()).await.is_err() {
            life.kill().await.expect("it can be killed");
        }
    }
    world.finish(1).await;
    println!("{} messages, {} records", world.assert_worked_once().await, world.records());
}

#[tokio::test]
#[ignore = "needs PostgreSQL; scripts/test runs it"]
async fn on_postgresql_it_survives_the_same() {
    World::new().survive_on("TEST_POSTGRES_URL").await;
}

#[tokio::test]
#[ignore = "needs MariaDB; scripts/test runs it"]
async fn on_mariadb_it_survives_the_same() {
    World::new().survive_on("TEST_MYSQL_URL").await;
}

#[tokio::test]
#[ignore = "needs Kafka; scripts/test runs it"]
async fn on_a_real_broker_it_survives_the_same() {
    World::on_the_real_broker().is_survived().await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Kafka; scripts/test runs it"]
async fn on_postgresql_and_a_real_broker_it_survives_the_same() {
    World::on_the_real_broker().survive_on("TEST_POSTGRES_URL").await;
}

#[tokio::test]
#[ignore = "needs Kafka and kafka-python; scripts/test runs it"]
async fn on_a_real_broker_python_reads_what_was_published() {
    let world = World::on_the_real_broker();
    world.finish(3).await;
    let topics = topic::ALL.map(|topic| format!("{}{topic}", world.topic_prefix));
    let records = read_by_python(&world.brokers, &topics.each_ref().map(String::as_str));
    let sql =
        "select lower(cast(message_id as char(36))), lower(cast(order_id as char(36))) from order_message";
    let published = world.query(sql).await;
    let published: BTreeMap<String, String> = published.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(records.len(), published.len(), "each message is there once");
    for record in records {
        let headers: BTreeMap<String, String> =
            serde_json::from_value(record["headers"].clone()).expect("names and values");
        let order = &published[&headers["outbox-id"]];
        assert_eq!(record["key"], **order, "the key is the order");
        assert_eq!(record["partition"], record["chosen"], "where Python would send it");
        let value: Value = serde_json::from_str(record["value"].as_str().expect("a value")).expect("JSON");
        assert_eq!(value["order"], **order);
        let names = ["outbox-type", "outbox-created-at", "content-type", "correlation-id", "causation-id"];
        for name in names {
            assert!(headers.contains_key(name), "{name} is in {headers:?}");
        }
    }
}

/// What names a server, as `scripts/services` sets it.
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} names a server; see scripts/services"))
}

#[tokio::test]
async fn what_it_does_not_know_is_refused_and_kept_and_holds_up_nothing() {
    let world = World::new();
    let producer: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", &world.brokers).create().expect("a producer");
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

    let story = world.finish(3).await;
    assert!(story.contains("8 records were refused"), "{story}");
    world.assert_worked_once().await;
    let kept = world.query("select why, cast(value as text), headers from refused_record").await;
    assert_eq!(kept.len(), 8);
    for row in &kept {
        let (why, value, headers): (&str, &str, &str) = (row.get(0), row.get(1), row.get(2));
        assert_eq!(value, "{\"from\":\"the future\"}");
        match headers.contains("message-version") {
            true => assert_eq!(why, "order.placed came in version 2; this receiver knows version 1"),
            false => assert!(why.contains("no header outbox-id"), "{why}"),
        }
    }
    let remembered = world.query("select message_id from outbox_inbox").await;
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
        let mut command = command(data.path(), 1);
        command.args(&arguments);
        let (status, _, errors) = run(command).await;
        assert_eq!(status.code(), Some(1), "{arguments:?}: {errors}");
        assert!(errors.contains(says), "{arguments:?}: {errors}");
    }
}
