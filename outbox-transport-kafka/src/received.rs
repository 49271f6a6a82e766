//! [`message_of`]: from a record back to the message, for consumers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::DateTime;
use outbox_core::{Bytes, Headers, Message, MessageId};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::record::{CONTENT_TYPE, CREATED_AT, ID, IDEMPOTENCY_KEY, PAYLOAD_TYPE, TYPE, is_ours};
use crate::value::is_json;

/// Why a record is no message of an outbox. Holds nothing of the record in its own text.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NoMessage {
    /// There is no id.
    #[error("the record has no header outbox-id with a UUID; no outbox sent it")]
    NoId,
    /// The key is not UTF-8.
    #[error("the key of the record is not text; no outbox sent it")]
    Key,
    /// The time cannot be read.
    #[error("the header outbox-created-at of the record is no time; no outbox sent it so")]
    CreatedAt,
    /// The value is not what the headers say.
    #[error("the value of the record is not {expected}, as its headers say")]
    Value {
        /// What it should be.
        expected: &'static str,
        /// Where it differs.
        source: Option<serde_json::Error>,
    },
}

/// The message that became `record`, whatever [`ValueFormat`](crate::ValueFormat) it was written in.
///
/// Everything is as it was enqueued, with three exceptions: the topic is Kafka's, with its prefix; the header
/// [`PARTITION_HEADER`](crate::PARTITION_HEADER) was not sent; and in a JSON envelope an empty payload that calls itself
/// JSON cannot be told from `null`. A tombstone has an empty payload.
///
/// A record can come twice: remember the id in the transaction that does the work (`Inbox::first_time` of the
/// databases), and tell the broker that it is received only after that is committed.
///
/// ```no_run
/// use outbox_core::DecodeError;
/// use outbox_transport_kafka::message_of;
/// use outbox_transport_kafka::rdkafka::consumer::{BaseConsumer, Consumer};
///
/// # #[derive(serde::Serialize, serde::Deserialize)]
/// # struct OrderPlaced;
/// # impl outbox_core::TypedMessage for OrderPlaced {
/// #     const TOPIC: &'static str = "orders";
/// #     const TYPE: &'static str = "order.placed";
/// #     fn key(&self) -> Option<String> { None }
/// # }
/// # fn receive(consumer: BaseConsumer) -> Result<(), Box<dyn std::error::Error>> {
/// for record in consumer.iter() {
///     let record = record?;
///     let message = message_of(&record)?;
///     match message.message_type.as_str() {
///         "order.placed" => drop(message.decode::<OrderPlaced>()?),
///         _ => return Err(DecodeError::unknown_type(&message).into()),
///     }
///     consumer.store_offset_from_message(&record)?;
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`NoMessage`] says why no outbox has sent it. It would come again for ever: keep it for a person, and go on.
pub fn message_of(record: &impl rdkafka::Message) -> Result<Message, NoMessage> {
    let headers = text_headers(record);
    // The transport writes each of its headers once, and before all others.
    let header = |wanted| headers.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
    let id: MessageId = header(ID).and_then(|id| id.parse().ok()).ok_or(NoMessage::NoId)?;
    let content_type = header(CONTENT_TYPE).unwrap_or_default();
    let value = record.payload().unwrap_or_default();
    let payload = match header(PAYLOAD_TYPE).filter(|_| record.payload().is_some()) {
        None => Bytes::copy_from_slice(value),
        Some(payload_type) => unwrapped(id, value, content_type, payload_type)?,
    };
    let mut message = Message::new(id, record.topic(), payload);
    header(TYPE).unwrap_or_default().clone_into(&mut message.message_type);
    header(PAYLOAD_TYPE).unwrap_or(content_type).clone_into(&mut message.content_type);
    let key = record.key().map(|key| std::str::from_utf8(key).map(str::to_owned));
    message.key = key.transpose().map_err(|_| NoMessage::Key)?;
    message.idempotency_key = header(IDEMPOTENCY_KEY).map(str::to_owned);
    message.created_at = match header(CREATED_AT) {
        Some(time) => DateTime::parse_from_rfc3339(time).map_err(|_| NoMessage::CreatedAt)?.into(),
        None => time_of(record),
    };
    let of_the_event = header("ce_id").is_some_and(|event| event.parse() == Ok(id));
    let of_the_transport = |name: &str| is_ours(name) || (of_the_event && name.starts_with("ce_"));
    let own = headers.iter().filter(|(name, _)| !of_the_transport(name));
    message.headers = own.copied().collect();
    Ok(message)
}

/// The headers of a record that are text, also of one that no outbox has sent; of several with one name the last.
pub fn headers_of(record: &impl rdkafka::Message) -> Headers {
    text_headers(record).into_iter().collect()
}

fn text_headers<M: rdkafka::Message>(record: &M) -> Vec<(&str, &str)> {
    record.headers().map(texts).unwrap_or_default()
}

