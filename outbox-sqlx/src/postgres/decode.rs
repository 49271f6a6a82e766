//! Rows to messages.

use bytes::Bytes;
use outbox_core::{CorruptMessage, Headers, Message, MessageId, Slot};
use sqlx::postgres::PgRow;
use sqlx::{Decode, Postgres, Row};
use uuid::Uuid;

use super::micros::{Micros, moment};

/// The first twelve columns of every statement that reads messages.
const SEQ: usize = 0;
const SLOT: usize = 1;
const ID: usize = 2;
const TOPIC: usize = 3;
const MESSAGE_TYPE: usize = 4;
const KEY: usize = 5;
const CONTENT_TYPE: usize = 6;
const HEADERS: usize = 7;
const IDEMPOTENCY_KEY: usize = 8;
const NOT_BEFORE: usize = 9;
const CREATED_AT: usize = 10;
const PAYLOAD: usize = 11;
/// Where the columns begin that only some of them have.
pub(super) const MORE: usize = 12;

/// The place of the row.
pub(super) fn seq(row: &PgRow) -> Result<i64, sqlx::Error> {
    row.try_get_unchecked(SEQ)
}

/// The slot of the row.
pub(super) fn slot(row: &PgRow) -> Result<Slot, sqlx::Error> {
    row.try_get_unchecked(SLOT).map(slot_of)
}

/// The slot with this number.
pub(super) fn slot_of(number: i16) -> Slot {
    Slot(u32::try_from(number).unwrap_or(0))
}

/// The number of a slot; -1, which no row has, for one that this schema does not know.
pub(super) fn number_of(slot: Slot) -> i16 {
    i16::try_from(slot.0).unwrap_or(-1)
}

/// Since when the message may go out, in microseconds: it was created, or its not-before time; `None` if unreadable.
pub(super) fn ready_at(row: &PgRow) -> Option<i64> {
    let Micros(created) = row.try_get_unchecked(CREATED_AT).ok()?;
    Some(not_before(row).map_or(created, |moment| moment.max(created)))
}

/// The moment before which the message must not go out, in microseconds.
pub(super) fn not_before(row: &PgRow) -> Option<i64> {
    row.try_get_unchecked::<Option<Micros>, _>(NOT_BEFORE).ok().flatten().map(|Micros(moment)| moment)
}

/// The message of the row, whoever wrote it.
pub(super) fn message(row: &PgRow) -> Result<Message, CorruptMessage> {
    read(row).map_err(|reason| CorruptMessage {
        id: column::<Uuid>(row, ID, "id").ok().map(MessageId::from),
        topic: column(row, TOPIC, "topic").unwrap_or_default(),
        key: column(row, KEY, "message_key").unwrap_or_default(),
        reason,
    })
}

fn read(row: &PgRow) -> Result<Message, String> {
    let id: Uuid = column(row, ID, "id")?;
    let topic: &str = column(row, TOPIC, "topic")?;
    let payload: &[u8] = column(row, PAYLOAD, "payload")?;
    let mut message = Message::new(id.into(), topic, Bytes::copy_from_slice(payload));
    message.message_type = column(row, MESSAGE_TYPE, "message_type")?;
    message.key = column(row, KEY, "message_key")?;
    column::<&str>(row, CONTENT_TYPE, "content_type")?.clone_into(&mut message.content_type);
    if let Some(headers) = column::<Option<&str>>(row, HEADERS, "headers")? {
        message.headers = Headers::from_json(headers)
            .map_err(|_| "headers are not a JSON object whose values are strings".to_owned())?;
    }
    message.idempotency_key = column(row, IDEMPOTENCY_KEY, "idempotency_key")?;
    let Micros(created_at) = column(row, CREATED_AT, "created_at")?;
    message.created_at = moment(created_at).ok_or_else(|| "created_at is out of range".to_owned())?;
    Ok(message)
}

/// A value, or a sentence that names the column and tells nothing of its content. Its type is that of the schema, whose
/// version was checked: to compare the types of each value again would be an eighth of the time that a claim takes.
fn column<'r, T: Decode<'r, Postgres>>(row: &'r PgRow, index: usize, name: &str) -> Result<T, String> {
    row.try_get_unchecked(index).map_err(|_| format!("{name} is not of its type"))
}
