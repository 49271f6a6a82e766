//! A dispatcher at work while the broker is killed or paused.

use std::collections::HashSet;
use std::time::Duration;

use outbox_core::{Message, MessageState};
use outbox_transport_kafka::{KafkaTransport, KafkaTransportBuilder};

use crate::support::{Broker, Kind, Reader, Story, deliver, error, kind, kinds, message};

/// A broker of its own, with the topic `orders`.
async fn broker() -> Broker {
    let broker = tokio::task::block_in_place(Broker::start);
    broker.topic("orders", 4, &[]).await;
    broker
}

fn transport(broker: &Broker) -> KafkaTransportBuilder {
    KafkaTransport::builder()
        .brokers(&broker.brokers)
        .property("reconnect.backoff.max.ms", "500")
        .property("topic.metadata.propagation.max.ms", "1000")
        .delivery_timeout(Duration::from_secs(4))
}

async fn some_time() {
    tokio::time::sleep(Duration::from_secs(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Apache Kafka; scripts/test runs it"]
async fn a_broker_that_is_killed_and_restarted_under_load_loses_nothing() {
    let broker = broker().await;
    let mut story = Story::new();
    let summary = story
        .run(transport(&broker).build().expect("a transport"), async {
            for _ in 0..2 {
                some_time().await;
                tokio::task::block_in_place(|| broker.kill());
                some_time().await;
                tokio::task::block_in_place(|| broker.restart());
            }
            some_time().await;
        })
        .await;
    let mut reader = Reader::new(&broker.brokers, &["orders"]);
    story.check(tokio::task::block_in_place(|| reader.arrived()), summary);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Apache Kafka; scripts/test runs it"]
async fn a_broker_that_pauses_for_longer_than_the_delivery_timeout_loses_nothing() {
    let broker = broker().await;
    let mut story = Story::new();
    let summary = story
        .run(transport(&broker).build().expect("a transport"), async {
            some_time().await;
            broker.pause();
            tokio::time::sleep(Duration::from_secs(10)).await;
            broker.go_on();
            some_time().await;
        })
        .await;
    let mut reader = Reader::new(&broker.brokers, &["orders"]);
    story.check(tokio::task::block_in_place(|| reader.arrived()), summary);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Apache Kafka; scripts/test runs it"]
async fn one_record_that_the_topic_finds_too_large_costs_its_neighbours_nothing() {
    let broker = broker().await;
    broker.topic("small", 1, &[("max.message.bytes", "2000")]).await;
    // Uncompressed: the limit holds for what is compressed.
    let transport = transport(&broker)
        .property("linger.ms", "50")
        .property("compression.type", "none")
        // The large one ends its producer, and that one goes alone by another: on a busy machine each takes seconds.
        .delivery_timeout(Duration::from_secs(60))
        .build()
        .expect("a transport");
    // All of one set, so that the broker refuses them together; the large one is the fifth of its key.
    let mut messages: Vec<Message> = (0..12).map(|n| message("small", Some(["a", "b"][n % 2]))).collect();
    messages[8].payload = vec![b'x'; 5_000].into();
    let warm = [message("small", Some("a")), message("small", Some("b"))];
    assert_eq!(kinds(&deliver(&transport, &warm).await), [Kind::Delivered; 2]);
    let outcomes = deliver(&transport, &messages).await;
    for (n, outcome) in outcomes.iter().enumerate() {
        let expected = match n {
            8 => Kind::Permanent,
            10 => Kind::NotSent,
            _ => Kind::Delivered,
        };
        assert_eq!(kind(outcome), expected, "message {n}: {outcome:?}");
    }
    assert!(error(&outcomes[8]).contains("max.message.bytes"), "{:?}", outcomes[8]);
    let mut reader = Reader::new(&broker.brokers, &["small"]);
    let arrived = tokio::task::block_in_place(|| reader.arrived());
    for key in ["a", "b"] {
        let sent: Vec<_> =
            warm.iter().chain(&messages).filter(|m| m.key.as_deref() == Some(key)).map(|m| m.id).collect();
        let came: Vec<_> = arrived.iter().filter(|r| r.key.as_deref() == Some(key)).map(|r| r.id()).collect();
        let expected = if key == "a" { &sent[..5] } else { &sent[..] };
        assert_eq!(came, expected, "the records of {key}, each once and in order");
    }
}

/// What the topic held is gone with it. Everything else is tried again until the topic is back, and arrives there.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Apache Kafka; scripts/test runs it"]
async fn a_topic_that_is_deleted_under_load_and_created_again_loses_only_what_it_held() {
    let broker = broker().await;
    let mut story = Story::new();
    let outbox = story.outbox();
    let mut gone = HashSet::new();
    let summary = story
        .run(transport(&broker).build().expect("a transport"), async {
            // On a busy machine it takes long until the first arrives.
            while outbox.list(MessageState::Delivered).await.is_empty() {
                some_time().await;
            }
            broker.delete_topic("orders").await;
            while outbox.list(MessageState::Retrying).await.is_empty() {
                some_time().await;
            }
            // Quick attempts would be spent by now.
            some_time().await;
            some_time().await;
            gone = outbox.list(MessageState::Delivered).await.iter().map(|message| message.id).collect();
            broker.topic("orders", 4, &[]).await;
            some_time().await;
        })
        .await;
    assert!(!gone.is_empty() && summary.retried > 0, "{} were gone, {summary:?}", gone.len());
    let mut reader = Reader::new(&broker.brokers, &["orders"]);
    story.check_without(&gone, tokio::task::block_in_place(|| reader.arrived()), summary);
}
