//! What the value of a record is: the payload, or an envelope around it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::SystemTime;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, SecondsFormat, Utc};
use outbox_core::{DeliveryError, Message};
use serde::Serialize;
use serde_json::value::RawValue;

/// What the value of a record is. Every format sends the same headers besides, so a service can change from one to
/// another: [`message_of`](crate::message_of) reads them all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ValueFormat {
    /// The payload as it is.
    #[default]
    Payload,
    /// A JSON object: `eventId`, `eventType`, `aggregateType` (the message's topic), `aggregateId` (its key),
    /// `eventData` (the payload), `metadata` (its headers) and `createdAt`.
    ///
    /// A JSON payload is embedded as it is, text becomes a string, anything else a string in base64 with
    /// `"eventDataEncoding": "base64"`.
    JsonEnvelope,
    /// A CloudEvent 1.0 in binary mode: the payload as it is, the attributes as headers `ce_…`.
    CloudEvents {
        /// The attribute `source`: a URI that names the service.
        source: String,
    },
    /// A CloudEvent 1.0 in structured mode: one JSON object (`application/cloudevents+json`).
    StructuredCloudEvents {
        /// The attribute `source`: a URI that names the service.
        source: String,
    },
}

/// The bytes of the value; the error is for good.
pub(crate) fn value_of<'m>(
    format: &ValueFormat,
    message: &'m Message,
) -> Result<Cow<'m, [u8]>, DeliveryError> {
    let json = match format {
        ValueFormat::Payload | ValueFormat::CloudEvents { .. } => return Ok(Cow::Borrowed(&message.payload)),
        ValueFormat::JsonEnvelope => serde_json::to_vec(&Envelope::of(message)?),
        ValueFormat::StructuredCloudEvents { source } => {
            serde_json::to_vec(&Structured::of(message, source)?)
        }
    };
    json.map(Cow::Owned).map_err(|_| DeliveryError::new("the message cannot be written as JSON"))
}

/// Whether a payload of this content type is JSON.
pub(crate) fn is_json(content_type: &str) -> bool {
    let media_type = media_type(content_type);
    media_type == "application/json" || media_type == "text/json" || media_type.ends_with("+json")
}

/// A content type without its parameters.
fn media_type(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The media type of the value.
pub(crate) fn content_type<'m>(format: &ValueFormat, message: &'m Message) -> &'m str {
    match format {
        ValueFormat::Payload | ValueFormat::CloudEvents { .. } => &message.content_type,
        ValueFormat::JsonEnvelope => "application/json",
        ValueFormat::StructuredCloudEvents { .. } => "application/cloudevents+json",
    }
}

/// The CloudEvents attribute `type`, which must not be empty: a message without a type has that of its topic.
pub(crate) fn event_type(message: &Message) -> &str {
    if message.message_type.is_empty() { &message.topic } else { &message.message_type }
}

/// RFC 3339, in UTC, to the microsecond.
pub(crate) fn time(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    let time = DateTime::<Utc>::from_timestamp(seconds, since.subsec_nanos()).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'m> {
    event_id: String,
    event_type: &'m str,
    aggregate_type: &'m str,
    aggregate_id: Option<&'m str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_data_encoding: Option<&'static str>,
    event_data: Data<'m>,
    metadata: BTreeMap<&'m str, &'m str>,
    created_at: String,
}

impl<'m> Envelope<'m> {
    fn of(message: &'m Message) -> Result<Self, DeliveryError> {
        let data = Data::of(message)?;
        Ok(Self {
            event_id: message.id.to_string(),
            event_type: &message.message_type,
            aggregate_type: &message.topic,
            aggregate_id: message.key.as_deref(),
            event_data_encoding: matches!(data, Data::Base64(_)).then_some("base64"),
            event_data: data,
            metadata: message.headers.iter().collect(),
            created_at: time(message.created_at),
        })
    }
}

/// The JSON format of CloudEvents 1.0.
#[derive(Serialize)]
struct Structured<'m> {
    specversion: &'static str,
    id: String,
    source: &'m str,
    #[serde(rename = "type")]
    event_type: &'m str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'m str>,
    time: String,
    datacontenttype: &'m str,
    #[serde(skip_serializing_if = "Option::is_none")]
    partitionkey: Option<&'m str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'m str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data<'m>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<Data<'m>>,
}

impl<'m> Structured<'m> {
    fn of(message: &'m Message, source: &'m str) -> Result<Self, DeliveryError> {
        let (data, data_base64) = match Data::of(message)? {
            Data::Nothing => (None, None),
            data @ Data::Base64(_) => (None, Some(data)),
            data => (Some(data), None),
        };
        Ok(Self {
            specversion: "1.0",
            id: message.id.to_string(),
            source,
            event_type: event_type(message),
            subject: message.key.as_deref(),
            time: time(message.created_at),
            datacontenttype: &message.content_type,
            partitionkey: message.key.as_deref(),
            traceparent: message.headers.get("traceparent"),
            data,
            data_base64,
        })
    }
}

