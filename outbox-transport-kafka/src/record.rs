//! A message as a record: its value and its headers.

use std::borrow::Cow;

use outbox_core::{Delivery, DeliveryError};
use rdkafka::message::{Header, OwnedHeaders};

use crate::destination::PARTITION_HEADER;
use crate::value::{ValueFormat, content_type, event_type, time, value_of};

/// Value (none for a tombstone) and headers of a record.
pub(crate) struct Record<'m> {
    pub(crate) value: Option<Cow<'m, [u8]>>,
    pub(crate) headers: OwnedHeaders,
}

/// What this transport says of a message; headers of the message with these names are not sent.
pub(crate) const ID: &str = "outbox-id";
pub(crate) const TYPE: &str = "outbox-type";
pub(crate) const CREATED_AT: &str = "outbox-created-at";
const ATTEMPT: &str = "outbox-attempt";
const IN_DOUBT: &str = "outbox-in-doubt";
pub(crate) const IDEMPOTENCY_KEY: &str = "outbox-idempotency-key";
pub(crate) const CONTENT_TYPE: &str = "content-type";
/// The media type of the payload, where `content-type` is that of an envelope around it.
pub(crate) const PAYLOAD_TYPE: &str = "outbox-content-type";

/// Whether this transport says something by a header of this name.
pub(crate) fn is_ours(name: &str) -> bool {
    [ID, TYPE, CREATED_AT, ATTEMPT, IN_DOUBT, IDEMPOTENCY_KEY, CONTENT_TYPE, PAYLOAD_TYPE].contains(&name)
}

impl<'m> Record<'m> {
    /// Writes `delivery`; the error is for good.
    pub(crate) fn of(
        delivery: &'m Delivery,
        format: &ValueFormat,
        tombstones: bool,
    ) -> Result<Self, DeliveryError> {
        let message = &*delivery.message;
        let tombstone = tombstones && message.payload.is_empty() && message.key.is_some();
        let value = if tombstone { None } else { Some(value_of(format, message)?) };
        Ok(Self { value, headers: headers(delivery, format) })
    }
}

fn headers(delivery: &Delivery, format: &ValueFormat) -> OwnedHeaders {
    let message = &*delivery.message;
    let id = message.id.to_string();
    let created_at = time(message.created_at);
    let mut headers = Headers(OwnedHeaders::new_with_capacity(12));
    headers.add(ID, &id);
    headers.add_if_any(TYPE, &message.message_type);
    headers.add(CREATED_AT, &created_at);
    headers.add(ATTEMPT, &delivery.attempt.to_string());
    if delivery.in_doubt {
        headers.add(IN_DOUBT, "true");
    }
    headers.add_if_any(IDEMPOTENCY_KEY, message.idempotency_key.as_deref().unwrap_or_default());
    headers.add_if_any(CONTENT_TYPE, content_type(format, message));
    if matches!(format, ValueFormat::JsonEnvelope | ValueFormat::StructuredCloudEvents { .. }) {
        headers.add(PAYLOAD_TYPE, &message.content_type);
    }
    let mut cloud_event = false;
    if let ValueFormat::CloudEvents { source } = format {
        cloud_event = true;
        headers.add("ce_specversion", "1.0");
        headers.add("ce_id", &id);
        headers.add("ce_source", source);
        headers.add("ce_type", event_type(message));
        headers.add("ce_time", &created_at);
        if let Some(key) = &message.key {
            headers.add("ce_subject", key);
            headers.add("ce_partitionkey", key);
        }
        headers.add_if_any("ce_traceparent", message.headers.get("traceparent").unwrap_or_default());
    }
    for (name, value) in message.headers.iter() {
        let of_the_event = cloud_event && name.starts_with("ce_");
        if !is_ours(name) && name != PARTITION_HEADER && !of_the_event {
            headers.add(name, value);
        }
    }
    headers.0
}

struct Headers(OwnedHeaders);

impl Headers {
    fn add(&mut self, name: &str, value: &str) {
        let headers = std::mem::take(&mut self.0);
        self.0 = headers.insert(Header { key: name, value: Some(value) });
    }

