//! The scenarios by name.

mod backlog;
mod bulk;
mod dispatchers;
mod drain;
mod enqueue;
mod failing;
mod held;
mod history;
mod idle;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "kafka")]
mod kafka_latency;
mod latency;
mod memory;
mod parts;
mod peers;
mod smtp;
mod steady;
mod wal;

use std::time::Duration;

use crate::arguments::{Arguments, refuse};
use crate::database::{Database, MySqlBed, PostgresBed, SqliteBed};
use crate::output::Report;

pub(crate) use peers::{OURS, speak_for_ours};

/// Name, and what it measures.
const SCENARIOS: &[(&str, &str)] = &[
    ("drain", "a backlog, against loops written by hand, batch by batch size"),
    ("backlog", "a drain with 1, 100 and 100,000 keys, and with 1 and 5 million messages waiting"),
    ("history", "a drain with a million delivered messages remembered"),
    ("enqueue", "a business transaction with and without a message, by the number of writers"),
    ("bulk", "enqueueing in bulk, against COPY on PostgreSQL"),
    ("steady", "10,000 messages a second and one dispatcher: how late they are"),
    ("latency", "from the commit to the delivery on an idle system, here and in another process"),
    ("failing-keys", "a key that always fails, with 100,000 messages behind it; one message of a hundred"),
    ("held-transaction", "8,000 messages a second beside a transaction that stays open (postgres)"),
    ("dispatchers", "one, two and four dispatchers together (postgres)"),
    ("wal", "the write-ahead log of a drain (postgres)"),
    ("idle", "what an idle dispatcher asks of the database (postgres, mysql)"),
    ("memory", "the most memory of a process that drains, with 5 million waiting"),
    ("parts", "what each part of the owner's protocol adds to the bare owner loop (postgres)"),
    ("peers", "the race against other libraries, or --parts of it: benches/peers/README.md (postgres)"),
    ("smtp", "invitations over SMTP to a sink in this process (sqlite)"),
    ("kafka", "a backlog to Kafka, against a bare loop over a producer (--features kafka)"),
    ("kafka-latency", "from the commit to the acknowledged record (--features kafka)"),
];

pub(crate) fn list() -> String {
    SCENARIOS.iter().map(|(name, what)| format!("  {name:<17} {what}\n")).collect()
}

/// What a scenario works with.
pub(crate) struct Context<'a> {
    pub(crate) arguments: &'a Arguments,
    pub(crate) database: Database,
    pub(crate) report: Report,
}

impl Context<'_> {
    pub(crate) fn rounds(&self, default: usize) -> usize {
        self.arguments.rounds.unwrap_or(default)
    }

    pub(crate) fn messages(&self, default: usize) -> usize {
        self.arguments.messages.unwrap_or(default)
    }

    pub(crate) fn seconds(&self, default: u64) -> Duration {
        Duration::from_secs(self.arguments.seconds.unwrap_or(default))
    }

    /// Ends the program where the scenario is only about PostgreSQL.
    pub(crate) fn needs_postgres(&self) {
        if self.database != Database::Postgres {
            refuse(&format!("{} is about PostgreSQL; add --database postgres", self.report.scenario));
        }
    }

    /// Notes what the server is.
    pub(crate) async fn describe(&mut self) {
        let bed = self.database.open(false).await;
        self.report.settings.extend(bed.describe().await);
    }
}

/// Runs one scenario.
pub(crate) async fn run(name: &str, arguments: &Arguments) -> Report {
    let database = Database::named(&arguments.database);
    let mut context = Context { arguments, database, report: Report::new(name, &arguments.database) };
    context.describe().await;
    match name {
        "drain" => drain::run(&mut context).await,
        "backlog" => backlog::run(&mut context).await,
        "history" => history::run(&mut context).await,
        "enqueue" => enqueue::run(&mut context).await,
        "bulk" => bulk::run(&mut context).await,
        "steady" => steady::run(&mut context).await,
        "latency" => latency::run(&mut context).await,
        "failing-keys" => failing::run(&mut context).await,
        "held-transaction" => held::run(&mut context).await,
        "dispatchers" => dispatchers::run(&mut context).await,
        "wal" => wal::run(&mut context).await,
        "idle" => idle::run(&mut context).await,
        "memory" => memory::run(&mut context).await,
        "parts" => parts::run(&mut context).await,
        "peers" => peers::run(&mut context).await,
        "smtp" => smtp::run(&mut context).await,
        #[cfg(feature = "kafka")]
        "kafka" => kafka::run(&mut context).await,
        #[cfg(feature = "kafka")]
        "kafka-latency" => kafka_latency::run(&mut context).await,
        #[cfg(not(feature = "kafka"))]
        "kafka" | "kafka-latency" => refuse(&format!("{name} is compiled with --features kafka")),
        _ => refuse(&format!("there is no scenario {name:?}; there are\n{}", list())),
    }
    context.report
}

/// The first word of a process that a scenario starts; then what it is to do, and where the outbox is.
const CHILD: &str = "child";

/// Whether this process was started by a scenario.
pub(crate) fn is_child(arguments: &Arguments) -> bool {
    arguments.scenarios.first().is_some_and(|word| word == CHILD)
}

/// What such a process does.
pub(crate) async fn child(arguments: &Arguments) {
    let [_, what, place] = arguments.scenarios.as_slice() else {
        refuse("a child wants to know what and where")
    };
    let store = match Database::named(&arguments.database) {
        Database::Memory => refuse("no process sees the memory of another"),
        Database::Sqlite => SqliteBed::store_at(place.as_ref()),
        Database::Postgres => PostgresBed::store_in(place),
        Database::MySql => MySqlBed::store_in(place),
    };
    match what.as_str() {
        "memory" => memory::child(store, arguments.messages.unwrap_or(100_000)).await,
        "latency" => latency::child(store, arguments.messages.unwrap_or(500)).await,
        _ => refuse("a child wants to know what to do"),
    }
}
