//! A bare loop over a producer of rdkafka, with the settings and the records of the transport, and no database.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use outbox::kafka::rdkafka::error::KafkaError;
use outbox::kafka::rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use outbox::kafka::rdkafka::producer::{BaseRecord, ProducerContext, ThreadedProducer};
use outbox::kafka::rdkafka::types::RDKafkaErrorCode;
use outbox::kafka::rdkafka::{ClientConfig, ClientContext};
use tokio::sync::Notify;

use crate::cluster::Topic;
use crate::load::PAYLOAD;

/// What the transport sets and what has to do with speed.
const PROPERTIES: &[(&str, &str)] = &[
    ("enable.idempotence", "true"),
    ("enable.gapless.guarantee", "true"),
    ("acks", "all"),
    ("partitioner", "murmur2_random"),
    ("compression.type", "lz4"),
    ("linger.ms", "2"),
];

/// Produces `messages` and waits until all are acknowledged; answers how many a second, from the first
/// acknowledgement to the last.
pub(crate) async fn produce(topic: &Topic, messages: usize, keys: usize) -> f64 {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &topic.brokers);
    for (name, value) in PROPERTIES {
        config.set(*name, *value);
    }
    let heard = Arc::new(Heard { target: messages, ..Heard::default() });
    let producer: ThreadedProducer<Context> =
        config.create_with_context(Context(Arc::clone(&heard))).expect("a producer");
    let name = topic.name.clone();
    let sending = tokio::task::spawn_blocking(move || {
        send_all(&producer, &name, messages, keys);
        producer
    });
    let producer = sending.await.expect("no panic");
    heard.over.notified().await;
    // Its end waits for its threads.
    tokio::task::spawn_blocking(move || drop(producer)).await.expect("no panic");
    assert_eq!(heard.failed.load(Ordering::SeqCst), 0, "every record is acknowledged");
    let (Some(first), Some(last)) = (heard.first.get(), heard.last.get()) else { return 0.0 };
    (messages - 1) as f64 / (*last - *first).as_secs_f64()
}

fn send_all(producer: &ThreadedProducer<Context>, topic: &str, messages: usize, keys: usize) {
    let mut payload = vec![b'x'; PAYLOAD];
    for number in 0..messages {
        payload[..8].copy_from_slice(&(number as u64).to_be_bytes());
        // As long as a UUID.
        let (key, id) = (format!("key-{}", number % keys), format!("{number:036}"));
        let header = |key, value| Header { key, value: Some(value) };
        let headers = OwnedHeaders::new()
            .insert(header("outbox-id", id.as_str()))
            .insert(header("outbox-created-at", "1970-01-01T00:00:00.000000Z"))
            .insert(header("outbox-attempt", "1"))
            .insert(header("content-type", "application/octet-stream"));
        let mut record = BaseRecord::to(topic).key(&key).payload(&payload).headers(headers);
        while let Err((error, back)) = producer.send(record) {
            let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
            assert_eq!(error, full, "only a full queue makes it wait");
            record = back;
            // A hundred thousand wait meanwhile, so it does not run dry.
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// What came back.
#[derive(Default)]
struct Heard {
    target: usize,
    count: AtomicUsize,
    failed: AtomicUsize,
    first: OnceLock<Instant>,
    last: OnceLock<Instant>,
    over: Notify,
}

struct Context(Arc<Heard>);

impl ClientContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let Self(heard) = self;
        heard.failed.fetch_add(usize::from(result.is_err()), Ordering::SeqCst);
        let count = heard.count.fetch_add(1, Ordering::SeqCst) + 1;
        if count == 1 {
            let _ = heard.first.set(Instant::now());
        }
        if count == heard.target {
            let _ = heard.last.set(Instant::now());
            heard.over.notify_one();
        }
    }
}
