//! Setting messages aside, and what that does to their keys.
//!
//! Of a key, the messages `waiting` or `parked` block it, in the order of their places. Only a few at their front
//! have a time (`due_at`); those behind have none and are not read until they come to the front. So a message with
//! a time never has one without before it, and a hundred thousand behind a blocked key cost nothing while it is.

use outbox_core::{FailureNote, Tally};
use serde::Serialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::statements::Statements;
use super::to_json;

/// One message and what becomes of it, in the order that the SQL reads; `None` keeps what is stored.
#[derive(Debug, Serialize)]
pub(super) struct SetAside<'a>(
    i64,
    &'static str,
    Option<i64>,
    Option<u32>,
    Option<u32>,
    Option<bool>,
    Option<&'a FailureNote>,
);

impl<'a> SetAside<'a> {
    /// The message at `seq` gets `state`, due in `delay` microseconds.
    pub(super) fn new(
        seq: i64,
        state: &'static str,
        delay: Option<i64>,
        tally: Option<Tally>,
        failure: Option<&'a FailureNote>,
    ) -> Self {
        let (attempts, crashes) = tally.map(|tally| (tally.attempts, tally.crashes)).unzip();
        Self(seq, state, delay, attempts, crashes, tally.map(|tally| tally.in_doubt), failure)
    }
}

/// Sets `messages` aside, wherever they lie; those that are gone are left out. Answers how many were there.
pub(super) async fn set_aside(
    tx: &mut SqliteConnection,
    sql: &Statements,
    now: i64,
    messages: &[SetAside<'_>],
) -> Result<u64, sqlx::Error> {
    let list = to_json(messages)?;
    let again = sqlx::query(sql.set_aside_again.clone()).bind(&list).bind(now).execute(&mut *tx).await?;
    let mut there = again.rows_affected();
    if there < messages.len() as u64 {
        let fresh = sqlx::query(sql.set_aside_fresh.clone()).bind(&list).bind(now).execute(&mut *tx).await?;
        there += fresh.rows_affected();
        sqlx::query(sql.remove_set_aside.clone()).bind(&list).execute(&mut *tx).await?;
    }
    let blocks = |message: &SetAside<'_>| matches!(message.1, "waiting" | "parked");
    if messages.iter().any(blocks) {
        sqlx::query(sql.wait_behind.clone()).bind(&list).execute(&mut *tx).await?;
        sqlx::query(sql.hold_back.clone()).bind(&list).execute(&mut *tx).await?;
    }
    if !messages.iter().all(blocks) {
        let keys = sqlx::query(sql.unblocked_keys.clone()).bind(&list).fetch_all(&mut *tx).await?;
        promote(tx, sql, now, &keys).await?;
    }
    Ok(there)
}

/// Lets the next messages of `keys` (rows of topic and key) become due where the head of a key is gone.
pub(super) async fn promote(
    tx: &mut SqliteConnection,
    sql: &Statements,
    now: i64,
    keys: &[SqliteRow],
) -> Result<(), sqlx::Error> {
    // A row of another client may hold a topic that is not text: nothing of ours can wait behind it.
    let text = |row: &SqliteRow| Some((row.try_get(0).ok()?, row.try_get::<Option<String>, _>(1).ok()??));
    let mut keys: Vec<(String, String)> = keys.iter().filter_map(text).collect();
    keys.sort_unstable();
    keys.dedup();
    if !keys.is_empty() {
        sqlx::query(sql.promote.clone()).bind(to_json(&keys)?).bind(now).execute(tx).await?;
    }
    Ok(())
}
