//! The producer's side: rows in the caller's own transaction.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use async_trait::async_trait;
use futures_util::TryStreamExt;
use outbox_core::{
    Enqueue, Enqueued, EnqueuedIn, Message, MessageId, NewMessage, StoreError, StoreErrorKind,
};
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, Row, SqliteConnection};

use super::SqliteOutbox;
use super::decode;
use super::error::store_error;
use super::statements::{INSERT_ROWS, Statements};

#[async_trait]
impl Enqueue<SqliteConnection> for SqliteOutbox {
    async fn enqueue(
        &self,
        conn: &mut SqliteConnection,
        messages: &[NewMessage],
    ) -> Result<Vec<Enqueued>, StoreError> {
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let sql = &self.inner.sql;
        let failed = |error| store_error("enqueue", error);
        let answers = answers(conn, sql, messages).await.map_err(failed)?;
        let is_new = |(message, answer): (_, &Enqueued)| (!answer.is_duplicate()).then_some(message);
        let mut new: Vec<&NewMessage> = messages.iter().zip(&answers).filter_map(is_new).collect();
        let mut rest = new.as_mut_slice();
        for (rows, statement) in INSERT_ROWS.iter().zip(&sql.insert_messages) {
            while rest.len() >= *rows {
                let (slice, after) = rest.split_at_mut(*rows);
                let arguments = arguments(slice).map_err(|e| failed(sqlx::Error::Encode(e)))?;
                let query = sqlx::query_with(statement.clone(), arguments);
                let stored = query.execute(&mut *conn).await.map_err(failed)?.rows_affected();
                if stored != *rows as u64 {
                    return Err(lost_race());
                }
                rest = after;
            }
        }
        self.inner.wake_up.enqueued();
        Ok(answers)
    }
}

#[async_trait]
impl EnqueuedIn<SqliteConnection> for SqliteOutbox {
    /// SQLite has one writer at a time, so what lies above the highest committed place is the transaction's own.
    async fn enqueued_in(&self, conn: &mut SqliteConnection) -> Result<Vec<Message>, StoreError> {
        let sql = &self.inner.sql;
        let failed = |error| store_error("read what the transaction enqueued", error);
        let mut reader = self.inner.reader.take(sql).await?;
        let committed: i64 = sqlx::query_scalar(sql.committed_place.clone())
            .fetch_one(&mut reader.connection)
            .await
            .map_err(failed)?;
        reader.keep();
        let mut messages = Vec::new();
        let mut rows = sqlx::query(sql.enqueued_in.clone()).bind(committed).fetch(conn);
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            let corrupt =
                |e| StoreError::new(StoreErrorKind::Other, "a row could not be decoded").with_source(e);
            messages.push(decode::message(&row).map_err(corrupt)?);
        }
        Ok(messages)
    }
}

/// What becomes of each message, before anything is written.
async fn answers(
    conn: &mut SqliteConnection,
    sql: &Statements,
    messages: &[NewMessage],
) -> Result<Vec<Enqueued>, sqlx::Error> {
    let keyed: Vec<(&str, &str)> =
        messages.iter().filter_map(|m| m.idempotency_key().map(|key| (m.topic(), key))).collect();
    if keyed.is_empty() {
        return Ok(messages.iter().map(|m| Enqueued::New(m.id())).collect());
    }
    let list = serde_json::to_string(&keyed).map_err(|e| sqlx::Error::Encode(e.into()))?;
    let rows = sqlx::query(sql.known_keys.clone()).bind(list).fetch_all(conn).await?;
    let mut known: HashMap<(&str, &str), MessageId> = HashMap::new();
    for row in rows {
        let index: i64 = row.try_get(0)?;
        let id: &str = row.try_get(1)?;
        let id: MessageId = id.parse().map_err(|e: uuid::Error| sqlx::Error::Decode(e.into()))?;
        if let Some(key) = usize::try_from(index).ok().and_then(|index| keyed.get(index)) {
            known.insert(*key, id);
        }
    }
    let answer = |message: &NewMessage| {
        let Some(key) = message.idempotency_key() else {
            return Enqueued::New(message.id());
        };
        match known.get(&(message.topic(), key)) {
            Some(earlier) => Enqueued::Duplicate(*earlier),
            None => Enqueued::New(message.id()),
        }
    };
    // Within the slice, the first message of an idempotency key is stored, and the others are its duplicates.
    let mut answers = Vec::with_capacity(messages.len());
    let mut first_of: HashMap<(&str, &str), MessageId> = HashMap::new();
    for message in messages {
        let mut found = answer(message);
        if let (Some(key), false) = (message.idempotency_key(), found.is_duplicate()) {
            match first_of.entry((message.topic(), key)) {
                Entry::Occupied(first) => found = Enqueued::Duplicate(*first.get()),
                Entry::Vacant(slot) => {
                    slot.insert(message.id());
                }
            }
        }
        answers.push(found);
    }
    Ok(answers)
}

/// The values of an insert statement, row by row.
fn arguments(messages: &[&NewMessage]) -> Result<SqliteArguments, sqlx::error::BoxDynError> {
    let mut arguments = SqliteArguments::default();
    arguments.reserve(messages.len() * 9, 0);
    for message in messages {
        arguments.add(message.id().to_string())?;
        arguments.add(message.topic())?;
        arguments.add(message.message_type())?;
        arguments.add(message.key())?;
        arguments.add(message.content_type())?;
        arguments.add(message.headers().to_json())?;
        arguments.add(message.idempotency_key())?;
        arguments.add(message.not_before().map(decode::micros))?;
        arguments.add(message.payload().as_ref())?;
    }
    Ok(arguments)
}

fn lost_race() -> StoreError {
    StoreError::new(
        StoreErrorKind::Unavailable,
        "another connection enqueued the same idempotency key at the same moment; enqueue in a transaction, roll \
         this one back and try again",
    )
}
