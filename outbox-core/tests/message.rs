//! What a message may hold, and how headers are stored.

use outbox_core::{Headers, InvalidMessage, Limits, Message, MessageBuilder, MessageId, NewMessage};
use proptest::prelude::*;
use serde::Serialize;

#[test]
fn a_message_with_only_a_topic_is_valid() {
    let message = NewMessage::builder("orders").build().expect("a topic is enough");
    assert_eq!(message.topic(), "orders");
    assert_eq!((message.message_type(), message.key(), message.idempotency_key()), ("", None, None));
    assert!(message.payload().is_empty() && message.headers().is_empty() && message.not_before().is_none());
    assert_eq!(message.content_type(), "application/octet-stream");
}

#[test]
fn names_that_are_given_must_not_be_empty() {
    let builders = [
        ("topic", NewMessage::builder("")),
        ("key", NewMessage::builder("t").key("")),
        ("idempotency key", NewMessage::builder("t").idempotency_key("")),
        ("content type", NewMessage::builder("t").payload("x", "")),
    ];
    for (expected, builder) in builders {
        match builder.build() {
            Err(InvalidMessage::Empty { field }) => assert_eq!(field, expected),
            other => panic!("an empty {expected} was answered with {other:?}"),
        }
    }
}

#[test]
fn names_are_limited_in_bytes_not_characters() {
    assert!(NewMessage::builder("x".repeat(255)).build().is_ok(), "255 bytes fit");
    let too_long = NewMessage::builder("é".repeat(128)).build();
    match too_long {
        Err(InvalidMessage::TooLong { field, length, limit }) => {
            assert_eq!((field, length, limit), ("topic", 256, 255));
        }
        other => panic!("128 characters of two bytes were answered with {other:?}"),
    }
}

#[test]
fn every_name_has_the_limit() {
    let long = "x".repeat(256);
    let builders = [
        ("topic", NewMessage::builder(&*long)),
        ("type", NewMessage::builder("t").message_type(&*long)),
        ("key", NewMessage::builder("t").key(&*long)),
        ("idempotency key", NewMessage::builder("t").idempotency_key(&*long)),
        ("content type", NewMessage::builder("t").payload("x", &*long)),
    ];
    for (expected, builder) in builders {
        match builder.build() {
            Err(InvalidMessage::TooLong { field, .. }) => assert_eq!(field, expected),
            other => panic!("a long {expected} was answered with {other:?}"),
        }
    }
}

#[test]
fn payloads_are_limited_to_a_mebibyte_unless_set() {
    let of = |bytes: usize| NewMessage::builder("t").payload(vec![0; bytes], "text/plain");
    assert!(of(1024 * 1024).build().is_ok(), "exactly the limit");
    let error = of(1024 * 1024 + 1).build().expect_err("one byte too many");
    assert_eq!(error.to_string(), "payload is 1048577 bytes long; the limit is 1048576");
    let limits = Limits { payload: 10, ..Limits::default() };
    assert!(of(11).limits(limits).build().is_err(), "a lower limit");
    let limits = Limits { payload: 2 * 1024 * 1024, ..Limits::default() };
    assert!(of(1024 * 1024 + 1).limits(limits).build().is_ok(), "a higher limit");
}

#[test]
fn headers_are_limited_all_together() {
    let of = |bytes: usize| NewMessage::builder("t").header("a", "x".repeat(bytes - 2)).header("b", "");
    assert!(of(16 * 1024).build().is_ok(), "exactly the limit, names counted");
    assert!(of(16 * 1024 + 1).build().is_err(), "one byte too many");
}

#[test]
fn header_names_are_plain() {
    for name in ["", "a b", "a:b", "a\r\nb", "é", "a\0"] {
        let built = NewMessage::builder("t").header(name, "value").build();
        assert!(
            matches!(built, Err(InvalidMessage::HeaderName { .. })),
            "{name:?} was answered with {built:?}"
        );
    }
    assert!(
        NewMessage::builder("t").header("X-Tenant_1.a", "value").build().is_ok(),
        "letters, digits, - _ ."
    );
}

#[test]
fn the_first_mistake_is_answered() {
    #[derive(Serialize)]
    struct NotJson {
        #[serde(serialize_with = "refuse")]
        field: u8,
    }
    fn refuse<S: serde::Serializer>(_: &u8, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("refused"))
    }
    let built = NewMessage::builder("").json(&NotJson { field: 1 }).build();
    assert!(matches!(built, Err(InvalidMessage::Json(_))), "not {built:?}");
}

