//! Reads what arrived in a topic, from its beginning.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use outbox_core::MessageId;
use outbox_transport_kafka::rdkafka::consumer::{BaseConsumer, Consumer};
use outbox_transport_kafka::rdkafka::message::{Headers, Message as _};
use outbox_transport_kafka::rdkafka::{ClientConfig, Offset, TopicPartitionList};

/// How long the brokers may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A record, as a consumer gets it.
#[derive(Debug, Clone)]
pub(crate) struct Arrived {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) key: Option<String>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: HashMap<String, String>,
}

impl Arrived {
    pub(crate) fn id(&self) -> MessageId {
        self.headers["outbox-id"].parse().expect("an id of ours")
    }
}

/// A consumer that keeps what it has read.
pub(crate) struct Reader {
    consumer: BaseConsumer,
    topics: Vec<String>,
    next: HashMap<(String, i32), i64>,
    arrived: Vec<Arrived>,
}

impl Reader {
    pub(crate) fn new(brokers: &str, topics: &[&str]) -> Self {
        let consumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", "reader")
            .set("enable.auto.commit", "false")
            .set("reconnect.backoff.max.ms", "200")
            .set("fetch.wait.max.ms", "10")
            .create()
            .expect("a consumer");
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        Self { consumer, topics, next: HashMap::new(), arrived: Vec::new() }
    }

    /// All that is in the topics by now, in the order of each partition.
    pub(crate) fn arrived(&mut self) -> &[Arrived] {
        let until = Instant::now() + PATIENCE;
        self.find_partitions(until);
        let mut behind: Vec<(String, i32, i64)> = Vec::new();
        for (topic, partition) in self.next.keys() {
            let (_, end) = again(until, || self.consumer.fetch_watermarks(topic, *partition, PATIENCE));
            behind.push((topic.clone(), *partition, end));
        }
        loop {
            behind.retain(|(topic, partition, end)| self.next[&(topic.clone(), *partition)] < *end);
            if behind.is_empty() {
                return &self.arrived;
            }
            assert!(Instant::now() < until, "the records of {behind:?} do not come");
            let Some(Ok(record)) = self.consumer.poll(Duration::from_millis(100)) else { continue };
            let place = (record.topic().to_owned(), record.partition());
            if record.offset() < self.next[&place] {
                continue;
            }
            self.next.insert(place, record.offset() + 1);
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
            let headers = record.headers().into_iter().flat_map(Headers::iter);
            self.arrived.push(Arrived {
                topic: record.topic().to_owned(),
                partition: record.partition(),
                key: record.key().map(text),
                value: record.payload().map(<[u8]>::to_vec),
                headers: headers
                    .map(|header| (header.key.to_owned(), text(header.value.unwrap_or_default())))
                    .collect(),
            });
        }
    }

    fn find_partitions(&mut self, until: Instant) {
        let mut found = false;
        for topic in &self.topics {
            let metadata = again(until, || self.consumer.fetch_metadata(Some(topic), PATIENCE));
            for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
                let place = (topic.clone(), partition.id());
                found |= !self.next.contains_key(&place);
                self.next.entry(place).or_insert(0);
            }
        }
        if found {
            let mut all = TopicPartitionList::new();
            for ((topic, partition), next) in &self.next {
                all.add_partition_offset(topic, *partition, Offset::Offset(*next)).expect("a place");
            }
            self.consumer.assign(&all).expect("assigned");
        }
    }
}

/// A broker that just came back needs a moment.
fn again<T, E: std::fmt::Debug>(until: Instant, mut ask: impl FnMut() -> Result<T, E>) -> T {
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(error) => assert!(Instant::now() < until, "the brokers do not answer: {error:?}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