fn texts<H: rdkafka::message::Headers>(headers: &H) -> Vec<(&str, &str)> {
    let text = |index| {
        // rdkafka panics at a name that is not UTF-8, which whoever may write to the topic can send.
        let header = catch_unwind(AssertUnwindSafe(|| headers.try_get(index))).ok()??;
        Some((header.key, std::str::from_utf8(header.value?).ok()?))
    };
    (0..headers.count()).filter_map(text).collect()
}

/// When the record was sent, for one that does not say when its message was enqueued.
fn time_of(record: &impl rdkafka::Message) -> SystemTime {
    let milliseconds = record.timestamp().to_millis().and_then(|time| u64::try_from(time).ok());
    let since = Duration::from_millis(milliseconds.unwrap_or_default());
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// What a JSON envelope and a structured CloudEvent hold of a message that the headers do not.
#[derive(Deserialize)]
struct Wrapped<'v> {
    #[serde(alias = "eventId")]
    id: MessageId,
    #[serde(default, borrow, alias = "eventData", deserialize_with = "given")]
    data: Option<&'v RawValue>,
    data_base64: Option<String>,
    #[serde(rename = "eventDataEncoding")]
    encoding: Option<String>,
}

/// Also `null` is data.
fn given<'v, D: Deserializer<'v>>(value: D) -> Result<Option<&'v RawValue>, D::Error> {
    <&RawValue>::deserialize(value).map(Some)
}

