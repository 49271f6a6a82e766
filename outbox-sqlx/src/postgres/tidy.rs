//! Removing what retention no longer keeps, in small ordered steps.

use std::time::Duration;

use sqlx::PgConnection;

use super::micros;
use super::statements::{Statement, Statements};
use crate::retention::Retention;

/// Removes at most `limit` rows; answers how many. Each kind is a transaction of its own.
pub(super) async fn tidy(
    connection: &mut PgConnection,
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
        left -= remove(connection, statement, keep, left).await?.min(left);
    }
    Ok(u64::from(limit) - left)
}

/// Removes at most `limit` rows of history; answers how many.
pub(super) async fn purge(
    connection: &mut PgConnection,
    sql: &Statements,
    older_than: Duration,
    limit: u32,
) -> Result<u64, sqlx::Error> {
    remove(connection, &sql.tidy_history, older_than, u64::from(limit)).await
}

async fn remove(
    connection: &mut PgConnection,
    statement: &Statement,
    keep: Duration,
    limit: u64,
) -> Result<u64, sqlx::Error> {
    if limit == 0 {
        return Ok(0);
    }
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let delete = statement.query().bind(micros::duration(keep)).bind(limit);
    Ok(delete.execute(connection).await?.rows_affected())
}
