//! Sessions, the lease of the one slot, and the takeover from a session that ran out.

use std::time::Duration;

use outbox_core::{DispatcherId, Epoch, Ownership, Slot, Tally};
use sqlx::{Connection, Row, SqliteConnection};

use super::decode;
use super::set_aside::{self, SetAside};
use super::settle::Standing;
use super::statements::Statements;

/// How long a session that ended is kept for people to look at.
const FORGET_AFTER: Duration = Duration::from_secs(24 * 3_600);

/// Starts or keeps a session; takes the outbox when nobody alive owns it.
pub(super) async fn renew(
    connection: &mut SqliteConnection,
    sql: &Statements,
    me: &DispatcherId,
    epoch: Option<Epoch>,
    lease_for: Duration,
) -> Result<Ownership, sqlx::Error> {
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
    let standing = Standing::of(&mut tx, sql, epoch).await?;
    let now = standing.now;
    let expires_at = now.saturating_add(decode::duration(lease_for));
    let epoch = match epoch {
        Some(epoch) if standing.alive => {
            sqlx::query(sql.renew_session.clone()).bind(epoch.0).bind(expires_at).execute(&mut *tx).await?;
            epoch
        }
        _ => {
            let session = sqlx::query(sql.new_session.clone())
                .bind(&me.name)
                .bind(me.instance.to_string())
                .bind(now)
                .bind(expires_at)
                .execute(&mut *tx)
                .await?;
            Epoch(session.last_insert_rowid())
        }
    };
    let mut owner = standing.alive && standing.owner;
    let mut in_doubt = 0;
    if !owner {
        owner = sqlx::query_scalar(sql.owner_gone.clone()).bind(now).fetch_one(&mut *tx).await?;
        if owner {
            in_doubt = take_over(&mut tx, sql, epoch, now).await?;
        }
    }
    tx.commit().await?;
    if in_doubt > 0 {
        tracing::warn!(
            epoch = epoch.0,
            messages = in_doubt,
            "took over messages in doubt from a dead session"
        );
    }
    Ok(Ownership { epoch, slots: if owner { vec![Slot(0)] } else { Vec::new() }, hand_over: Vec::new() })
}

/// Gives the outbox back, if `slots` name it. A session without it ends.
pub(super) async fn release(
    connection: &mut SqliteConnection,
    sql: &Statements,
    epoch: Epoch,
    slots: &[Slot],
) -> Result<(), sqlx::Error> {
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
    let standing = Standing::of(&mut tx, sql, Some(epoch)).await?;
    if standing.alive && (!standing.owner || slots.contains(&Slot(0))) {
        sqlx::query(sql.end_session.clone()).bind(epoch.0).bind(standing.now).execute(&mut *tx).await?;
    }
    tx.commit().await
}

/// Fences the session that owned the outbox and sets aside, in doubt, what it left in flight; answers how many.
async fn take_over(
    tx: &mut SqliteConnection,
    sql: &Statements,
    epoch: Epoch,
    now: i64,
) -> Result<u64, sqlx::Error> {
    sqlx::query(sql.fence_owner.clone()).bind(now).execute(&mut *tx).await?;
    let mut orphans = Vec::new();
    for row in sqlx::query(sql.orphans.clone()).bind(epoch.0).fetch_all(&mut *tx).await? {
        let tally = Tally { attempts: row.try_get(2)?, crashes: row.try_get(3)?, in_doubt: row.try_get(4)? };
        let tally = tally.after_crash(row.try_get(1)?);
        orphans.push(SetAside::new(row.try_get(0)?, "waiting", Some(0), Some(tally), None));
    }
    let in_doubt = if orphans.is_empty() { 0 } else { set_aside::set_aside(tx, sql, now, &orphans).await? };
    let forget = now.saturating_sub(decode::duration(FORGET_AFTER));
    sqlx::query(sql.take_over.clone()).bind(epoch.0).bind(forget).execute(tx).await?;
    Ok(in_doubt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::migrate::migrations;
    use crate::statement::DEFAULT_PREFIX;

    #[tokio::test]
    async fn a_takeover_counts_the_messages_that_are_still_there() {
        let mut conn = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        for migration in migrations(DEFAULT_PREFIX) {
            sqlx::raw_sql(sqlx::AssertSqlSafe(migration.sql)).execute(&mut conn).await.unwrap();
        }
        let sql = Statements::new(DEFAULT_PREFIX);
        let dead = renew(&mut conn, &sql, &DispatcherId::new("dead"), None, Duration::ZERO).await.unwrap();
        // Of the places in its journal, one is a fresh message, one was set aside, and one is gone.
        sqlx::raw_sql(
            "INSERT INTO outbox_messages (topic, payload) VALUES ('t', 'fresh'), ('t', 'set aside');
             INSERT INTO outbox_journal (epoch, batch_no, alone, places) VALUES (1, 1, 0, '[1, 2, 3]')",
        )
        .execute(&mut conn)
        .await
        .unwrap();
        let retry = SetAside::new(2, "waiting", Some(0), Some(Tally::default()), None);
        assert_eq!(set_aside::set_aside(&mut conn, &sql, 0, &[retry]).await.unwrap(), 1);

        assert_eq!(dead.epoch, Epoch(1));
        let in_doubt = take_over(&mut conn, &sql, Epoch(2), 0).await.unwrap();
        assert_eq!(in_doubt, 2);
        let left: i64 =
            sqlx::query_scalar("SELECT count(*) FROM outbox_journal").fetch_one(&mut conn).await.unwrap();
        assert_eq!(left, 0, "the journal of the dead session is gone");
    }
}
