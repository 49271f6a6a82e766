//! Setting messages aside, and what that does to their keys.
//!
//! Of a key, the messages `waiting` or `parked` block it, in the order of their places. Only a few at their front
//! have a time (`due_at`); those behind have none and are not read until they come to the front. So a message with
//! a time never has one without before it, and a hundred thousand behind a blocked key cost nothing while it is.
//!
//! What has to be changed is looked up first, without locks, and then changed by primary key. Nobody else moves these
//! messages meanwhile: their slots are the session's, and acts of people wait for its row.

use std::collections::HashMap;

use outbox_core::FailureNote;
use serde::Serialize;
use sqlx::MySqlConnection;

use super::script::json_list;
use super::statements::Statements;
use super::to_json;
use crate::admin::MOST_FAILURES;
use crate::set_aside::SetAside;

/// One verdict in the order that the SQL reads.
#[derive(Debug, Serialize)]
struct Row(i64, &'static str, Option<i64>, Option<u32>, Option<u32>, Option<u8>, Option<String>);

/// Sets `messages` aside, wherever they lie; those that are gone are left out.
pub(super) async fn set_aside(
    tx: &mut MySqlConnection,
    sql: &Statements,
    now: i64,
    messages: &[SetAside<'_>],
) -> Result<(), sqlx::Error> {
    let mut messages: Vec<&SetAside<'_>> = messages.iter().collect();
    messages.sort_unstable_by_key(|message| message.seq);
    let places = json_list(messages.iter().map(|message| message.seq));
    let found: Vec<(i64, Option<String>, Option<i64>)> =
        sqlx::query_as(sql.whereabouts.clone()).bind(&places).fetch_all(&mut *tx).await?;
    let mut found: HashMap<i64, (Option<String>, Option<i64>)> =
        found.into_iter().map(|(seq, failures, head)| (seq, (failures, head))).collect();
    let (mut again, mut fresh) = (Vec::new(), Vec::new());
    for message in &messages {
        match found.remove(&message.seq) {
            None => {}
            Some((Some(failures), _)) => again.push(row(message, now, Some(&failures))?),
            Some((None, head)) => {
                let mut row = row(message, now, None)?;
                // Behind an earlier message of its key it has no time of its own.
                if message.state == "waiting" && head.is_some_and(|head| head < message.seq) {
                    row.2 = None;
                }
                fresh.push(row);
            }
        }
    }
    if !again.is_empty() {
        let again = to_json(&again)?;
        sqlx::query(sql.set_aside_again.clone()).bind(again).bind(now).execute(&mut *tx).await?;
    }
    if !fresh.is_empty() {
        let list = json_list(fresh.iter().map(|row| row.0));
        let fresh = to_json(&fresh)?;
        sqlx::query(sql.set_aside_fresh.clone()).bind(now).bind(fresh).execute(&mut *tx).await?;
        sqlx::query(sql.delete_delivered.clone()).bind(list).execute(&mut *tx).await?;
    }
    if messages.iter().any(|message| message.blocks()) {
        // One after the other: once those behind have no time, the front that the second walks over is short.
        for statement in [&sql.wait_behind, &sql.hold_back] {
            let mut places: Vec<i64> =
                sqlx::query_scalar(statement.clone()).bind(&places).fetch_all(&mut *tx).await?;
            places.sort_unstable();
            become_due(tx, sql, places, None).await?;
        }
    }
    if !messages.iter().all(|message| message.blocks()) {
        let keys = sqlx::query_as(sql.unblocked_keys.clone()).bind(&places).fetch_all(&mut *tx).await?;
        promote(tx, sql, now, keys).await?;
    }
    Ok(())
}

/// Lets the next messages of `keys` become due where the head of a key is gone: the first hundred, up to one that is
/// parked.
pub(super) async fn promote(
    tx: &mut MySqlConnection,
    sql: &Statements,
    now: i64,
    keys: Vec<(String, Option<String>)>,
) -> Result<(), sqlx::Error> {
    let mut keys: Vec<(String, String)> =
        keys.into_iter().filter_map(|(topic, key)| Some((topic, key?))).collect();
    keys.sort_unstable();
    keys.dedup();
    if keys.is_empty() {
        return Ok(());
    }
    let keys: Vec<(String, String)> =
        sqlx::query_as(sql.without_front.clone()).bind(to_json(&keys)?).fetch_all(&mut *tx).await?;
    let mut places = Vec::new();
    for (topic, key) in keys {
        let front: Vec<(i64, String)> =
            sqlx::query_as(sql.front.clone()).bind(key).bind(topic).fetch_all(&mut *tx).await?;
        places.extend(front.into_iter().take_while(|(_, state)| state != "parked").map(|(seq, _)| seq));
    }
    places.sort_unstable();
    become_due(tx, sql, places, Some(now)).await
}

async fn become_due(
    tx: &mut MySqlConnection,
    sql: &Statements,
    places: Vec<i64>,
    at: Option<i64>,
) -> Result<(), sqlx::Error> {
    if !places.is_empty() {
        sqlx::query(sql.become_due.clone()).bind(json_list(places)).bind(at).execute(tx).await?;
    }
    Ok(())
}

/// What is written of `message`, which so far has the `failures`.
fn row(message: &SetAside<'_>, now: i64, failures: Option<&str>) -> Result<Row, sqlx::Error> {
    let (attempts, crashes) = message.tally.map(|tally| (tally.attempts, tally.crashes)).unzip();
    let count = |count: Option<u32>| count.map(|count| count.min(i32::MAX.unsigned_abs()));
    let failures = match message.failure {
        None => None,
        Some(failure) => Some(noted(failures, failure)?),
    };
    Ok(Row(
        message.seq,
        message.state,
        message.delay.map(|delay| now.saturating_add(delay)),
        count(attempts),
        count(crashes),
        message.tally.map(|tally| u8::from(tally.in_doubt)),
        failures,
    ))
}

/// The failures with one more; the last ten are kept. A repeated verdict does not write its failure twice.
fn noted(failures: Option<&str>, failure: &FailureNote) -> Result<String, sqlx::Error> {
    let decode = |error: serde_json::Error| sqlx::Error::Decode(error.into());
    let mut notes: Vec<FailureNote> =
        failures.map(serde_json::from_str).transpose().map_err(decode)?.unwrap_or_default();
    if notes.last() != Some(failure) {
        notes.push(failure.clone());
    }
    notes.drain(..notes.len().saturating_sub(MOST_FAILURES));
    to_json(&notes)
}
