//! Typed messages: what is published arrives as it was, and nothing is taken for what it is not.

use std::error::Error;

use outbox_core::{
    DecodeError, EnqueueExt, Enqueued, EnqueuedIn, Headers, InvalidMessage, MemoryOutbox, Message, MessageId,
    StoreErrorKind, TypedMessage,
};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct OrderPlaced {
    order: String,
    total_cents: i64,
    note: Option<String>,
}

impl TypedMessage for OrderPlaced {
    const TOPIC: &'static str = "orders";
    const TYPE: &'static str = "order.placed";
    const VERSION: u32 = 3;
    const CONTENT_TYPE: &'static str = "application/vnd.example.order+json";

    fn key(&self) -> Option<String> {
        Some(self.order.clone())
    }
    fn headers(&self) -> Headers {
        // The version is not for the headers to say.
        [("region", "north"), ("message-version", "99")].into_iter().collect()
    }
    fn idempotency_key(&self) -> Option<String> {
        self.note.clone()
    }
}

/// What a type may leave out, left out.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Pinged;

impl TypedMessage for Pinged {
    const TOPIC: &'static str = "pings";
    const TYPE: &'static str = "pinged";
    fn key(&self) -> Option<String> {
        None
    }
}

fn order(id: &str) -> OrderPlaced {
    OrderPlaced { order: id.to_owned(), total_cents: 1_999, note: None }
}

/// As a receiver gets it.
fn received(message_type: &str, version: Option<&str>, payload: &str) -> Message {
    let mut message = Message::new(MessageId::generate(), "orders", payload.to_owned());
    message.message_type = message_type.to_owned();
    if let Some(version) = version {
        message.headers.insert("message-version", version);
    }
    message
}

const PAYLOAD: &str = r#"{"order":"4711","total_cents":1999,"note":null}"#;

#[test]
fn the_message_says_what_the_type_says() {
    let message = order("4711").to_message().build().expect("it is valid");
    assert_eq!((message.topic(), message.message_type()), ("orders", "order.placed"));
    assert_eq!((message.key(), message.idempotency_key()), (Some("4711"), None));
    assert_eq!(message.content_type(), "application/vnd.example.order+json");
    assert_eq!(&message.payload()[..], PAYLOAD.as_bytes());
    let headers: Vec<_> = message.headers().iter().collect();
    assert_eq!(headers, [("message-version", "3"), ("region", "north")]);
}

#[test]
fn a_type_that_says_little_is_version_1_json_without_key() {
    let message = Pinged.to_message().build().expect("it is valid");
    assert_eq!((message.key(), message.content_type()), (None, "application/json"));
    assert_eq!(message.headers().iter().collect::<Vec<_>>(), [("message-version", "1")]);
}

#[tokio::test]
async fn a_batch_of_one_type_or_of_several_is_published_in_its_order() {
    let outbox = MemoryOutbox::new();
    let mut tx = outbox.begin();
    let orders = [order("1"), order("2")];
    let answers = outbox.publish_all(&mut tx, &orders).await.expect("it is enqueued");
    let mixed = [Pinged.to_message(), order("3").to_message()].map(|m| m.correlation_id("request 17"));
    let more = outbox.publish_all(&mut tx, mixed).await.expect("it is enqueued");
    assert!(outbox.publish_all(&mut tx, &[] as &[Pinged]).await.expect("nothing to do").is_empty());

    let messages = outbox.enqueued_in(&mut tx).await.expect("it reads");
    let ids: Vec<_> = answers.iter().chain(&more).map(Enqueued::id).collect();
    assert_eq!(messages.iter().map(|message| message.id).collect::<Vec<_>>(), ids);
    assert_eq!(messages[0].decode::<OrderPlaced>().expect("it decodes"), orders[0]);
    assert_eq!(messages[1].decode::<OrderPlaced>().expect("it decodes"), orders[1]);
    assert_eq!(messages[2].decode::<Pinged>().expect("it decodes"), Pinged);
    assert_eq!(messages[3].headers.correlation_id(), Some("request 17"));
    assert_eq!(messages[3].headers.get("region"), Some("north"), "beside the headers of the type");
}

#[tokio::test]
async fn a_value_that_names_its_occasion_is_published_once() {
    let outbox = MemoryOutbox::new();
    let mut tx = outbox.begin();
    let placed = OrderPlaced { note: Some("checkout 9".to_owned()), ..order("4711") };
    let first = outbox.publish(&mut tx, &placed).await.expect("it is enqueued");
    assert_eq!(outbox.publish(&mut tx, &placed).await.expect("fine too"), Enqueued::Duplicate(first.id()));
}

#[tokio::test]
async fn what_cannot_be_built_is_refused_and_leaves_the_transaction_as_it_was() {
    let outbox = MemoryOutbox::new();
    let mut tx = outbox.begin();
    let error = outbox.publish(&mut tx, &order("")).await.expect_err("an empty key");
    assert_eq!(error.kind(), StoreErrorKind::Invalid);
    let source = error.source().and_then(|source| source.downcast_ref());
    assert!(matches!(source, Some(InvalidMessage::Empty { field: "key" })), "{source:?}");

    let one_is_bad = [order("1"), order("line\nbreak"), order("3")];
    outbox.publish_all(&mut tx, &one_is_bad).await.expect_err("a control character");
    assert!(outbox.enqueued_in(&mut tx).await.expect("it reads").is_empty(), "none of the three");
    outbox.publish(&mut tx, &order("2")).await.expect("the transaction goes on");
}

