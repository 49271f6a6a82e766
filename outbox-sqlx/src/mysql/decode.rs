//! Rows to messages.

use bytes::Bytes;
use outbox_core::{CorruptMessage, Headers, Message, MessageId, Slot};
use sqlx::mysql::MySqlRow;
use sqlx::{Decode, MySql, Row, Type};
use uuid::Uuid;

use crate::micros::moment;

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

/// How many slots there are; fixed by the schema.
pub(super) const SLOTS: u32 = 16;

/// The place of the row.
pub(super) fn seq(row: &MySqlRow) -> Result<i64, sqlx::Error> {
    row.try_get(SEQ)
}

/// The slot of the row.
pub(super) fn slot(row: &MySqlRow) -> Result<Slot, sqlx::Error> {
    row.try_get(SLOT).map(slot_of)
}

/// The slot with this number.
pub(super) fn slot_of(number: i8) -> Slot {
    Slot(u32::try_from(number).unwrap_or(0))
}

/// The slots as the statements take them, a bit each; 0, which no row has, for one that this schema does not know.
pub(super) fn bits(slots: impl IntoIterator<Item = Slot>) -> i64 {
    slots.into_iter().filter_map(|slot| 1_i64.checked_shl(slot.0)).fold(0, |bits, bit| bits | bit)
}

/// The slots of these bits, in their order.
pub(super) fn slots(bits: i64) -> Vec<Slot> {
    (0..SLOTS).filter(|slot| bits >> slot & 1 == 1).map(Slot).collect()
}

/// Since when the message may go out, in microseconds: it was created, or its not-before time; `None` if unreadable.
pub(super) fn ready_at(row: &MySqlRow) -> Option<i64> {
    let created: i64 = row.try_get(CREATED_AT).ok()?;
    Some(not_before(row).map_or(created, |moment| moment.max(created)))
}

/// The moment before which the message must not go out, in microseconds.
pub(super) fn not_before(row: &MySqlRow) -> Option<i64> {
    row.try_get(NOT_BEFORE).ok().flatten()
}

/// The message of the row, whoever wrote it.
pub(super) fn message(row: &MySqlRow) -> Result<Message, CorruptMessage> {
    read(row).map_err(|reason| CorruptMessage {
        id: column::<Uuid>(row, ID, "id").ok().map(MessageId::from),
        topic: column(row, TOPIC, "topic").unwrap_or_default(),
        key: column(row, KEY, "message_key").unwrap_or_default(),
        reason,
    })
}

fn read(row: &MySqlRow) -> Result<Message, String> {
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
    let created_at: i64 = column(row, CREATED_AT, "created_at")?;
    message.created_at = moment(created_at).ok_or_else(|| "created_at is out of range".to_owned())?;
    Ok(message)
}

/// A value, or a sentence that names the column and tells nothing of its content.
fn column<'r, T: Decode<'r, MySql> + Type<MySql>>(
    row: &'r MySqlRow,
    index: usize,
    name: &str,
) -> Result<T, String> {
    row.try_get(index).map_err(|_| format!("{name} is not of its type"))
}
