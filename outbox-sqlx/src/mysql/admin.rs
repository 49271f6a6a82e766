//! What a person on call sees.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use outbox_core::{
    Act, FailureNote, Message, MessageDetail, MessageId, MessageState, MessageSummary, OutboxAdmin, Page,
    PageRequest, Selection, StoreError, Tally, TopicCounts, UnknownState,
};
use sqlx::mysql::MySqlRow;
use sqlx::{MySqlConnection, Row, SqlStr};
use uuid::Uuid;

use super::error::store_error;
use super::statements::Statements;
use super::{MySqlOutbox, acts, decode, tidy};
use crate::admin::{Counts, MOST_FAILURES, check_page, lies};
use crate::deadline::{ADMIN, within};
use crate::micros;

/// Reads go through the application's pool: they may take long, and must not hold up a dispatcher.
#[async_trait]
impl OutboxAdmin for MySqlOutbox {
    async fn counts(&self) -> Result<Vec<TopicCounts>, StoreError> {
        let look = async {
            let mut conn = self.inner.pool.acquire().await.map_err(looking)?;
            counts(&mut conn, &self.inner.sql).await.map_err(looking)
        };
        within(ADMIN, "look into the outbox", look).await
    }

    async fn list(&self, request: &PageRequest) -> Result<Page, StoreError> {
        let look = async {
            check_page(request)?;
            let mut conn = self.inner.pool.acquire().await.map_err(looking)?;
            list(&mut conn, &self.inner.sql, request).await.map_err(looking)
        };
        within(ADMIN, "look into the outbox", look).await
    }

    async fn show(&self, id: MessageId) -> Result<Option<MessageDetail>, StoreError> {
        let look = async {
            // One snapshot, since a message may move from one table to another meanwhile.
            let mut conn = self.inner.pool.acquire().await.map_err(looking)?;
            let isolation = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ";
            sqlx::raw_sql(isolation).execute(&mut *conn).await.map_err(looking)?;
            let mut tx = sqlx::Connection::begin(&mut *conn).await.map_err(looking)?;
            let detail = show(&mut tx, &self.inner.sql, id).await.map_err(looking)?;
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
            let purged = tidy::purge(&mut helper.connection, &self.inner.sql, older_than, limit)
                .await
                .map_err(|error| store_error("purge the history", error))?;
            helper.keep();
            Ok(purged)
        };
        within(ADMIN, "purge the history", purge).await
    }
}

fn state(row: &MySqlRow, column: usize) -> Result<MessageState, sqlx::Error> {
    row.try_get::<&str, _>(column)?
        .parse()
        .map_err(|unknown: UnknownState| sqlx::Error::Decode(unknown.into()))
}

fn looking(error: sqlx::Error) -> StoreError {
    store_error("look into the outbox", error)
}

async fn counts(conn: &mut MySqlConnection, sql: &Statements) -> Result<Vec<TopicCounts>, sqlx::Error> {
    let now: i64 = sqlx::query_scalar(sql.clock.clone()).fetch_one(&mut *conn).await?;
    let mut counts = Counts::default();
    for row in sqlx::query(sql.counts.clone()).fetch_all(conn).await? {
        let oldest: i64 = row.try_get(3)?;
        counts.add(row.try_get(0)?, state(&row, 1)?, row.try_get(2)?, now.saturating_sub(oldest));
    }
    Ok(counts.done())
}

async fn list(
    conn: &mut MySqlConnection,
    sql: &Statements,
    request: &PageRequest,
) -> Result<Page, sqlx::Error> {
    let now: i64 = sqlx::query_scalar(sql.clock.clone()).fetch_one(&mut *conn).await?;
    let limit = request.limit as usize;
    let most = i64::from(request.limit) + 1;
    let lies = request.state.and_then(lies);
    let mut query = sqlx::query(sql.list.clone());
    for table in ["fresh", "set aside", "ended"] {
        query = query
            .bind(lies.is_none_or(|lies| lies == table))
            .bind(request.after.unwrap_or(i64::MIN))
            .bind(request.topic.as_deref())
            .bind(request.state.map(MessageState::as_str))
            .bind(most);
    }
    let rows = query.bind(most).fetch_all(conn).await?;
    let next = match rows.len() > limit {
        true => rows.get(limit - 1).map(|row| row.try_get(0)).transpose()?,
        false => None,
    };
    let messages = rows.iter().take(limit).map(|row| summary(row, now)).collect::<Result<_, _>>()?;
    Ok(Page { messages, next })
}