#[test]
fn json_payloads_say_so() {
    let message = NewMessage::builder("t").json(&[1, 2]).build().expect("the message is valid");
    assert_eq!((&message.payload()[..], message.content_type()), (&b"[1,2]"[..], "application/json"));
}

#[test]
fn a_later_header_replaces_an_earlier_one_of_its_name() {
    let message = NewMessage::builder("t").header("a", "1").header("a", "2").traceparent("00-1-2-01").build();
    let message = message.expect("the message is valid");
    let headers: Vec<_> = message.headers().iter().collect();
    assert_eq!(headers, [("a", "2"), ("traceparent", "00-1-2-01")]);
}

#[test]
fn ids_are_unique_sortable_and_readable() {
    let ids: Vec<MessageId> = (0..100).map(|_| MessageId::generate()).collect();
    assert!(ids.is_sorted() && ids.windows(2).all(|pair| pair[0] != pair[1]), "in the order of their making");
    assert_eq!(ids[0].to_string().parse::<MessageId>().expect("it reads what it prints"), ids[0]);
    assert_eq!(ids[0].as_uuid().get_version_num(), 7, "a UUID of version 7");
    assert!("no id".parse::<MessageId>().is_err(), "and nothing else");
}

#[test]
fn debug_prints_hold_no_personal_data() {
    let sent = NewMessage::builder("orders")
        .key("ada@example.org")
        .payload("secret", "text/plain")
        .header("to", "ada@example.org")
        .idempotency_key("ada@example.org")
        .build()
        .expect("the message is valid");
    let mut stored = Message::new(sent.id(), "orders", "secret");
    stored.key = Some("ada@example.org".to_owned());
    stored.headers = sent.headers().clone();
    for print in [format!("{sent:?}"), format!("{stored:?}"), format!("{:?}", stored.headers)] {
        assert!(!print.contains("ada") && !print.contains("secret"), "{print}");
    }
}

#[test]
fn headers_without_entries_are_stored_as_nothing() {
    assert_eq!(Headers::default().to_json(), None);
}

#[test]
fn headers_that_are_not_an_object_of_strings_are_refused() {
    for json in ["", "[]", "null", "{\"a\": 1}", "{\"a\": null}", "{\"a\": {}}", "{", "\"a\""] {
        assert!(Headers::from_json(json).is_err(), "{json}");
    }
}

fn any_text() -> impl Strategy<Value = String> {
    // Plain text, text with control characters, and any characters at all.
    prop_oneof!["[ -~]{0,40}", "[\\x00-\\x1f\\x7f\\u{80}-\\u{9f}a-z]{0,8}", ".{0,60}", "\\PC{0,300}"]
}

fn any_builder() -> impl Strategy<Value = MessageBuilder> {
    let headers = prop::collection::vec((any_text(), any_text()), 0..4);
    (any_text(), any_text(), any_text(), any_text(), any_text(), headers).prop_map(
        |(topic, message_type, key, idempotency, content_type, headers)| {
            let builder = NewMessage::builder(topic).message_type(message_type).key(key);
            let builder = builder.idempotency_key(idempotency).payload("x", content_type);
            headers.into_iter().fold(builder, |builder, (name, value)| builder.header(name, value))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn nothing_that_is_accepted_holds_a_control_character_or_breaks_a_limit(builder in any_builder()) {
        let Ok(message) = builder.build() else { return Ok(()) };
        let mut names = vec![message.topic(), message.message_type(), message.content_type()];
        names.extend(message.key());
        names.extend(message.idempotency_key());
        for name in &names {
            prop_assert!(name.len() <= 255);
        }
        for (name, value) in message.headers().iter() {
            prop_assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)));
            names.push(value);
        }
        prop_assert!(names.iter().all(|name| !name.chars().any(char::is_control)));
        prop_assert!(!message.topic().is_empty());
    }

    #[test]
    fn plain_names_are_accepted(topic in "[a-z][a-zA-Z0-9._ /:-]{0,100}", key in "[^\\p{Cc}]{1,60}") {
        let built = NewMessage::builder(topic.clone()).key(key.clone()).message_type(topic.clone()).build();
        let message = built.map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(message.topic(), topic);
        prop_assert_eq!(message.key(), Some(key.as_str()));
    }

    #[test]
    fn headers_come_back_from_json_as_they_were(pairs in prop::collection::btree_map(any_text(), any_text(), 0..8)) {
        let headers: Headers = pairs.into_iter().collect();
        let back = match headers.to_json() {
            Some(json) => Headers::from_json(&json).map_err(|error| TestCaseError::fail(error.to_string()))?,
            None => Headers::default(),
        };
        prop_assert_eq!(back.iter().collect::<Vec<_>>(), headers.iter().collect::<Vec<_>>());
    }
}
