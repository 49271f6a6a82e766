//! From a Kafka record back to the [`Message`] that was published.

use outbox::{Bytes, Headers, Message};
use rdkafka::Message as _;
use rdkafka::message::{BorrowedMessage, Headers as _};
use thiserror::Error;

/// Why a record is no message of an outbox.
#[derive(Debug, Error)]
pub enum NoMessage {
    #[error("the record has no header outbox-id with a UUID; no outbox sent it")]
    NoId,
    #[error("the record's key is not text")]
    Key,
}

/// The message: the transport has put its id and type into headers `outbox-…`, and its own headers beside them.
pub fn message(record: &BorrowedMessage<'_>) -> Result<Message, NoMessage> {
    let mut headers = headers(record);
    let id = headers.get("outbox-id").and_then(|id| id.parse().ok()).ok_or(NoMessage::NoId)?;
    let payload = Bytes::copy_from_slice(record.payload().unwrap_or_default());
    let mut message = Message::new(id, record.topic(), payload);
    message.message_type = headers.get("outbox-type").unwrap_or_default().to_owned();
    if let Some(content_type) = headers.get("content-type") {
        message.content_type = content_type.to_owned();
    }
    let key = record.key().map(|key| std::str::from_utf8(key).map(str::to_owned));
    message.key = key.transpose().map_err(|_| NoMessage::Key)?;
    headers = headers.iter().filter(|(name, _)| !name.starts_with("outbox-")).collect();
    message.headers = headers;
    Ok(message)
}

/// The headers that are text.
pub fn headers(record: &BorrowedMessage<'_>) -> Headers {
    let Some(headers) = record.headers() else { return Headers::default() };
    headers.iter().filter_map(|header| Some((header.key, std::str::from_utf8(header.value?).ok()?))).collect()
}

/// Where the record lies: topic, partition and offset.
pub fn place(record: &BorrowedMessage<'_>) -> String {
    format!("{}/{}@{}", record.topic(), record.partition(), record.offset())
}
