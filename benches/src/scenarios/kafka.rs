//! How fast a backlog goes to Kafka, against a bare loop over a producer, and what limits it.

use super::Context;
use crate::by_hand::kafka::produce;
use crate::cluster::{PARTITIONS, Topic};
use crate::database::Database;
use crate::figures::Table;
use crate::library::{self, Running};
use crate::load::Load;
use crate::machine;
use crate::output::Goal::AtLeast;
use crate::receiver::Receiver;

const KEYS: usize = 10_000;

const LIBRARY: &str = "library";
const BARE: &str = "bare rdkafka loop, no database";
const FROM_MEMORY: &str = "library, from memory";
const TO_NOBODY: &str = "library, to nobody";

/// What a variant reached: messages a second, and processor time of this process, µs a message.
struct Cost {
    rate: f64,
    own: f64,
}

pub(super) async fn run(context: &mut Context<'_>) {
    let messages = context.messages(100_000);
    let mut variants = vec![LIBRARY, BARE, FROM_MEMORY, TO_NOBODY];
    variants.retain(|name| context.arguments.wants(name));
    let mut rates = Table::new("To Kafka, 10,000 keys, order per key", "messages/s").over(BARE);
    let mut own = Table::new("Processor time of the dispatching process", "µs a message");
    let rounds = context.rounds(5);
    for round in 0..rounds {
        eprintln!("  round {} of {rounds}", round + 1);
        for n in 0..variants.len() {
            // Another one comes first in each round.
            let name = variants[(n + round) % variants.len()];
            let cost = match name {
                BARE => by_hand(messages).await,
                TO_NOBODY => to_nobody(context.database, messages).await,
                FROM_MEMORY => to_kafka(Database::Memory, messages).await,
                _ => to_kafka(context.database, messages).await,
            };
            rates.add(name, cost.rate);
            own.add(name, cost.own);
        }
    }
    let report = &mut context.report;
    report.setting("messages", messages);
    report.setting("partitions", PARTITIONS);
    report.aim("messages a second to Kafka", AtLeast(40_000.0), rates.spread(LIBRARY));
    report.aim(format!("{LIBRARY} ÷ {BARE}"), AtLeast(0.6), rates.ratio(LIBRARY, BARE));
    report.tables = vec![rates, own];
}

/// Loads, publishes, and checks what arrived.
async fn to_kafka(database: Database, messages: usize) -> Cost {
    let topic = Topic::new().await;
    let receiver = Receiver::new(messages, KEYS);
    let cost = drain(database, messages, &receiver, topic.transport(receiver.clone())).await;
    topic.check(messages, KEYS).await;
    cost
}

/// What the database and the dispatcher can do.
async fn to_nobody(database: Database, messages: usize) -> Cost {
    let receiver = Receiver::new(messages, KEYS);
    drain(database, messages, &receiver, receiver.clone()).await
}

async fn drain(
    database: Database,
    messages: usize,
    receiver: &Receiver,
    transport: impl outbox::Transport,
) -> Cost {
    let bed = database.open(false).await;
    bed.fill(Load::first(messages, KEYS)).await;
    let own = machine::own_time();
    let running = Running::start(bed.store(), library::settings(None), transport);
    receiver.wait().await;
    running.stop().await;
    let own = machine::own_time() - own;
    receiver.check(messages, bed.left().await);
    Cost { rate: receiver.rate(), own: own * 1e6 / messages as f64 }
}

async fn by_hand(messages: usize) -> Cost {
    let topic = Topic::new().await;
    let own = machine::own_time();
    let rate = produce(&topic, messages, KEYS).await;
    let own = machine::own_time() - own;
    topic.check(messages, KEYS).await;
    Cost { rate, own: own * 1e6 / messages as f64 }
}
