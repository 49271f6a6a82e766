//! Removing what retention no longer keeps, in small ordered steps.

use std::time::Duration;

use sqlx::{SqlStr, SqliteConnection};

use super::decode;
use super::statements::Statements;
use crate::retention::Retention;

/// Removes at most `limit` rows; answers how many. Each kind is a transaction of its own.
pub(super) async fn tidy(
    connection: &mut SqliteConnection,
    sql: &Statements,
    retention: &Retention,
    limit: u32,
) -> Result<u64, sqlx::Error> {
    let mut left = u64::from(limit);
    for (statement, keep) in [
        (&sql.tidy_history, retention.history),
        (&sql.tidy_idempotency, retention.idempotency),
        (&sql.tidy_inbox, retention.inbox),
        (&sql.tidy_acts, retention.history),
    ] {
        left -= remove(connection, sql, statement, keep, left).await?.min(left);
    }
    Ok(u64::from(limit) - left)
}

/// Removes at most `limit` rows of history; answers how many.
pub(super) async fn purge(
    connection: &mut SqliteConnection,
    sql: &Statements,
    older_than: Duration,
    limit: u32,
) -> Result<u64, sqlx::Error> {
    remove(connection, sql, &sql.tidy_history, older_than, u64::from(limit)).await
}

async fn remove(
    connection: &mut SqliteConnection,
    sql: &Statements,
    statement: &SqlStr,
    keep: Duration,
    limit: u64,
) -> Result<u64, sqlx::Error> {
    if limit == 0 {
        return Ok(0);
    }
    let now: i64 = sqlx::query_scalar(sql.clock.clone()).fetch_one(&mut *connection).await?;
    let before = now.saturating_sub(decode::duration(keep));
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    Ok(sqlx::query(statement.clone()).bind(before).bind(limit).execute(connection).await?.rows_affected())
}
