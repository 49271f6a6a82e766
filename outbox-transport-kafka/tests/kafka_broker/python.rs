//! What a client in Python makes of the records, in each format of their values.

use outbox_core::Message;
use outbox_transport_kafka::{KafkaTransport, ValueFormat};
use serde_json::{Value, json};

use crate::support::{Broker, Kind, deliver, kinds, message, read_by_python};

fn value(record: &Value) -> Value {
    serde_json::from_str(record["value"].as_str().expect("a value")).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Apache Kafka and kafka-python; scripts/test runs it"]
async fn python_reads_key_value_headers_and_partition_in_every_format() {
    let broker = tokio::task::block_in_place(Broker::start);
    let source = || "urn:shop".to_owned();
    let formats = [
        ("payload", ValueFormat::Payload),
        ("envelope", ValueFormat::JsonEnvelope),
        ("cloudevents", ValueFormat::CloudEvents { source: source() }),
        ("structured", ValueFormat::StructuredCloudEvents { source: source() }),
    ];
    let sent: Vec<Message> = (0..20)
        .map(|n| {
            let mut message = message("orders", Some(&format!("größe-{}", n * 7919)));
            message.payload = json!({ "order": n }).to_string().into();
            message.content_type = "application/json".to_owned();
            message.message_type = "order.placed".to_owned();
            message.headers.insert("traceparent", "00-a-b-01");
            message
        })
        .collect();
    for (topic, format) in formats.clone() {
        broker.topic(topic, 5, &[]).await;
        let transport =
            KafkaTransport::builder().brokers(&broker.brokers).topic_by(move |_| topic.to_owned());
        let transport = transport.value(format).build().expect("a transport");
        assert_eq!(kinds(&deliver(&transport, &sent).await), [Kind::Delivered; 20], "{topic}");
    }

    let topics = formats.map(|(topic, _)| topic);
    let records = tokio::task::block_in_place(|| read_by_python(&broker.brokers, &topics));
    assert_eq!(records.len(), topics.len() * sent.len());
    for record in &records {
        let id = &record["headers"]["outbox-id"];
        let message = sent.iter().find(|message| *id == message.id.to_string()).expect("it was sent");
        assert_eq!(record["key"], *message.key.as_deref().expect("a key"));
        assert_eq!(record["partition"], record["chosen"], "where Python would send it");
        let headers = &record["headers"];
        assert_eq!(
            (&headers["outbox-type"], &headers["traceparent"]),
            (&json!("order.placed"), &json!("00-a-b-01"))
        );
        let payload: Value = serde_json::from_slice(&message.payload).expect("JSON");
        let value = value(record);
        let data: &Value = match record["topic"].as_str() {
            Some("envelope") => {
                assert_eq!((&value["eventId"], &value["aggregateId"]), (id, &record["key"]));
                &value["eventData"]
            }
            Some("structured") => {
                assert_eq!((&value["id"], &value["type"]), (id, &json!("order.placed")));
                assert_eq!(headers["content-type"], "application/cloudevents+json");
                &value["data"]
            }
            Some("cloudevents") => {
                assert_eq!((&headers["ce_id"], &headers["ce_specversion"]), (id, &json!("1.0")));
                &value
            }
            _ => &value,
        };
        assert_eq!(*data, payload, "{record}");
    }
}