/// The payload out of an envelope around it.
fn unwrapped(
    id: MessageId,
    value: &[u8],
    content_type: &str,
    payload_type: &str,
) -> Result<Bytes, NoMessage> {
    let envelope = content_type == "application/json";
    let expected =
        if envelope { "the JSON envelope of the message" } else { "the CloudEvent of the message" };
    let not = |source| NoMessage::Value { expected, source };
    let wrapped: Wrapped<'_> = serde_json::from_slice(value).map_err(|error| not(Some(error)))?;
    if wrapped.id != id {
        return Err(not(None));
    }
    let text = |data: &RawValue| serde_json::from_str::<String>(data.get()).map_err(|error| not(Some(error)));
    let base64 = match (wrapped.data_base64, wrapped.encoding.as_deref(), wrapped.data) {
        (Some(data), ..) => Some(data),
        (None, Some("base64"), Some(data)) => Some(text(data)?),
        (None, Some(_), _) => return Err(not(None)),
        _ => None,
    };
    if let Some(base64) = base64 {
        return BASE64_STANDARD.decode(base64).map(Bytes::from).map_err(|_| not(None));
    }
    Ok(match wrapped.data {
        None => Bytes::new(),
        Some(data) if is_json(payload_type) => Bytes::copy_from_slice(data.get().as_bytes()),
        Some(data) if envelope && data.get() == "null" => Bytes::new(),
        Some(data) => text(data)?.into(),
    })
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::error::Error as _;

    use outbox_core::Delivery;
    use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};
    use rdkafka::{Message as _, Timestamp};

    use super::*;
    use crate::record::Record;
    use crate::{PARTITION_HEADER, ValueFormat};

    fn formats() -> [ValueFormat; 4] {
        let source = || "urn:shop".to_owned();
        [
            ValueFormat::Payload,
            ValueFormat::JsonEnvelope,
            ValueFormat::CloudEvents { source: source() },
            ValueFormat::StructuredCloudEvents { source: source() },
        ]
    }

    fn message(payload: &[u8], content_type: &str) -> Message {
        let mut message = Message::new(MessageId::generate(), "orders", payload.to_vec());
        message.key = Some("größe".to_owned());
        message.message_type = "order.placed".to_owned();
        message.content_type = content_type.to_owned();
        message.idempotency_key = Some("once".to_owned());
        message.headers.insert("traceparent", "00-a-b-01");
        message.headers.insert("correlation-id", "");
        message.headers.insert("outbox-of-mine", "x");
        message.created_at = SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_000_001);
        message
    }

    /// A message as a consumer gets it.
    fn sent(message: &Message, format: &ValueFormat) -> OwnedMessage {
        let delivery = Delivery::new(0, message.clone());
        let record = Record::of(&delivery, format, true).expect("a record");
        let (value, key) = (record.value.map(Cow::into_owned), message.key.clone().map(String::into_bytes));
        received(value, key, record.headers)
    }

    fn received(value: Option<Vec<u8>>, key: Option<Vec<u8>>, headers: OwnedHeaders) -> OwnedMessage {
        OwnedMessage::new(value, key, "orders".to_owned(), Timestamp::CreateTime(1_500), 0, 0, Some(headers))
    }

    type HeaderRow<'r> = &'r [(&'r str, &'r [u8])];

    fn headers(all: HeaderRow<'_>) -> OwnedHeaders {
        all.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key, value: Some(*value) })
        })
    }

    #[test]
    fn every_format_comes_back_as_it_was_enqueued() {
        for format in formats() {
            for (payload, content_type) in [
                (&br#"{"total": 1.10, "items": ["\u00e4", null]}"#[..], "application/json; charset=utf-8"),
                (b"null", "application/json"),
                (b"\"text\"", "application/vnd.shop+json"),
                ("größe \"4\"\n".as_bytes(), "text/plain"),
                (b"null", "text/plain"),
                (b"\x00\xff", "text/plain"),
                (b"\x00\xff", "application/octet-stream"),
                (b"{}", "application/cloudevents+json"),
                // A tombstone.
                (b"", "application/json"),
            ] {
                let message = message(payload, content_type);
                let back = message_of(&sent(&message, &format)).expect("a message");
                assert_eq!(back, message, "{format:?}, {content_type}");
            }
            let mut bare = Message::new(MessageId::generate(), "orders", Bytes::new());
            assert_eq!(message_of(&sent(&bare, &format)).expect("a message"), bare, "{format:?}");
            bare.headers.insert(PARTITION_HEADER, "3");
            let back = message_of(&sent(&bare, &format)).expect("a message");
            assert!(back.headers.is_empty(), "where it went is no part of it");
        }
    }

    #[test]
    fn a_record_that_no_outbox_sent_is_refused_with_the_reason() {
        let id = MessageId::generate().to_string();
        let id = ("outbox-id", id.as_bytes());
        let envelope = [id, ("content-type", b"application/json"), ("outbox-content-type", b"text/plain")];
        let event = [id, ("content-type", b"application/cloudevents+json"), ("outbox-content-type", b"")];
        let other = format!(r#"{{"eventId":"{}","eventData":"x"}}"#, MessageId::generate());
        let rows: [(HeaderRow<'_>, &[u8], &[u8], &str); 9] = [
            (&[], b"", b"key", "no header outbox-id"),
            (&[("outbox-id", b"4711")], b"", b"key", "no header outbox-id"),
            (&[("outbox-id", b"\xff")], b"", b"key", "no header outbox-id"),
            (&[id], b"", b"\xff", "key"),
            (&[id, ("outbox-created-at", b"yesterday")], b"", b"key", "outbox-created-at"),
            (&envelope, b"hello", b"key", "JSON envelope"),
            (&envelope, other.as_bytes(), b"key", "JSON envelope"),
            (&event, b"{}", b"key", "CloudEvent"),
            (&event, b"\xff", b"key", "CloudEvent"),
        ];
        for (all, value, key, reason) in rows {
            let record = received(Some(value.to_vec()), Some(key.to_vec()), headers(all));
            let error = message_of(&record).expect_err(reason);
            assert!(error.to_string().contains(reason), "{reason:?} is not in: {error}");
            assert!(error.source().is_none_or(|source| !source.to_string().is_empty()));
        }
    }

    #[test]
    fn what_an_id_alone_leaves_open_is_taken_from_the_record() {
        let id = MessageId::generate();
        let all =
            headers(&[("outbox-id", id.to_string().as_bytes()), ("outbox-id", b"another"), ("a", b"\xff")]);
        let message = message_of(&received(Some(b"hello".to_vec()), None, all)).expect("a message");
        assert_eq!((message.id, &message.payload[..]), (id, &b"hello"[..]));
        assert_eq!(message.created_at, SystemTime::UNIX_EPOCH + Duration::from_millis(1_500));
        assert!(message.headers.is_empty() && message.key.is_none());
    }

    /// Cut off and overwritten anywhere, a record is read or refused.
    #[test]
    fn no_value_makes_it_panic() {
        for format in formats() {
            let record = sent(&message(b"\x00\xff", "application/octet-stream"), &format);
            let value = record.payload().expect("a value").to_vec();
            for end in 0..value.len() {
                for byte in [b'\0', b'"', b'{', b'\xff', b'1'] {
                    let mut damaged = value.clone();
                    damaged[end] = byte;
                    for value in [damaged, value[..end].to_vec()] {
                        drop(message_of(&record.clone().set_payload(Some(value))));
                    }
                }
            }
        }
    }

    /// Headers of which rdkafka cannot name the first.
    struct Unnamed(OwnedHeaders);

    impl rdkafka::message::Headers for Unnamed {
        fn count(&self) -> usize {
            self.0.count() + 1
        }

        fn try_get(&self, index: usize) -> Option<Header<'_, &[u8]>> {
            self.0.try_get(index.checked_sub(1).expect("the name is UTF-8"))
        }
    }

    #[test]
    fn a_header_whose_name_is_not_text_is_left_out() {
        let hostile = Unnamed(headers(&[("outbox-id", b"1"), ("a", b"\xff"), ("b", b"2")]));
        assert_eq!(texts(&hostile), [("outbox-id", "1"), ("b", "2")]);
    }
}
