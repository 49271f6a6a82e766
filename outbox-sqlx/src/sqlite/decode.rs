//! Rows to messages.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use outbox_core::{CorruptMessage, Headers, Message, MessageId};
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Row, Sqlite, Type};

/// The first eleven columns of every statement that reads messages.
const SEQ: usize = 0;
const ID: usize = 1;
const TOPIC: usize = 2;
const MESSAGE_TYPE: usize = 3;
const KEY: usize = 4;
const CONTENT_TYPE: usize = 5;
const HEADERS: usize = 6;
const IDEMPOTENCY_KEY: usize = 7;
const NOT_BEFORE: usize = 8;
const CREATED_AT: usize = 9;
const PAYLOAD: usize = 10;
/// Where the columns begin that only some of them have.
pub(super) const MORE: usize = 11;

/// The place of the row.
pub(super) fn seq(row: &SqliteRow) -> Result<i64, sqlx::Error> {
    row.try_get(SEQ)
}

/// Since when the message may go out, in microseconds: it was created, or its not-before time; `None` if unreadable.
pub(super) fn ready_at(row: &SqliteRow) -> Option<i64> {
    let created: i64 = row.try_get(CREATED_AT).ok()?;
    Some(not_before(row).map_or(created, |moment| moment.max(created)))
}

/// The moment before which the message must not go out, in microseconds.
pub(super) fn not_before(row: &SqliteRow) -> Option<i64> {
    row.try_get(NOT_BEFORE).ok().flatten()
}

/// The message of the row, whoever wrote it.
pub(super) fn message(row: &SqliteRow) -> Result<Message, CorruptMessage> {
    read(row).map_err(|reason| CorruptMessage {
        id: column(row, ID, "id").ok().and_then(|id: &str| id.parse().ok()),
        topic: column(row, TOPIC, "topic").map(str::to_owned).unwrap_or_default(),
        key: column(row, KEY, "message_key").unwrap_or_default(),
        reason,
    })
}

fn read(row: &SqliteRow) -> Result<Message, String> {
    let id: &str = column(row, ID, "id")?;
    let id: MessageId = id.parse().map_err(|_| "id is not a UUID".to_owned())?;
    let topic: &str = column(row, TOPIC, "topic")?;
    let payload: &[u8] = column(row, PAYLOAD, "payload")?;
    let mut message = Message::new(id, topic, Bytes::copy_from_slice(payload));
    message.message_type = column(row, MESSAGE_TYPE, "message_type")?;
    message.key = column(row, KEY, "message_key")?;
    column::<&str>(row, CONTENT_TYPE, "content_type")?.clone_into(&mut message.content_type);
    if let Some(headers) = column::<Option<&str>>(row, HEADERS, "headers")? {
        message.headers = Headers::from_json(headers)
            .map_err(|_| "headers are not a JSON object whose values are strings".to_owned())?;
    }
    message.idempotency_key = column(row, IDEMPOTENCY_KEY, "idempotency_key")?;
    message.created_at = column(row, CREATED_AT, "created_at").and_then(|micros| {
        moment(micros).ok_or_else(|| "created_at is no time in microseconds since 1970".to_owned())
    })?;
    column::<Option<i64>>(row, NOT_BEFORE, "not_before")?;
    Ok(message)
}

/// A value, or a sentence that names the column and tells nothing of its content.
fn column<'r, T: Decode<'r, Sqlite> + Type<Sqlite>>(
    row: &'r SqliteRow,
    index: usize,
    name: &str,
) -> Result<T, String> {
    row.try_get(index).map_err(|_| format!("{name} is not of its type, or not valid UTF-8"))
}

/// Microseconds since 1970, as the tables keep times.
pub(super) fn micros(time: SystemTime) -> i64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => duration(after),
        Err(before) => -duration(before.duration()),
    }
}

/// A duration in microseconds; more than 300 years count as 300 years, so that sums with the clock stay in range.
pub(super) fn duration(duration: Duration) -> i64 {
    const MAX: i64 = 300 * 365 * 24 * 3_600 * 1_000_000;
    i64::try_from(duration.as_micros()).unwrap_or(MAX).min(MAX)
}

/// The moment that is `micros` after (or before) 1970.
pub(super) fn moment(micros: i64) -> Option<SystemTime> {
    let distance = Duration::from_micros(micros.unsigned_abs());
    if micros >= 0 {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    }
}

/// `micros` as a duration; zero when negative.
pub(super) fn positive(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}
