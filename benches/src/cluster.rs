//! Topics of a benchmark's own on the Kafka cluster that `TEST_KAFKA_BROKERS` names.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use outbox::kafka::KafkaTransport;
use outbox::kafka::rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use outbox::kafka::rdkafka::client::DefaultClientContext;
use outbox::kafka::rdkafka::consumer::{BaseConsumer, Consumer as _};
use outbox::kafka::rdkafka::message::Message as _;
use outbox::kafka::rdkafka::{ClientConfig, Offset, TopicPartitionList};
use outbox::{Delivery, DeliveryReport, Transport, async_trait};

use crate::arguments::refuse;
use crate::load::{TOPIC, number_in};
use crate::receiver::Receiver;

pub(crate) const PARTITIONS: i32 = 4;

/// How long the brokers may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Numbers the topics of this process.
static TOPICS: AtomicU32 = AtomicU32::new(0);

/// A new, empty topic.
pub(crate) struct Topic {
    pub(crate) brokers: String,
    pub(crate) name: String,
    prefix: String,
}

impl Topic {
    pub(crate) async fn new() -> Self {
        let brokers = std::env::var("TEST_KAFKA_BROKERS").unwrap_or_else(|_| {
            refuse("TEST_KAFKA_BROKERS names no cluster; run eval \"$(scripts/services up kafka)\"")
        });
        let prefix = format!("{}-{}.", std::process::id(), TOPICS.fetch_add(1, Ordering::Relaxed));
        let topic = Self { brokers, name: format!("{prefix}{TOPIC}"), prefix };
        let new = NewTopic::new(&topic.name, PARTITIONS, TopicReplication::Fixed(-1));
        // The answer comes when the brokers know it.
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        let answers = topic.admin().create_topics([&new], &options).await.expect("an answer");
        answers.into_iter().for_each(|answer| drop(answer.expect("created")));
        topic
    }

    /// The transport with its shipped settings; shows `receiver` what was acknowledged.
    pub(crate) fn transport(&self, receiver: Receiver) -> impl Transport + use<> {
        let kafka = KafkaTransport::builder().brokers(&self.brokers).topic_prefix(&self.prefix).build();
        Acknowledged { kafka: kafka.expect("a transport"), receiver }
    }

    /// Reads the topic and deletes it. Ends the run unless it holds `messages`, each once and those of a key in order.
    pub(crate) async fn check(self, messages: usize, keys: usize) {
        let (config, name) = (self.config(), self.name.clone());
        let read = tokio::task::spawn_blocking(move || read(&config, &name, keys));
        read.await.expect("no panic").check(messages, 0);
        let answers = self.admin().delete_topics(&[&self.name], &AdminOptions::new()).await;
        answers.expect("an answer").into_iter().for_each(|answer| drop(answer.expect("deleted")));
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.config().create().expect("an admin client")
    }
}

/// Everything in the topic, in the order of each partition. Blocks.
fn read(config: &ClientConfig, topic: &str, keys: usize) -> Receiver {
    let mut config = config.clone();
    config.set("group.id", "outbox-benches").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut places = TopicPartitionList::new();
    let mut behind = HashMap::new();
    for partition in 0..PARTITIONS {
        places.add_partition_offset(topic, partition, Offset::Beginning).expect("a place");
        let (_, end) = consumer.fetch_watermarks(topic, partition, PATIENCE).expect("an answer");
        behind.insert(partition, end);
    }
    consumer.assign(&places).expect("assigned");
    let receiver = Receiver::new(0, keys);
    let mut next: HashMap<i32, i64> = HashMap::new();
    while behind.iter().any(|(partition, end)| next.get(partition).copied().unwrap_or(0) < *end) {
        let record = consumer.poll(PATIENCE).expect("a record").expect("no error");
        next.insert(record.partition(), record.offset() + 1);
        receiver.see([number_in(record.payload().expect("a value"))]);
    }
    receiver
}

/// Hands everything on, and shows each batch to the receiver when it is acknowledged. A message that failed and came
/// again is seen twice, which no run may have.
struct Acknowledged {
    kafka: KafkaTransport,
    receiver: Receiver,
}

#[async_trait]
impl Transport for Acknowledged {
    async fn deliver(&self, batch: &[Delivery], report: &DeliveryReport) {
        self.kafka.deliver(batch, report).await;
        self.receiver.see(batch.iter().map(|delivery| number_in(&delivery.message.payload)));
    }

    fn keeps_order(&self) -> bool {
        self.kafka.keeps_order()
    }

    fn deadline(&self) -> Duration {
        self.kafka.deadline()
    }
}
