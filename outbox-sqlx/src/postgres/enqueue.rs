//! The producer's side: rows in the caller's own transaction.

use std::borrow::Cow;
use std::collections::HashSet;

use async_trait::async_trait;
use futures_util::TryStreamExt;
use outbox_core::{
    Enqueue, Enqueued, EnqueuedIn, Message, MessageId, NewMessage, StoreError, StoreErrorKind,
};
use sqlx::PgConnection;
use uuid::Uuid;

use super::error::store_error;
use super::micros::Micros;
use super::statements::{Statement, Statements};
use super::{PostgresOutbox, decode};

/// One statement takes at most so many messages and, unless it is a single one, so many bytes.
const MOST_MESSAGES: usize = 10_000;
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// One statement and one round trip; when an idempotency key is already known, one more that asks whose it is.
#[async_trait]
impl Enqueue<PgConnection> for PostgresOutbox {
    async fn enqueue(
        &self,
        conn: &mut PgConnection,
        messages: &[NewMessage],
    ) -> Result<Vec<Enqueued>, StoreError> {
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let sql = &self.inner.sql_of_pool;
        let mut answers = Vec::with_capacity(messages.len());
        let mut rest = messages;
        while !rest.is_empty() {
            let (part, after) = rest.split_at(part(rest));
            let stored = store(conn, sql, part).await.map_err(|error| store_error("enqueue", error))?;
            answers.extend(answer(conn, sql, part, stored).await?);
            rest = after;
        }
        self.inner.wake_up.enqueued();
        Ok(answers)
    }
}

#[async_trait]
impl EnqueuedIn<PgConnection> for PostgresOutbox {
    async fn enqueued_in(&self, conn: &mut PgConnection) -> Result<Vec<Message>, StoreError> {
        let mut messages = Vec::new();
        let mut rows = self.inner.sql_of_pool.enqueued_in.query().fetch(conn);
        let failed = |error| store_error("read what the transaction enqueued", error);
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            let corrupt =
                |e| StoreError::new(StoreErrorKind::Other, "a row could not be decoded").with_source(e);
            messages.push(decode::message(&row).map_err(corrupt)?);
        }
        Ok(messages)
    }
}

/// How many of `messages` go into one statement.
fn part(messages: &[NewMessage]) -> usize {
    let mut bytes = 0;
    let fits = |message: &&NewMessage| {
        bytes += message.payload().len() + message.headers().size();
        bytes <= MOST_BYTES
    };
    messages.iter().take(MOST_MESSAGES).take_while(fits).count().max(1)
}

/// Inserts `messages`; the ids of those that were stored, or `None` for all.
async fn store(
    conn: &mut PgConnection,
    sql: &Statements,
    messages: &[NewMessage],
) -> Result<Option<HashSet<Uuid>>, sqlx::Error> {
    if let [message] = messages {
        let inserted = bind_one(&sql.insert_message, message).execute(conn).await?.rows_affected();
        let stored = || (inserted > 0).then_some(*message.id().as_uuid());
        return Ok(message.idempotency_key().map(|_| stored().into_iter().collect()));
    }
    if messages.iter().all(|message| message.idempotency_key().is_none()) {
        bind(&sql.insert_messages, messages).execute(conn).await?;
        return Ok(None);
    }
    let rows = bind(&sql.insert_messages_once, messages).fetch_all(conn).await?;
    rows.iter().map(|row| sqlx::Row::try_get(row, 0)).collect::<Result<_, _>>().map(Some)
}

/// What became of each message.
async fn answer(
    conn: &mut PgConnection,
    sql: &Statements,
    messages: &[NewMessage],
    stored: Option<HashSet<Uuid>>,
) -> Result<Vec<Enqueued>, StoreError> {
    let mut answers: Vec<Enqueued> = messages.iter().map(|message| Enqueued::New(message.id())).collect();
    let Some(mut stored) = stored else { return Ok(answers) };
    // Of two with one id only the first can be the stored one.
    let is_left_out = |(_, message): &(usize, &NewMessage)| !stored.remove(message.id().as_uuid());
    let left_out: Vec<(usize, &NewMessage)> = messages
        .iter()
        .enumerate()
        .filter(|(_, m)| m.idempotency_key().is_some())
        .filter(is_left_out)
        .collect();
    if left_out.is_empty() {
        return Ok(answers);
    }
    let topics: Vec<&str> = left_out.iter().map(|(_, message)| message.topic()).collect();
    let keys: Vec<Option<&str>> = left_out.iter().map(|(_, message)| message.idempotency_key()).collect();
    let known: Vec<Option<Uuid>> = sql
        .known_keys
        .scalar()
        .bind(topics)
        .bind(keys)
        .fetch_all(conn)
        .await
        .map_err(|error| store_error("enqueue", error))?;
    for ((index, _), known) in left_out.iter().zip(known) {
        let id: MessageId = known.ok_or_else(forgotten)?.into();
        answers[*index] = Enqueued::Duplicate(id);
    }
    Ok(answers)
}

type Insert<'m> = sqlx::query::Query<'m, sqlx::Postgres, sqlx::postgres::PgArguments>;

fn bind_one<'m>(statement: &Statement, message: &'m NewMessage) -> Insert<'m> {
    statement
        .query()
        .bind(*message.id().as_uuid())
        .bind(message.topic())
        .bind(message.message_type())
        .bind(message.key())
        .bind(message.content_type())
        .bind(message.headers().to_json())
        .bind(message.idempotency_key())
        .bind(message.not_before().map(Micros::from))
        .bind(message.payload().as_ref())
}

/// One array per column.
fn bind<'m>(statement: &Statement, messages: &'m [NewMessage]) -> Insert<'m> {
    fn each<'m, T>(messages: &'m [NewMessage], column: impl Fn(&'m NewMessage) -> T) -> Vec<T> {
        messages.iter().map(column).collect()
    }
    statement
        .query()
        .bind(each(messages, |message| *message.id().as_uuid()))
        .bind(each(messages, NewMessage::topic))
        .bind(each(messages, NewMessage::message_type))
        .bind(each(messages, NewMessage::key))
        .bind(each(messages, NewMessage::content_type))
        .bind(each(messages, |message| message.headers().to_json()))
        .bind(each(messages, NewMessage::idempotency_key))
        .bind(each(messages, |message| message.not_before().map(Micros::from)))
        .bind(each(messages, |message| message.payload().as_ref()))
}

fn forgotten() -> StoreError {
    StoreError::new(
        StoreErrorKind::Unavailable,
        "an idempotency key was known, and its retention ended at this very moment; roll the transaction back and \
         try again",
    )
}

/// `text` as PostgreSQL can keep it: it has no NUL character.
pub(super) fn without_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}
