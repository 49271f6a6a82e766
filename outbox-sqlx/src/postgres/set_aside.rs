//! Setting messages aside, and what that does to their keys.
//!
//! Of a key, the messages `waiting` or `parked` block it, in the order of their places. Only a few at their front
//! have a time (`due_at`); those behind have none and are not read until they come to the front. So a message with
//! a time never has one without before it, and a hundred thousand behind a blocked key cost nothing while it is.

use outbox_core::{Epoch, FailureNote, Tally};
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres, Row};

use super::micros::Micros;
use super::statements::{Statement, Statements};
use super::without_nul;

/// One message and what becomes of it; `None` keeps what is stored.
#[derive(Debug, Clone)]
pub(super) struct SetAside<'a> {
    seq: i64,
    state: &'static str,
    delay: Option<i64>,
    tally: Option<Tally>,
    failure: Option<&'a FailureNote>,
}

impl<'a> SetAside<'a> {
    /// The message at `seq` gets `state`, due in `delay` microseconds.
    pub(super) fn new(
        seq: i64,
        state: &'static str,
        delay: Option<i64>,
        tally: Option<Tally>,
        failure: Option<&'a FailureNote>,
    ) -> Self {
        Self { seq, state, delay, tally, failure }
    }

    pub(super) fn seq(&self) -> i64 {
        self.seq
    }

    fn blocks(&self) -> bool {
        matches!(self.state, "waiting" | "parked")
    }
}

/// Sets `messages` aside, wherever they lie; those that are gone are left out.
pub(super) async fn set_aside(
    tx: &mut PgConnection,
    sql: &Statements,
    now: i64,
    messages: &[SetAside<'_>],
) -> Result<(), sqlx::Error> {
    let again = bind(&sql.set_aside_again, now, messages)?.execute(&mut *tx).await?;
    if again.rows_affected() < messages.len() as u64 {
        set_aside_fresh(tx, sql, now, messages, None).await?;
    }
    let places: Vec<i64> = messages.iter().map(SetAside::seq).collect();
    if messages.iter().any(SetAside::blocks) {
        sql.wait_behind.query().bind(&places).execute(&mut *tx).await?;
        sql.hold_back.query().bind(&places).execute(&mut *tx).await?;
    }
    if !messages.iter().all(SetAside::blocks) {
        let keys = sql.unblocked_keys.rows_as().bind(&places).fetch_all(&mut *tx).await?;
        promote(tx, sql, now, keys).await?;
    }
    Ok(())
}

/// Sets `messages` aside, which were fresh and in a batch of `epoch` or in none; whether all of them still were fresh. If
/// not, [`set_aside`] is to do the rest. Where every one leads its key, or follows what was set aside before, that is one
/// statement.
pub(super) async fn move_fresh(
    tx: &mut PgConnection,
    sql: &Statements,
    now: i64,
    messages: &[SetAside<'_>],
    epoch: Epoch,
) -> Result<bool, sqlx::Error> {
    let (moved, leading) = set_aside_fresh(tx, sql, now, messages, Some(epoch)).await?;
    // One that leads its key may have another of these before it, which the statement did not see.
    if messages.len() > 1 && !leading.is_empty() {
        sql.wait_behind.query().bind(leading).execute(tx).await?;
    }
    Ok(moved == messages.len())
}

/// How many of `messages` were fresh, and which of these lead their key, without regard to each other.
async fn set_aside_fresh(
    tx: &mut PgConnection,
    sql: &Statements,
    now: i64,
    messages: &[SetAside<'_>],
    epoch: Option<Epoch>,
) -> Result<(usize, Vec<i64>), sqlx::Error> {
    let statement = bind(&sql.set_aside_fresh, now, messages)?.bind(epoch.map(|epoch| epoch.0));
    let row = statement.fetch_one(tx).await?;
    Ok((usize::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0), row.try_get(1)?))
}

/// Lets the next messages of `keys` become due where the head of a key is gone.
pub(super) async fn promote(
    tx: &mut PgConnection,
    sql: &Statements,
    now: i64,
    keys: Vec<(String, Option<String>)>,
) -> Result<(), sqlx::Error> {
    let mut keys: Vec<(String, String)> =
        keys.into_iter().filter_map(|(topic, key)| Some((topic, key?))).collect();
    keys.sort_unstable();
    keys.dedup();
    if !keys.is_empty() {
        let (topics, keys): (Vec<String>, Vec<String>) = keys.into_iter().unzip();
        let promote = sql.promote.query().bind(topics).bind(keys).bind(Micros(now));
        promote.execute(tx).await?;
    }
    Ok(())
}

/// One array per column.
fn bind(
    statement: &Statement,
    now: i64,
    messages: &[SetAside<'_>],
) -> Result<Query<'static, Postgres, PgArguments>, sqlx::Error> {
    let count = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
    let (mut seqs, mut states, mut delays) = (Vec::new(), Vec::new(), Vec::new());
    let (mut attempts, mut crashes, mut in_doubt) = (Vec::new(), Vec::new(), Vec::new());
    let mut failures = Vec::new();
    for message in messages {
        seqs.push(message.seq);
        states.push(message.state);
        delays.push(message.delay);
        attempts.push(message.tally.map(|tally| count(tally.attempts)));
        crashes.push(message.tally.map(|tally| count(tally.crashes)));
        in_doubt.push(message.tally.map(|tally| tally.in_doubt));
        failures.push(message.failure.map(json).transpose()?);
    }
    Ok(statement
        .query()
        .bind(seqs)
        .bind(states)
        .bind(delays)
        .bind(attempts)
        .bind(crashes)
        .bind(in_doubt)
        .bind(failures)
        .bind(Micros(now)))
}

fn json(failure: &FailureNote) -> Result<String, sqlx::Error> {
    let clean = FailureNote {
        attempt: failure.attempt,
        class: without_nul(&failure.class).into_owned(),
        code: failure.code.as_deref().map(|code| without_nul(code).into_owned()),
        text: without_nul(&failure.text).into_owned(),
    };
    serde_json::to_string(&clean).map_err(|error| sqlx::Error::Encode(error.into()))
}