/// A payload inside a JSON object.
#[derive(Serialize)]
#[serde(untagged)]
enum Data<'m> {
    Nothing,
    Json(&'m RawValue),
    Text(&'m str),
    Base64(String),
}

impl<'m> Data<'m> {
    fn of(message: &'m Message) -> Result<Self, DeliveryError> {
        let payload = &message.payload[..];
        if payload.is_empty() {
            return Ok(Self::Nothing);
        }
        if is_json(&message.content_type) {
            let json = serde_json::from_slice(payload);
            return json.map(Self::Json).map_err(|_| {
                DeliveryError::new(
                    "the payload is not JSON, as its content type says; it fits no JSON envelope",
                )
            });
        }
        match std::str::from_utf8(payload) {
            Ok(text) if media_type(&message.content_type).starts_with("text/") => Ok(Self::Text(text)),
            _ => Ok(Self::Base64(BASE64_STANDARD.encode(payload))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use outbox_core::MessageId;
    use serde_json::{Value, json};

    use super::*;

    fn message(payload: &[u8], content_type: &str) -> Message {
        let id: MessageId = "0197f7a2-7a1c-7c3e-9d0b-2f8f5f6b1c11".parse().expect("a UUID");
        let mut message = Message::new(id, "orders", payload.to_vec());
        message.key = Some("4711".to_owned());
        message.message_type = "order.placed".to_owned();
        message.content_type = content_type.to_owned();
        message.headers.insert("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        message.created_at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_500);
        message
    }

    fn written(format: &ValueFormat, message: &Message) -> Value {
        serde_json::from_slice(&value_of(format, message).expect("a value")).expect("JSON")
    }

    #[test]
    fn the_payload_travels_as_it_is() {
        for format in [ValueFormat::Payload, ValueFormat::CloudEvents { source: "urn:shop".to_owned() }] {
            let message = message(b"\x00\xff", "application/octet-stream");
            assert_eq!(*value_of(&format, &message).expect("bytes"), *b"\x00\xff");
        }
    }

    #[test]
    fn the_json_envelope_names_event_and_aggregate_and_embeds_the_payload() {
        let json = written(
            &ValueFormat::JsonEnvelope,
            &message(br#"{"total":1.10}"#, "application/json; charset=utf-8"),
        );
        let expected = json!({
            "eventId": "0197f7a2-7a1c-7c3e-9d0b-2f8f5f6b1c11",
            "eventType": "order.placed",
            "aggregateType": "orders",
            "aggregateId": "4711",
            "eventData": {"total": 1.10},
            "metadata": {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
            "createdAt": "1970-01-01T00:00:01.500000Z",
        });
        assert_eq!(json, expected);
        let digits = message(b"{\"n\":1.10}", "application/json");
        let bytes = value_of(&ValueFormat::JsonEnvelope, &digits);
        let text = String::from_utf8(bytes.expect("a value").into_owned()).expect("UTF-8");
        assert!(text.contains(r#""eventData":{"n":1.10}"#), "digits stay as they were written: {text}");
    }

    #[test]
    fn what_is_not_json_becomes_text_or_base64() {
        let text = written(&ValueFormat::JsonEnvelope, &message("größe".as_bytes(), "text/plain"));
        assert_eq!((&text["eventData"], &text["eventDataEncoding"]), (&json!("größe"), &Value::Null));
        let binary = written(&ValueFormat::JsonEnvelope, &message(b"\x00\xff", "application/octet-stream"));
        assert_eq!((&binary["eventData"], &binary["eventDataEncoding"]), (&json!("AP8="), &json!("base64")));
        let empty = written(&ValueFormat::JsonEnvelope, &message(b"", "application/json"));
        assert_eq!(empty["eventData"], Value::Null);
        let broken = message(b"{", "application/json");
        assert!(value_of(&ValueFormat::JsonEnvelope, &broken).is_err(), "it says JSON and is none");
    }

    #[test]
    fn a_structured_cloud_event_has_the_attributes_of_the_specification() {
        let format = ValueFormat::StructuredCloudEvents { source: "https://example.org/shop".to_owned() };
        let json = written(&format, &message(br#"{"n":1}"#, "application/json"));
        let expected = json!({
            "specversion": "1.0",
            "id": "0197f7a2-7a1c-7c3e-9d0b-2f8f5f6b1c11",
            "source": "https://example.org/shop",
            "type": "order.placed",
            "subject": "4711",
            "time": "1970-01-01T00:00:01.500000Z",
            "datacontenttype": "application/json",
            "partitionkey": "4711",
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "data": {"n": 1},
        });
        assert_eq!(json, expected);
        let binary = written(&format, &message(b"\x00\xff", "application/octet-stream"));
        assert_eq!((&binary["data_base64"], binary.get("data")), (&json!("AP8="), None));
    }
}
