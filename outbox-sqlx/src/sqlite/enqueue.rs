//! The producer's side: rows in the caller's own transaction.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::TryStreamExt;
use outbox_core::{
    Enqueue, Enqueued, EnqueuedIn, Message, MessageId, NewMessage, StoreError, StoreErrorKind,
};
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, Row, SqliteConnection};

use super::error::store_error;
use super::statements::{INSERT_ROWS, Statements};
use super::{SqliteOutbox, decode, to_json};

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
        let answers = answers(conn, sql, self.inner.retention.idempotency, messages).await.map_err(failed)?;
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
    retention: Duration,
    messages: &[NewMessage],
) -> Result<Vec<Enqueued>, sqlx::Error> {
    let keyed: Vec<(&str, &str)> =
        messages.iter().filter_map(|m| m.idempotency_key().map(|key| (m.topic(), key))).collect();
    if keyed.is_empty() {
        return Ok(messages.iter().map(|m| Enqueued::New(m.id())).collect());
    }
    let mut known = known(conn, sql, retention, &keyed).await?;
    let mut answers = Vec::with_capacity(messages.len());
    for message in messages {
        let new = Enqueued::New(message.id());
        answers.push(match message.idempotency_key().map(|key| known.entry((message.topic(), key))) {
            None => new,
            Some(Entry::Occupied(earlier)) => Enqueued::Duplicate(*earlier.get()),
            Some(Entry::Vacant(first)) => {
                first.insert(message.id());
                new
            }
        });
    }
    Ok(answers)
}

/// Those of the idempotency keys that are known, and the message of each. Forgets those kept long enough.
async fn known<'m>(
    conn: &mut SqliteConnection,
    sql: &Statements,
    retention: Duration,
    keyed: &[(&'m str, &'m str)],
) -> Result<HashMap<(&'m str, &'m str), MessageId>, sqlx::Error> {
    let query = sqlx::query(sql.known_keys.clone()).bind(to_json(keyed)?).bind(decode::duration(retention));
    let (mut known, mut old) = (HashMap::new(), Vec::new());
    for row in query.fetch_all(&mut *conn).await? {
        let index: i64 = row.try_get(0)?;
        let Some(key) = usize::try_from(index).ok().and_then(|index| keyed.get(index)) else { continue };
        if row.try_get(2)? {
            old.push(*key);
        } else {
            let id: &str = row.try_get(1)?;
            known.insert(*key, id.parse().map_err(|e: uuid::Error| sqlx::Error::Decode(e.into()))?);
        }
    }
    if !old.is_empty() {
        sqlx::query(sql.forget_keys.clone()).bind(to_json(&old)?).execute(conn).await?;
    }
    Ok(known)
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
