//! The producer's side: rows in the caller's own transaction.

use std::collections::HashSet;
use std::collections::hash_map::{Entry, HashMap};

use async_trait::async_trait;
use futures_util::TryStreamExt;
use outbox_core::{
    Enqueue, Enqueued, EnqueuedIn, Message, MessageId, NewMessage, StoreError, StoreErrorKind,
};
use sqlx::mysql::MySqlRow;
use sqlx::{MySqlConnection, Row, SqlStr};
use uuid::Uuid;

use super::error::{is_duplicate, store_error};
use super::look::look_twice;
use super::script::{Script, Value};
use super::statements::Statements;
use super::{MySqlOutbox, decode, to_json};
use crate::micros;

/// One statement takes at most so many messages and, unless it is a single one, so many bytes. They travel as
/// hexadecimal text, twice as long, and a server takes 16 MiB at a time unless told otherwise (`max_allowed_packet`).
const MOST_MESSAGES: usize = 5_000;
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// What the columns take, in characters.
const MOST_CHARACTERS: usize = 255;
/// How often idempotency keys are looked up that others may be writing at this moment.
const MOST_LOOKS: usize = 5;

/// One statement and one round trip, for up to 5,000 messages and 4 MiB; of several messages with idempotency keys two
/// more come first, which ask which keys are known. When one is known all the same, or that of a single message, the
/// statement fails as a whole, and is done again for the others after the question which are known; two more follow
/// where one was registered since the caller's snapshot.
#[async_trait]
impl Enqueue<MySqlConnection> for MySqlOutbox {
    async fn enqueue(
        &self,
        conn: &mut MySqlConnection,
        messages: &[NewMessage],
    ) -> Result<Vec<Enqueued>, StoreError> {
        for message in messages {
            check(message)?;
        }
        let sql = &self.inner.sql;
        let mut answers = Vec::with_capacity(messages.len());
        let mut rest = messages;
        while !rest.is_empty() {
            let (part, after) = rest.split_at(part(rest));
            answers.extend(store(conn, sql, part).await?);
            rest = after;
        }
        if !messages.is_empty() {
            self.inner.wake_up.enqueued();
        }
        Ok(answers)
    }
}

/// Reads through the fresh messages, those of the transaction and all others.
#[async_trait]
impl EnqueuedIn<MySqlConnection> for MySqlOutbox {
    async fn enqueued_in(&self, conn: &mut MySqlConnection) -> Result<Vec<Message>, StoreError> {
        let sql = &self.inner.sql;
        let failed = |error| store_error("read what the transaction enqueued", error);
        // Of what the transaction sees, its own is what lies there and that nobody else sees. The order matters: what was
        // delivered after the first look does not lie there any more at the last one.
        let rows = sqlx::raw_sql(sql.all_places.clone()).fetch_all(&mut *conn).await.map_err(failed)?;
        let seen: Vec<i64> =
            rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(failed)?;
        let mut helper = self.inner.helper.take(sql).await?;
        let everywhere = [(i64::MIN, i64::MAX)];
        let (committed, all) =
            look_twice(&mut helper.connection, sql, &everywhere, i64::MAX).await.map_err(failed)?;
        helper.keep();
        let (committed, all): (HashSet<i64>, HashSet<i64>) =
            (committed.into_iter().collect(), all.into_iter().collect());
        let mut own: Vec<i64> =
            seen.into_iter().filter(|seq| all.contains(seq) && !committed.contains(seq)).collect();
        own.sort_unstable();
        let mut messages = Vec::with_capacity(own.len());
        let mut rows = Script::new(&sql.enqueued_in).list("places", own).run().fetch(conn);
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            let corrupt =
                |e| StoreError::new(StoreErrorKind::Other, "a row could not be decoded").with_source(e);
            messages.push(decode::message(&row).map_err(corrupt)?);
        }
        Ok(messages)
    }
}

/// Refuses what a column would not take: a server that is not strict would cut it.
fn check(message: &NewMessage) -> Result<(), StoreError> {
    check_length("the topic", message.topic())?;
    check_length("the type", message.message_type())?;
    check_length("the key", message.key().unwrap_or_default())?;
    check_length("the content type", message.content_type())?;
    check_length("the idempotency key", message.idempotency_key().unwrap_or_default())
}

/// Refuses a `text` that is longer than its column.
pub(super) fn check_length(what: &str, text: &str) -> Result<(), StoreError> {
    // No text has more characters than bytes.
    if text.len() <= MOST_CHARACTERS || text.chars().count() <= MOST_CHARACTERS {
        return Ok(());
    }
    Err(StoreError::new(
        StoreErrorKind::Invalid,
        format!(
            "{what} has more than {MOST_CHARACTERS} characters, which its column does not take; shorten it"
        ),
    ))
}

