//! What clients that are not ours make of the records.

use std::collections::HashMap;
use std::time::Duration;

use outbox_core::{Message, MessageId};
use outbox_transport_kafka::{KafkaTransport, ValueFormat};

use crate::support::{Broker, Kind, Reader, deliver, java, kinds, message};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Apache Kafka; scripts/test runs it"]
async fn java_sends_the_same_keys_to_the_same_partitions_and_reads_our_records() {
    let broker = tokio::task::block_in_place(Broker::start);
    broker.topic("ours", 7, &[]).await;
    broker.topic("javas", 7, &[]).await;
    let transport = KafkaTransport::builder()
        .brokers(&broker.brokers)
        .delivery_timeout(Duration::from_secs(60))
        .topic_by(|_| "ours".to_owned())
        .value(ValueFormat::CloudEvents { source: "urn:shop".to_owned() })
        .build()
        .expect("a transport");
    let keys: Vec<String> =
        (0..60).map(|n| format!("order-{}", n * n * 7919)).chain(["größe".to_owned()]).collect();
    let messages: Vec<Message> = keys.iter().map(|key| message("orders", Some(key))).collect();
    assert_eq!(kinds(&deliver(&transport, &messages).await), vec![Kind::Delivered; keys.len()]);

    tokio::task::block_in_place(|| {
        let lines: String = keys.iter().map(|key| format!("{key}\tx\n")).collect();
        let producer =
            ["--bootstrap-server", &broker.brokers, "--topic", "javas", "--property", "parse.key=true"];
        java("org.apache.kafka.tools.ConsoleProducer", &producer, &lines);
        let partitions = |topic: &str| -> HashMap<String, i32> {
            let mut reader = Reader::new(&broker.brokers, &[topic]);
            reader
                .arrived()
                .iter()
                .map(|record| (record.key.clone().expect("a key"), record.partition))
                .collect()
        };
        assert_eq!(partitions("ours"), partitions("javas"), "a key has the partition that Java gives it");

        let count = keys.len().to_string();
        let mut consumer = vec!["--bootstrap-server", &broker.brokers, "--topic", "ours", "--from-beginning"];
        consumer.extend(["--max-messages", &count, "--timeout-ms", "60000"]);
        for shown in ["print.key=true", "print.headers=true"] {
            consumer.extend(["--property", shown]);
        }
        let read = java("org.apache.kafka.tools.consumer.ConsoleConsumer", &consumer, "");
        for message in &messages {
            let (id, key) = (message.id, message.key.as_deref().expect("a key"));
            let payload = String::from_utf8(message.payload.to_vec()).expect("UTF-8");
            let line = read.lines().find(|line| line.contains(&id.to_string())).expect("each is read");
            for part in
                [&format!("outbox-id:{id}"), "ce_specversion:1.0", "ce_source:urn:shop", key, &payload]
            {
                assert!(line.contains(part), "{part:?} is in {line:?}");
            }
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Apache Kafka; scripts/test runs it"]
async fn a_compacted_topic_takes_tombstones_and_refuses_what_has_no_key() {
    let broker = tokio::task::block_in_place(Broker::start);
    broker.topic("state", 1, &[("cleanup.policy", "compact")]).await;
    let transport = KafkaTransport::new(&broker.brokers).expect("a transport");
    let mut gone = message("state", Some("a"));
    gone.payload = Vec::new().into();
    let kept: MessageId = gone.id;
    let messages = [message("state", Some("a")), message("state", None), gone];
    let outcomes = deliver(&transport, &messages).await;
    assert_eq!(kinds(&outcomes), [Kind::Delivered, Kind::Permanent, Kind::Delivered], "{outcomes:?}");
    let mut reader = Reader::new(&broker.brokers, &["state"]);
    let arrived = tokio::task::block_in_place(|| reader.arrived().to_vec());
    let last = arrived.last().expect("two arrived");
    assert_eq!((arrived.len(), last.id(), last.value.as_deref()), (2, kept, None));
}