async fn show(
    conn: &mut MySqlConnection,
    sql: &Statements,
    id: MessageId,
) -> Result<Option<MessageDetail>, sqlx::Error> {
    let now: i64 = sqlx::query_scalar(sql.clock.clone()).fetch_one(&mut *conn).await?;
    // Where an index leads to it comes first.
    let tables = [
        (&sql.find_set_aside, Some(&sql.load_set_aside)),
        (&sql.find_ended, None),
        (&sql.find_fresh, Some(&sql.load_fresh)),
    ];
    for (find, load_from) in tables {
        let query = sqlx::query(find.clone()).bind(*id.as_uuid());
        let Some(row) = query.fetch_optional(&mut *conn).await? else { continue };
        let (acts, mut failures) = acts_of(conn, sql, id).await?;
        failures.extend(notes(&row)?);
        failures.drain(..failures.len().saturating_sub(MOST_FAILURES));
        return Ok(Some(MessageDetail {
            summary: summary(&row, now)?,
            message: load(conn, load_from, row.try_get(0)?).await?,
            failures,
            receipt: row.try_get(10)?,
            acts,
        }));
    }
    Ok(None)
}

/// The message itself, if it has not ended and can be decoded.
async fn load(
    conn: &mut MySqlConnection,
    statement: Option<&SqlStr>,
    seq: i64,
) -> Result<Option<Message>, sqlx::Error> {
    let Some(statement) = statement else { return Ok(None) };
    let row = sqlx::query(statement.clone()).bind(seq).fetch_optional(conn).await?;
    Ok(row.and_then(|row| decode::message(&row).ok()))
}

/// The acts on a message, and its failures from before those that took it out of its row.
async fn acts_of(
    conn: &mut MySqlConnection,
    sql: &Statements,
    id: MessageId,
) -> Result<(Vec<Act>, Vec<FailureNote>), sqlx::Error> {
    let (mut acts, mut failures) = (Vec::new(), Vec::new());
    for row in sqlx::query(sql.acts_of.clone()).bind(*id.as_uuid()).fetch_all(conn).await? {
        let mut act = Act::new(row.try_get::<&str, _>(1)?, row.try_get::<&str, _>(2)?);
        act.what = row.try_get(0)?;
        act.at = micros::moment(row.try_get(3)?).unwrap_or(SystemTime::UNIX_EPOCH);
        // A discarded message is shown with the failures in its history row.
        if act.what == "redrive" {
            failures.extend(parse(row.try_get(4)?)?);
        }
        acts.push(act);
    }
    Ok((acts, failures))
}

fn summary(row: &MySqlRow, now: i64) -> Result<MessageSummary, sqlx::Error> {
    let due_at: Option<i64> = row.try_get(12)?;
    let count = |column| row.try_get::<i64, _>(column).map(|count| u32::try_from(count).unwrap_or(0));
    Ok(MessageSummary {
        id: row.try_get::<Uuid, _>(1)?.into(),
        topic: row.try_get(2)?,
        message_type: row.try_get(3)?,
        key: row.try_get(4)?,
        state: state(row, 5)?,
        tally: Tally { attempts: count(6)?, crashes: count(7)?, in_doubt: row.try_get(8)? },
        created_at: micros::moment(row.try_get(11)?).unwrap_or(SystemTime::UNIX_EPOCH),
        due_in: due_at.map(|due_at| micros::positive(due_at.saturating_sub(now))),
        last_failure: notes(row)?.pop(),
    })
}

fn notes(row: &MySqlRow) -> Result<Vec<FailureNote>, sqlx::Error> {
    parse(row.try_get(9)?)
}

fn parse(failures: &str) -> Result<Vec<FailureNote>, sqlx::Error> {
    serde_json::from_str(failures).map_err(|error| sqlx::Error::Decode(error.into()))
}