    fn add_if_any(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.add(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use outbox_core::{Message, MessageId};
    use rdkafka::message::Headers as _;

    use super::*;

    fn delivery(payload: &'static [u8], key: Option<&str>) -> Delivery {
        let mut message = Message::new(MessageId::generate(), "orders", payload);
        message.key = key.map(str::to_owned);
        Delivery::new(0, message)
    }

    fn shown(headers: &OwnedHeaders) -> Vec<(String, String)> {
        let text =
            |value: Option<&[u8]>| String::from_utf8(value.unwrap_or_default().to_vec()).expect("UTF-8");
        headers.iter().map(|header| (header.key.to_owned(), text(header.value))).collect()
    }

    #[test]
    fn the_headers_say_what_the_message_is_and_carry_its_own() {
        let mut delivery = delivery(b"{}", Some("4711"));
        let mut message = (*delivery.message).clone();
        message.message_type = "order.placed".to_owned();
        message.content_type = "application/json".to_owned();
        message.idempotency_key = Some("once".to_owned());
        message.headers.insert("traceparent", "00-a-b-01");
        message.headers.insert(PARTITION_HEADER, "3");
        message.headers.insert("outbox-id", "somebody else");
        let id = message.id.to_string();
        (delivery.message, delivery.attempt, delivery.in_doubt) = (message.into(), 3, true);
        let record = Record::of(&delivery, &ValueFormat::Payload, true).expect("a record");
        let expected = [
            ("outbox-id", id.as_str()),
            ("outbox-type", "order.placed"),
            ("outbox-created-at", "1970-01-01T00:00:00.000000Z"),
            ("outbox-attempt", "3"),
            ("outbox-in-doubt", "true"),
            ("outbox-idempotency-key", "once"),
            ("content-type", "application/json"),
            ("traceparent", "00-a-b-01"),
        ];
        assert_eq!(shown(&record.headers), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_cloud_event_in_binary_mode_has_its_attributes_as_headers() {
        let delivery = delivery(b"{}", Some("4711"));
        let format = ValueFormat::CloudEvents { source: "urn:shop".to_owned() };
        let record = Record::of(&delivery, &format, true).expect("a record");
        let headers = shown(&record.headers);
        let id = delivery.message.id.to_string();
        for (name, value) in [
            ("ce_specversion", "1.0"),
            ("ce_id", id.as_str()),
            ("ce_source", "urn:shop"),
            ("ce_type", "orders"),
            ("ce_time", "1970-01-01T00:00:00.000000Z"),
            ("ce_subject", "4711"),
            ("ce_partitionkey", "4711"),
        ] {
            assert!(headers.contains(&(name.to_owned(), value.to_owned())), "{name} in {headers:?}");
        }
        assert_eq!(record.value.as_deref(), Some(&b"{}"[..]));
    }

    #[test]
    fn an_envelope_says_what_is_in_it() {
        let delivery = delivery(b"{}", None);
        for (format, content_type) in [
            (ValueFormat::JsonEnvelope, "application/json"),
            (
                ValueFormat::StructuredCloudEvents { source: "urn:shop".to_owned() },
                "application/cloudevents+json",
            ),
        ] {
            let headers = shown(&Record::of(&delivery, &format, true).expect("a record").headers);
            for (name, value) in [
                ("content-type", content_type),
                ("outbox-content-type", delivery.message.content_type.as_str()),
            ] {
                assert!(headers.contains(&(name.to_owned(), value.to_owned())), "{name} in {headers:?}");
            }
        }
    }

    #[test]
    fn an_empty_payload_with_a_key_is_a_tombstone_unless_that_is_switched_off() {
        for (key, tombstones, value) in
            [(Some("4711"), true, None), (Some("4711"), false, Some(&b""[..])), (None, true, Some(&b""[..]))]
        {
            let delivery = delivery(b"", key);
            let record = Record::of(&delivery, &ValueFormat::Payload, tombstones).expect("a record");
            assert_eq!(record.value.as_deref(), value, "{key:?}, {tombstones}");
        }
    }
}
