//! What a person on call sees.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use outbox_core::{
    Act, FailureNote, Message, MessageDetail, MessageId, MessageState, MessageSummary, OutboxAdmin, Page,
    PageRequest, Selection, StoreError, StoreErrorKind, Tally, TopicCounts, UnknownState,
};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::error::store_error;
use super::micros::{self, Micros};
use super::statements::Statements;
use super::{PostgresOutbox, acts, decode, tidy};
use crate::deadline::{ADMIN, within};

/// Reads go through the application's pool: they may take long, and must not hold up a dispatcher. Each is a transaction,
/// as a pooler may need it.
#[async_trait]
impl OutboxAdmin for PostgresOutbox {
    async fn counts(&self) -> Result<Vec<TopicCounts>, StoreError> {
        let look = async {
            let mut tx = self.inner.pool.begin().await.map_err(looking)?;
            counts(&mut tx, &self.inner.sql_of_pool).await.map_err(looking)
        };
        within(ADMIN, "look into the outbox", look).await
    }

    async fn list(&self, request: &PageRequest) -> Result<Page, StoreError> {
        if !(1..=1_000).contains(&request.limit) {
            let text = format!("a page holds 1 to 1,000 messages; {} were asked for", request.limit);
            return Err(StoreError::new(StoreErrorKind::Invalid, text));
        }
        let look = async {
            let mut tx = self.inner.pool.begin().await.map_err(looking)?;
            list(&mut tx, &self.inner.sql_of_pool, request).await.map_err(looking)
        };
        within(ADMIN, "look into the outbox", look).await
    }

    async fn show(&self, id: MessageId) -> Result<Option<MessageDetail>, StoreError> {
        let look = async {
            // One snapshot, since a message may move from one table to another meanwhile.
            let mut tx = self.inner.pool.begin().await.map_err(looking)?;
            let detail = show(&mut tx, &self.inner.sql_of_pool, id).await.map_err(looking)?;
            tx.commit().await.map_err(looking)?;
            Ok(detail)
        };
        within(ADMIN, "look into the outbox", look).await
    }

    async fn redrive(&self, what: &Selection, act: &Act) -> Result<u64, StoreError> {
        acts::redrive(&self.inner, what, act).await
    }

    async fn discard(&self, what: &Selection, act: &Act) -> Result<u64, StoreError> {
        acts::discard(&self.inner, what, act).await
    }

    async fn purge_history(&self, older_than: Duration, limit: u32) -> Result<u64, StoreError> {
        let purge = async {
            let mut helper = self.inner.helper.take(&self.inner.sql).await?;
            let failed = |error| store_error("purge the history", error);
            let mut work = helper.statements().await.map_err(failed)?;
            let purged = tidy::purge(&mut work, &self.inner.sql, older_than, limit).await.map_err(failed)?;
            work.done().await.map_err(failed)?;
            helper.keep();
            Ok(purged)
        };
        within(ADMIN, "purge the history", purge).await
    }
}

/// Where messages in `state` lie in the overview, if in one table.
pub(super) fn lies(state: MessageState) -> Option<&'static str> {
    match state {
        MessageState::Waiting => Some("fresh"),
        MessageState::Retrying | MessageState::Behind | MessageState::Dead | MessageState::Parked => {
            Some("set aside")
        }
        MessageState::Delivered | MessageState::Discarded => Some("ended"),
        _ => None,
    }
}

fn state(row: &PgRow, column: usize) -> Result<MessageState, sqlx::Error> {
    row.try_get::<&str, _>(column)?
        .parse()
        .map_err(|unknown: UnknownState| sqlx::Error::Decode(unknown.into()))
}

fn looking(error: sqlx::Error) -> StoreError {
    store_error("look into the outbox", error)
}

async fn counts(conn: &mut PgConnection, sql: &Statements) -> Result<Vec<TopicCounts>, sqlx::Error> {
    let Micros(now) = sql.clock.scalar().fetch_one(&mut *conn).await?;
    let mut topics: Vec<TopicCounts> = Vec::new();
    for row in sql.counts.query().fetch_all(conn).await? {
        let topic: &str = row.try_get(0)?;
        let state = state(&row, 1)?;
        let count: i64 = row.try_get(2)?;
        if topics.last().is_none_or(|last| last.topic != topic) {
            topics.push(TopicCounts { topic: topic.to_owned(), states: Vec::new(), oldest: None });
        }
        let Some(counts) = topics.last_mut() else { continue };
        counts.states.push((state, u64::try_from(count).unwrap_or(0)));
        let on_its_way = matches!(
            state,
            MessageState::Waiting | MessageState::Retrying | MessageState::Behind | MessageState::Parked
        );
        if on_its_way {
            let age = micros::positive(now.saturating_sub(row.try_get::<Micros, _>(3)?.0));
            counts.oldest = Some(counts.oldest.map_or(age, |oldest| oldest.max(age)));
        }
    }
    for counts in &mut topics {
        counts.states.sort_unstable();
    }
    Ok(topics)
}

