//! Removing what retention no longer keeps, in small ordered steps.

use std::time::Duration;

use sqlx::{MySqlConnection, SqlStr};

use super::statements::Statements;
use crate::micros;
use crate::retention::Retention;

/// Removes at most `limit` rows; answers how many. Each kind is a transaction of its own.
pub(super) async fn tidy(
    connection: &mut MySqlConnection,
    sql: &Statements,
    retention: &Retention,
    limit: u32,
) -> Result<u64, sqlx::Error> {
    let mut left = u64::from(limit);
    for (old, remove, keep) in [
        (&sql.old_history, &sql.tidy_history, retention.history),
        (&sql.old_idempotency, &sql.tidy_idempotency, retention.idempotency),
        (&sql.old_inbox, &sql.tidy_inbox, retention.inbox),
        (&sql.old_acts, &sql.tidy_acts, retention.history),
    ] {
        left -= remove_old(connection, old, remove, keep, left).await?.min(left);
    }
    Ok(u64::from(limit) - left)
}

/// Removes at most `limit` rows of history; answers how many.
pub(super) async fn purge(
    connection: &mut MySqlConnection,
    sql: &Statements,
    older_than: Duration,
    limit: u32,
) -> Result<u64, sqlx::Error> {
    remove_old(connection, &sql.old_history, &sql.tidy_history, older_than, u64::from(limit)).await
}

/// In two steps: within one statement that deletes, the range would be locked, and wait for the newest rows of others.
async fn remove_old(
    connection: &mut MySqlConnection,
    old: &SqlStr,
    remove: &SqlStr,
    keep: Duration,
    limit: u64,
) -> Result<u64, sqlx::Error> {
    let (keep, limit) = (micros::duration(keep), i64::try_from(limit).unwrap_or(i64::MAX));
    if limit == 0 {
        return Ok(0);
    }
    let old: Vec<String> =
        sqlx::query_scalar(old.clone()).bind(keep).bind(limit).fetch_all(&mut *connection).await?;
    if old.is_empty() {
        return Ok(0);
    }
    // Each is JSON already.
    let list = format!("[{}]", old.join(","));
    Ok(sqlx::query(remove.clone()).bind(list).bind(keep).execute(connection).await?.rows_affected())
}
