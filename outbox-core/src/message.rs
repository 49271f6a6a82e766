//! What travels: [`NewMessage`] on its way in, [`Message`] on its way out.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::Headers;
use crate::headers::{CAUSATION_ID, CORRELATION_ID};

/// The identity of a message: a UUIDv7, given when the message is built and kept through every delivery,
/// redelivery and redrive. Receivers deduplicate by it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(Uuid);

impl MessageId {
    /// A fresh id.
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id as a UUID.
    #[must_use]
    pub const fn as_uuid(&self) -> &Uuid {
        &self.0
    }
}

impl From<Uuid> for MessageId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl FromStr for MessageId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A stored message, as a transport gets it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// The identity; the same on every redelivery.
    pub id: MessageId,
    /// The stream it belongs to; routes choose the transport by it.
    pub topic: String,
    /// What the payload is, for receivers (`order.placed`); empty when the producer gave none.
    pub message_type: String,
    /// The ordering key: messages of one topic and key are delivered in the order of their transactions.
    pub key: Option<String>,
    /// The body, untouched.
    pub payload: Bytes,
    /// The media type of the payload.
    pub content_type: String,
    /// What the producer wants carried along, `traceparent` among it.
    pub headers: Headers,
    /// The producer's idempotency key.
    pub idempotency_key: Option<String>,
    /// When the store wrote it, by the store's clock.
    pub created_at: SystemTime,
}

impl Message {
    /// A message as a store reads it back; set the remaining fields on the value.
    #[must_use]
    pub fn new(id: MessageId, topic: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self {
            id,
            topic: topic.into(),
            message_type: String::new(),
            key: None,
            payload: payload.into(),
            content_type: DEFAULT_CONTENT_TYPE.to_owned(),
            headers: Headers::default(),
            idempotency_key: None,
            created_at: SystemTime::UNIX_EPOCH,
        }
    }

    /// Bytes of memory the message holds, roughly; what byte limits count.
    #[must_use]
    pub fn size(&self) -> usize {
        let key = self.key.as_ref().map_or(0, String::len);
        let idempotency = self.idempotency_key.as_ref().map_or(0, String::len);
        self.payload.len()
            + self.topic.len()
            + self.message_type.len()
            + key
            + idempotency
            + self.headers.size()
            + 64
    }
}

/// Without payload, key and headers: a debug print must not carry personal data into a log.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("id", &self.id)
            .field("topic", &self.topic)
            .field("message_type", &self.message_type)
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

const DEFAULT_CONTENT_TYPE: &str = "application/octet-stream";

/// A message that is about to be enqueued: complete and valid, since only [`MessageBuilder::build`] makes one.
#[derive(Clone)]
pub struct NewMessage {
    id: MessageId,
    topic: String,
    message_type: String,
    key: Option<String>,
    payload: Bytes,
    content_type: String,
    headers: Headers,
    idempotency_key: Option<String>,
    not_before: Option<SystemTime>,
}

impl NewMessage {
    /// Starts a message of `topic`; everything else has a default.
    pub fn builder(topic: impl Into<String>) -> MessageBuilder {
        MessageBuilder {
            message: Self {
                id: MessageId::generate(),
                topic: topic.into(),
                message_type: String::new(),
                key: None,
                payload: Bytes::new(),
                content_type: DEFAULT_CONTENT_TYPE.to_owned(),
                headers: Headers::default(),
                idempotency_key: None,
                not_before: None,
            },
            limits: Limits::default(),
            invalid: None,
        }
    }

    /// The identity it will keep.
    #[must_use]
    pub const fn id(&self) -> MessageId {
        self.id
    }
    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }
    /// The type, empty when none was given.
    #[must_use]
    pub fn message_type(&self) -> &str {
        &self.message_type
    }
    /// The ordering key.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }
    /// The body.
    #[must_use]
    pub const fn payload(&self) -> &Bytes {
        &self.payload
    }
    /// The media type of the body.
    #[must_use]
    pub fn content_type(&self) -> &str {
        &self.content_type
    }
    /// The headers.
    #[must_use]
    pub const fn headers(&self) -> &Headers {
        &self.headers
    }
    /// The idempotency key.
    #[must_use]
    pub fn idempotency_key(&self) -> Option<&str> {
        self.idempotency_key.as_deref()
    }
    /// The moment before which it is not delivered.
    #[must_use]
    pub const fn not_before(&self) -> Option<SystemTime> {
        self.not_before
    }
}

impl fmt::Debug for NewMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewMessage")
            .field("id", &self.id)
            .field("topic", &self.topic)
            .field("message_type", &self.message_type)
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

/// How large the parts of a message may be. Lengths are bytes of UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The payload: 1 MiB by default.
    pub payload: usize,
    /// Topic, key, type, content type and idempotency key, each: 255 by default.
    pub name: usize,
    /// All headers together, names and values: 16 KiB by default.
    pub headers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { payload: 1024 * 1024, name: 255, headers: 16 * 1024 }
    }
}