#[test]
fn what_a_receiver_publishes_carries_its_cause_on() {
    let mut first = received("order.placed", None, PAYLOAD);
    let build = |cause: &Message| Pinged.to_message().caused_by(cause).build().expect("it is valid");
    let id = first.id.to_string();
    let headers = build(&first);
    assert_eq!(headers.headers().causation_id(), Some(&*id));
    assert_eq!(headers.headers().correlation_id(), Some(&*id), "the chain begins with it");

    first.headers.insert("correlation-id", "request 17");
    let headers = build(&first);
    assert_eq!(headers.headers().causation_id(), Some(&*id));
    assert_eq!(headers.headers().correlation_id(), Some("request 17"));
}

#[test]
fn a_message_without_a_version_is_version_1() {
    assert_eq!(received("pinged", None, "null").decode::<Pinged>().expect("it decodes"), Pinged);
    let error = received("order.placed", None, PAYLOAD).decode::<OrderPlaced>().expect_err("3 is known");
    assert_eq!(error.to_string(), "order.placed came in version 1; this receiver knows version 3");
}

#[test]
fn an_unknown_type_is_refused_by_name() {
    for message_type in ["order.cancelled", "", "Order.Placed", "order.placed "] {
        let error = received(message_type, Some("3"), PAYLOAD).decode::<OrderPlaced>();
        let error = error.expect_err("another type");
        assert!(matches!(&error, DecodeError::UnknownType { message_type: came } if came == message_type));
        assert!(error.to_string().contains(&format!("{message_type:?}")), "{error}");
    }
}

#[test]
fn an_older_and_a_newer_version_are_refused() {
    for came in [1, 2, 4, u32::MAX] {
        let error = received("order.placed", Some(&came.to_string()), PAYLOAD).decode::<OrderPlaced>();
        match error.expect_err("another version") {
            DecodeError::UnknownVersion { version, known, .. } => assert_eq!((version, known), (came, 3)),
            other => panic!("version {came} was answered with {other:?}"),
        }
    }
}

#[test]
fn a_version_that_is_no_number_from_1_on_is_refused() {
    for version in ["", "0", "-1", "3.0", "v3", " 3", "4294967296"] {
        let message = received("order.placed", Some(version), PAYLOAD);
        assert!(matches!(message.version(), Err(DecodeError::Version { .. })), "{version:?}");
        assert!(matches!(message.decode::<OrderPlaced>(), Err(DecodeError::Version { .. })), "{version:?}");
    }
}

#[test]
fn a_payload_of_another_form_is_refused_without_its_values_in_the_text() {
    for payload in ["", "{", "null", r#"{"order":"ada@example.org","total_cents":"ada@example.org"}"#] {
        let error = received("order.placed", Some("3"), payload).decode::<OrderPlaced>();
        let error = error.expect_err("another form");
        assert_eq!(error.to_string(), "the payload is not JSON of the form order.placed, version 3");
        assert!(error.source().is_some(), "where it differs");
    }
}

#[test]
fn a_field_that_is_new_to_the_receiver_is_no_other_form() {
    let newer = r#"{"order":"4711","total_cents":1999,"note":null,"currency":"EUR"}"#;
    let decoded: OrderPlaced = received("order.placed", Some("3"), newer).decode().expect("it decodes");
    assert_eq!(decoded, order("4711"));
}

proptest! {
    #[test]
    fn what_is_published_decodes_to_what_it_was(
        order in "[^\\p{Cc}]{1,60}", total_cents: i64, note in prop::option::of("[^\\p{Cc}]{1,60}")
    ) {
        let placed = OrderPlaced { order, total_cents, note };
        let built = placed.to_message().build().map_err(|error| TestCaseError::fail(error.to_string()))?;
        let mut message = Message::new(built.id(), built.topic(), built.payload().clone());
        message.message_type = built.message_type().to_owned();
        message.headers = built.headers().clone();
        let decoded: OrderPlaced = message.decode().map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(decoded, placed);
    }

    #[test]
    fn nothing_else_is_taken_for_it(
        message_type in prop_oneof![Just("order.placed".to_owned()), ".{0,20}"],
        version in prop::option::of(prop_oneof![Just("3".to_owned()), "[0-9]{1,12}", ".{0,8}"]),
        payload in prop_oneof![Just(PAYLOAD.to_owned()), ".{0,80}"],
    ) {
        let known = message_type == "order.placed" && version.as_deref().and_then(|v| v.parse().ok()) == Some(3_u32);
        let decoded = received(&message_type, version.as_deref(), &payload).decode::<OrderPlaced>();
        prop_assert_eq!(decoded.is_ok(), known && payload == PAYLOAD);
    }
}