/// How many of `messages` go into one statement.
fn part(messages: &[NewMessage]) -> usize {
    let mut bytes = 0;
    let fits = |message: &&NewMessage| {
        let texts =
            [Some(message.topic()), Some(message.message_type()), message.key(), message.idempotency_key()];
        let texts = texts.into_iter().flatten().map(str::len).sum::<usize>() + message.content_type().len();
        bytes += message.payload().len() + message.headers().size() + texts;
        bytes <= MOST_BYTES
    };
    messages.iter().take(MOST_MESSAGES).take_while(fits).count().max(1)
}

/// Inserts `messages`, those that are new; what became of each.
async fn store(
    conn: &mut MySqlConnection,
    sql: &Statements,
    messages: &[NewMessage],
) -> Result<Vec<Enqueued>, StoreError> {
    let failed = |error| store_error("enqueue", error);
    let (mut known, mut looks) = (HashMap::new(), 0);
    // At REPEATABLE READ, MySQL keeps the end of the table locked for the rest of the transaction once rows were inserted
    // there and undone, be it by the failure of their own statement: all other producers would wait.
    if messages.len() > 1 && messages.iter().any(|message| message.idempotency_key().is_some()) {
        known = known_keys(conn, &sql.known_keys, sql, messages).await.map_err(failed)?;
    }
    loop {
        let answers = answers(messages, &known);
        let new: Vec<&NewMessage> = messages
            .iter()
            .zip(&answers)
            .filter(|(_, answer)| !answer.is_duplicate())
            .map(|(m, _)| m)
            .collect();
        match insert(conn, sql, &new).await {
            Ok(()) => return Ok(answers),
            // The statement alone was undone; the transaction lives on.
            Err(error) if is_duplicate(&error) && looks < MOST_LOOKS => {
                looks += 1;
                let before = known.len();
                known = known_keys(conn, &sql.known_keys, sql, messages).await.map_err(failed)?;
                if known.len() == before {
                    // Somebody committed it since the caller's snapshot, or is about to.
                    known = known_keys(conn, &sql.known_keys_now, sql, messages).await.map_err(failed)?;
                }
                if known.len() == before {
                    // Somebody's own trigger or index, or a key that was forgotten at this moment.
                    return Err(failed(error));
                }
            }
            Err(error) => return Err(failed(error)),
        }
    }
}

/// What becomes of each message when the idempotency keys `known` are: of two with the same key the first counts.
fn answers<'m>(messages: &'m [NewMessage], known: &HashMap<(&'m str, &'m str), MessageId>) -> Vec<Enqueued> {
    let mut known = known.clone();
    let answer = |message: &'m NewMessage| {
        let new = Enqueued::New(message.id());
        match message.idempotency_key().map(|key| known.entry((message.topic(), key))) {
            None => new,
            Some(Entry::Occupied(earlier)) => Enqueued::Duplicate(*earlier.get()),
            Some(Entry::Vacant(first)) => {
                first.insert(message.id());
                new
            }
        }
    };
    messages.iter().map(answer).collect()
}

/// Those of the idempotency keys that are known by `look`, and the message of each.
async fn known_keys<'m>(
    conn: &mut MySqlConnection,
    look: &SqlStr,
    sql: &Statements,
    messages: &'m [NewMessage],
) -> Result<HashMap<(&'m str, &'m str), MessageId>, sqlx::Error> {
    let mut keyed: Vec<(&str, &str)> =
        messages.iter().filter_map(|m| m.idempotency_key().map(|key| (m.topic(), key))).collect();
    // In one order, since the rows may be locked.
    keyed.sort_unstable();
    keyed.dedup();
    let keys = to_json(&keyed)?;
    Script::new(&sql.set_keys).value("keys", Value::Text(Some(&keys))).execute(conn).await?;
    let rows = sqlx::raw_sql(look.clone()).fetch_all(conn).await?;
    let of_key = |row: &MySqlRow| -> Result<_, sqlx::Error> {
        let n: i64 = row.try_get(0)?;
        let id: Uuid = row.try_get(1)?;
        let key = usize::try_from(n - 1).ok().and_then(|index| keyed.get(index));
        Ok(key.map(|key| (*key, id.into())))
    };
    rows.iter().filter_map(|row| of_key(row).transpose()).collect()
}

async fn insert(
    conn: &mut MySqlConnection,
    sql: &Statements,
    messages: &[&NewMessage],
) -> Result<(), sqlx::Error> {
    if messages.is_empty() {
        return Ok(());
    }
    let headers: Vec<_> = messages.iter().map(|message| message.headers().to_json()).collect();
    let mut rows = Vec::with_capacity(messages.len());
    for (message, headers) in messages.iter().zip(&headers) {
        rows.push([
            Value::Id(message.id()),
            Value::Text(Some(message.topic())),
            Value::Text(Some(message.message_type())),
            Value::Text(message.key()),
            Value::Text(Some(message.content_type())),
            Value::Text(headers.as_deref()),
            Value::Text(message.idempotency_key()),
            Value::Number(message.not_before().map(micros::of)),
            Value::Bytes(message.payload().as_ref()),
        ]);
    }
    Script::new(&sql.insert_messages).rows("rows", rows).execute(conn).await
}
