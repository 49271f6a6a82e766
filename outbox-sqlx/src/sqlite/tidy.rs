//! Removing what retention no longer keeps, in small ordered steps.

use sqlx::SqliteConnection;

use super::config::Retention;
use super::decode;
use super::statements::Statements;

/// Removes at most `limit` rows; answers how many. Each kind is a transaction of its own.
pub(super) async fn tidy(
    connection: &mut SqliteConnection,
    sql: &Statements,
    retention: &Retention,
    limit: u32,
) -> Result<u64, sqlx::Error> {
    let now: i64 = sqlx::query_scalar(sql.clock.clone()).fetch_one(&mut *connection).await?;
    let mut left = u64::from(limit);
    for (statement, keep) in [
        (&sql.tidy_history, retention.history),
        (&sql.tidy_idempotency, retention.idempotency),
        (&sql.tidy_inbox, retention.inbox),
        (&sql.tidy_acts, retention.history),
    ] {
        if left > 0 {
            let before = now.saturating_sub(decode::duration(keep));
            let most = i64::try_from(left).unwrap_or(i64::MAX);
            let removed =
                sqlx::query(statement.clone()).bind(before).bind(most).execute(&mut *connection).await?;
            left = left.saturating_sub(removed.rows_affected());
        }
    }
    Ok(u64::from(limit) - left)
}
