//! What comes out is what went in.

use std::time::{Duration, SystemTime};

use super::super::probe::*;
use super::StoreFixture;
use crate::{Bytes, Message, NewMessage};

pub async fn every_field_comes_back_unchanged<F: StoreFixture>(fixture: F) {
    let sent = NewMessage::builder("orders.placed")
        .message_type("order.placed/v2")
        .key("order-7")
        .payload(&b"{\"total\": 12}"[..], "application/json; charset=utf-8")
        .header("tenant", "blue")
        .header("x-empty", "")
        .traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        .idempotency_key("placed-7")
        .build()
        .expect("the message is valid");
    let stored = store_and_claim(fixture, &sent).await;
    assert_same(&stored, &sent);
}

pub async fn a_message_with_nothing_but_a_topic_comes_back_unchanged<F: StoreFixture>(fixture: F) {
    let sent = NewMessage::builder("orders").build().expect("the message is valid");
    let stored = store_and_claim(fixture, &sent).await;
    assert_same(&stored, &sent);
    assert_eq!(stored.key, None, "no key is not an empty key");
    assert_eq!(stored.idempotency_key, None, "no idempotency key is not an empty one");
}

pub async fn every_byte_value_survives_in_a_payload<F: StoreFixture>(fixture: F) {
    let bytes: Vec<u8> = (0..=255).chain([0, 0, 0xFF, 0xFE, 0xC3, 0x28]).collect();
    let sent = with_payload(bytes);
    assert_same(&store_and_claim(fixture, &sent).await, &sent);
}

pub async fn an_empty_payload_is_claimed<F: StoreFixture>(fixture: F) {
    let sent = with_payload(Bytes::new());
    assert_same(&store_and_claim(fixture, &sent).await, &sent);
}

pub async fn a_payload_of_one_mebibyte_comes_back_whole<F: StoreFixture>(fixture: F) {
    let bytes: Vec<u8> = (0..1024 * 1024_u32).map(|n| (n.wrapping_mul(31) >> 3) as u8).collect();
    let sent = with_payload(bytes);
    assert_same(&store_and_claim(fixture, &sent).await, &sent);
}

pub async fn text_of_every_script_survives<F: StoreFixture>(fixture: F) {
    let text = "Ærø 東京 🚲 שלום e\u{301} ﷽ \u{202E}right-to-left";
    assert_text_survives(fixture, text).await;
}

pub async fn text_that_looks_like_sql_survives<F: StoreFixture>(fixture: F) {
    let text = r#"'; DROP TABLE outbox_messages; -- "$1" ? :p %s \' \\ NULL {} [] `x`"#;
    assert_text_survives(fixture, text).await;
}

pub async fn names_of_the_longest_length_survive<F: StoreFixture>(fixture: F) {
    let text = "x".repeat(255);
    assert_text_survives(fixture, &text).await;
}

pub async fn sixteen_kibibytes_of_headers_survive<F: StoreFixture>(fixture: F) {
    let value = "v".repeat(1000);
    let builder = (0..16).fold(NewMessage::builder("orders"), |builder, n| {
        builder.header(format!("header-{n:02}"), value.clone())
    });
    let sent = build(builder);
    assert_same(&store_and_claim(fixture, &sent).await, &sent);
}

pub async fn topics_and_keys_are_told_apart_byte_by_byte<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    probe.enqueue(&[keyed("key")]).await;
    let head = only(probe.claim(&mut session).await);
    probe.settle(&mut session, &[(head.place, retry(HOUR))]).await;

    // Composed and decomposed letters, case, blanks: equal under some collations.
    let others = [keyed("KEY"), keyed("key "), keyed("ke\u{301}y"), keyed("k\u{e9}y"), of_topic("Orders")];
    probe.enqueue(&others).await;
    let claimed = probe.claim(&mut session).await;
    assert_eq!(claimed.len(), others.len(), "all others are claimed");
    for claimed in &claimed {
        assert!(!claimed.behind, "{:?} was taken for the key `key`", message(claimed).key);
    }
}

pub async fn a_message_is_as_old_as_its_enqueueing<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    probe.enqueue(&[unkeyed()]).await;
    let claimed = only(probe.claim(&mut session).await);
    assert!(claimed.age < Duration::from_secs(600), "enqueued just now, but {:?} old", claimed.age);
    assert!(
        message(&claimed).created_at > SystemTime::UNIX_EPOCH,
        "the store's clock gives the creation time"
    );
}

pub async fn a_message_survives_being_set_aside_unchanged<F: StoreFixture>(fixture: F) {
    let sent = NewMessage::builder("orders.placed")
        .message_type("order.placed")
        .key("Ærø '7'")
        .payload(vec![0, 255, 10, 13], "application/x-test")
        .header("tenant", "blue")
        .idempotency_key("placed-7")
        .build()
        .expect("the message is valid");
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    probe.enqueue(std::slice::from_ref(&sent)).await;
    let fresh = only(probe.claim(&mut session).await);
    probe.settle(&mut session, &[(fresh.place, retry(Duration::ZERO))]).await;
    let again = only(probe.claim(&mut session).await);
    assert_same(message(&again), &sent);
    assert_eq!(message(&again), message(&fresh), "the very same message, creation time included");
}

async fn assert_text_survives<F: StoreFixture>(fixture: F, text: &str) {
    let sent = NewMessage::builder(text)
        .message_type(text)
        .key(text)
        .payload(text.to_owned(), text)
        .header("text", text)
        .idempotency_key(text)
        .build()
        .expect("the message is valid");
    assert_same(&store_and_claim(fixture, &sent).await, &sent);
}

async fn store_and_claim<F: StoreFixture>(fixture: F, sent: &NewMessage) -> Message {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    probe.enqueue(std::slice::from_ref(sent)).await;
    let claimed = only(probe.claim(&mut session).await);
    message(&claimed).clone()
}

fn with_payload(payload: impl Into<Bytes>) -> NewMessage {
    NewMessage::builder("orders")
        .payload(payload, "application/x-test")
        .build()
        .expect("the message is valid")
}

fn assert_same(stored: &Message, sent: &NewMessage) {
    assert_eq!(stored.id, sent.id(), "the id");
    assert_eq!(stored.topic, sent.topic(), "the topic");
    assert_eq!(stored.message_type, sent.message_type(), "the type");
    assert_eq!(stored.key.as_deref(), sent.key(), "the key");
    assert!(stored.payload == *sent.payload(), "the payload, byte by byte");
    assert_eq!(stored.content_type, sent.content_type(), "the content type");
    let (stored_headers, sent_headers): (Vec<_>, Vec<_>) =
        (stored.headers.iter().collect(), sent.headers().iter().collect());
    assert_eq!(stored_headers, sent_headers, "the headers");
    assert_eq!(stored.idempotency_key.as_deref(), sent.idempotency_key(), "the idempotency key");
}