/// Why a message could not be built; names the field.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InvalidMessage {
    /// A field that must not be empty is.
    #[error("{field} is empty; give it at least one character")]
    Empty {
        /// The field's name.
        field: &'static str,
    },
    /// A field is longer than its limit.
    #[error("{field} is {length} bytes long; the limit is {limit}")]
    TooLong {
        /// The field's name.
        field: &'static str,
        /// Its length in bytes.
        length: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A field holds a control character (NUL, CR, LF and the like), which could break out of a mail header.
    #[error("{field} holds a control character; remove it")]
    ControlCharacter {
        /// The field's name.
        field: &'static str,
    },
    /// A header name is not made of ASCII letters, digits, `-`, `_` and `.`.
    #[error("the header name {name:?} is not made of ASCII letters, digits, '-', '_' and '.'")]
    HeaderName {
        /// The refused name.
        name: String,
    },
    /// The payload could not be serialised.
    #[error("the payload could not be serialised as JSON")]
    Json(#[source] serde_json::Error),
}

/// Builds a [`NewMessage`]. The first mistake is kept and answered by [`build`](Self::build).
#[derive(Debug)]
#[must_use = "nothing is enqueued until the message is built and handed to `enqueue`"]
pub struct MessageBuilder {
    message: NewMessage,
    limits: Limits,
    invalid: Option<InvalidMessage>,
}

impl MessageBuilder {
    /// Sets the type, for receivers: `order.placed`.
    pub fn message_type(mut self, message_type: impl Into<String>) -> Self {
        self.message.message_type = message_type.into();
        self
    }

    /// Sets the ordering key, usually the id of the aggregate.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.message.key = Some(key.into());
        self
    }

    /// Sets the body as bytes, with its media type.
    pub fn payload(mut self, payload: impl Into<Bytes>, content_type: impl Into<String>) -> Self {
        self.message.payload = payload.into();
        self.message.content_type = content_type.into();
        self
    }

    /// Sets the body to `value` as JSON.
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Self {
        self.json_as(value, "application/json")
    }

    pub(crate) fn json_as<T: Serialize + ?Sized>(mut self, value: &T, content_type: &str) -> Self {
        match serde_json::to_vec(value) {
            Ok(json) => self.payload(json, content_type),
            Err(error) => {
                self.invalid.get_or_insert(InvalidMessage::Json(error));
                self
            }
        }
    }

    /// Adds a header; a second value for a name replaces the first.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.message.headers.insert(name, value);
        self
    }

    pub(crate) fn headers(mut self, headers: Headers) -> Self {
        self.message.headers = headers;
        self
    }

    /// Says which undertaking the message belongs to: the same id on every message that one request or process gave
    /// rise to. It travels as the header `correlation-id`.
    pub fn correlation_id(self, id: impl fmt::Display) -> Self {
        self.header(CORRELATION_ID, id.to_string())
    }

    /// Says what gave rise to the message: the id of another message, or of a request. It travels as the header
    /// `causation-id`.
    pub fn causation_id(self, id: impl fmt::Display) -> Self {
        self.header(CAUSATION_ID, id.to_string())
    }

    /// For the messages that a receiver publishes because of one it received: its id becomes their causation id, and
    /// its correlation id theirs (its own id, if it has none: then the chain begins with it).
    pub fn caused_by(self, cause: &Message) -> Self {
        let builder = self.causation_id(cause.id);
        match cause.headers.correlation_id() {
            Some(id) => builder.correlation_id(id),
            None => builder.correlation_id(cause.id),
        }
    }

    /// Adds the W3C trace context: it is stored with the message, and a transport may send it on.
    pub fn traceparent(self, traceparent: impl Into<String>) -> Self {
        self.header("traceparent", traceparent)
    }

    /// Makes the enqueue idempotent: within the retention (7 days by default), the same idempotency key of a topic
    /// is stored once, also after delivery.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.message.idempotency_key = Some(key.into());
        self
    }

    /// Holds the message back until `moment`, by the store's clock. It blocks nothing until then and joins its
    /// key's order when it is due.
    pub fn not_before(mut self, moment: SystemTime) -> Self {
        self.message.not_before = Some(moment);
        self
    }

    /// Sets an id of the caller's own.
    pub fn id(mut self, id: MessageId) -> Self {
        self.message.id = id;
        self
    }

    /// Replaces the default [`Limits`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The finished message.
    ///
    /// # Errors
    /// [`InvalidMessage`] names the field that is empty, too long or holds a control character.
    pub fn build(self) -> Result<NewMessage, InvalidMessage> {
        if let Some(invalid) = self.invalid {
            return Err(invalid);
        }
        let Self { message, limits, .. } = self;
        name("topic", &message.topic, limits.name)?;
        name("content type", &message.content_type, limits.name)?;
        if !message.message_type.is_empty() {
            name("type", &message.message_type, limits.name)?;
        }
        if let Some(key) = &message.key {
            name("key", key, limits.name)?;
        }
        if let Some(key) = &message.idempotency_key {
            name("idempotency key", key, limits.name)?;
        }
        within("payload", message.payload.len(), limits.payload)?;
        within("headers", message.headers.size(), limits.headers)?;
        for (name, value) in message.headers.iter() {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if name.is_empty() || !name.chars().all(plain) {
                return Err(InvalidMessage::HeaderName { name: name.to_owned() });
            }
            if value.chars().any(char::is_control) {
                return Err(InvalidMessage::ControlCharacter { field: "headers" });
            }
        }
        Ok(message)
    }
}

fn name(field: &'static str, value: &str, limit: usize) -> Result<(), InvalidMessage> {
    if value.is_empty() {
        return Err(InvalidMessage::Empty { field });
    }
    within(field, value.len(), limit)?;
    if value.chars().any(char::is_control) {
        return Err(InvalidMessage::ControlCharacter { field });
    }
    Ok(())
}

fn within(field: &'static str, length: usize, limit: usize) -> Result<(), InvalidMessage> {
    if length > limit { Err(InvalidMessage::TooLong { field, length, limit }) } else { Ok(()) }
}