async fn list(conn: &mut PgConnection, sql: &Statements, request: &PageRequest) -> Result<Page, sqlx::Error> {
    let Micros(now) = sql.clock.scalar().fetch_one(&mut *conn).await?;
    let limit = request.limit as usize;
    let rows = sql
        .list
        .query()
        .bind(request.after.unwrap_or(i64::MIN))
        .bind(request.topic.as_deref())
        .bind(request.state.map(MessageState::as_str))
        .bind(request.state.and_then(lies))
        .bind(i64::from(request.limit) + 1)
        .fetch_all(conn)
        .await?;
    let next = match rows.len() > limit {
        true => rows.get(limit - 1).map(|row| row.try_get(0)).transpose()?,
        false => None,
    };
    let messages = rows.iter().take(limit).map(|row| summary(row, now)).collect::<Result<_, _>>()?;
    Ok(Page { messages, next })
}

async fn show(
    conn: &mut PgConnection,
    sql: &Statements,
    id: MessageId,
) -> Result<Option<MessageDetail>, sqlx::Error> {
    let Micros(now) = sql.clock.scalar().fetch_one(&mut *conn).await?;
    // Where an index leads to it comes first.
    for lies in ["set aside", "ended", "fresh"] {
        let query = sql.find.query().bind(*id.as_uuid()).bind(lies);
        let Some(row) = query.fetch_optional(&mut *conn).await? else { continue };
        let (acts, mut failures) = acts_of(conn, sql, id).await?;
        failures.extend(notes(&row)?);
        failures.drain(..failures.len().saturating_sub(10));
        return Ok(Some(MessageDetail {
            summary: summary(&row, now)?,
            message: load(conn, sql, lies, row.try_get(0)?).await?,
            failures,
            receipt: row.try_get(10)?,
            acts,
        }));
    }
    Ok(None)
}

/// The message itself, if it has not ended and can be decoded.
async fn load(
    conn: &mut PgConnection,
    sql: &Statements,
    lies: &str,
    seq: i64,
) -> Result<Option<Message>, sqlx::Error> {
    let statement = match lies {
        "fresh" => &sql.load_fresh,
        "set aside" => &sql.load_set_aside,
        _ => return Ok(None),
    };
    let row = statement.query().bind(seq).fetch_optional(conn).await?;
    Ok(row.and_then(|row| decode::message(&row).ok()))
}

/// The acts on a message, and its failures from before those that took it out of its row.
async fn acts_of(
    conn: &mut PgConnection,
    sql: &Statements,
    id: MessageId,
) -> Result<(Vec<Act>, Vec<FailureNote>), sqlx::Error> {
    let (mut acts, mut failures) = (Vec::new(), Vec::new());
    for row in sql.acts_of.query().bind(*id.as_uuid()).fetch_all(conn).await? {
        let mut act = Act::new(row.try_get::<&str, _>(1)?, row.try_get::<&str, _>(2)?);
        act.what = row.try_get(0)?;
        act.at = micros::moment(row.try_get::<Micros, _>(3)?.0).unwrap_or(SystemTime::UNIX_EPOCH);
        // A discarded message is shown with the failures in its history row.
        if act.what == "redrive" {
            failures.extend(parse(row.try_get(4)?)?);
        }
        acts.push(act);
    }
    Ok((acts, failures))
}

fn summary(row: &PgRow, now: i64) -> Result<MessageSummary, sqlx::Error> {
    let due_at: Option<Micros> = row.try_get(12)?;
    let count = |column| row.try_get::<i32, _>(column).map(|count| u32::try_from(count).unwrap_or(0));
    let Micros(created_at) = row.try_get(11)?;
    Ok(MessageSummary {
        id: row.try_get::<Uuid, _>(1)?.into(),
        topic: row.try_get(2)?,
        message_type: row.try_get(3)?,
        key: row.try_get(4)?,
        state: state(row, 5)?,
        tally: Tally { attempts: count(6)?, crashes: count(7)?, in_doubt: row.try_get(8)? },
        created_at: micros::moment(created_at).unwrap_or(SystemTime::UNIX_EPOCH),
        due_in: due_at.map(|due_at| micros::positive(due_at.0.saturating_sub(now))),
        last_failure: notes(row)?.pop(),
    })
}

fn notes(row: &PgRow) -> Result<Vec<FailureNote>, sqlx::Error> {
    parse(row.try_get(9)?)
}

fn parse(failures: &str) -> Result<Vec<FailureNote>, sqlx::Error> {
    serde_json::from_str(failures).map_err(|error| sqlx::Error::Decode(error.into()))
}
