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
    if !owner {
        owner = sqlx::query_scalar(sql.owner_gone.clone()).bind(now).fetch_one(&mut *tx).await?;
        if owner {
            take_over(&mut tx, sql, epoch, now).await?;
        }
    }
    tx.commit().await?;
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

/// Fences the session that owned the outbox and sets aside, in doubt, what it left in flight.
async fn take_over(
    tx: &mut SqliteConnection,
    sql: &Statements,
    epoch: Epoch,
    now: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(sql.fence_owner.clone()).bind(now).execute(&mut *tx).await?;
    let mut orphans = Vec::new();
    for row in sqlx::query(sql.orphans.clone()).bind(epoch.0).fetch_all(&mut *tx).await? {
        let tally = Tally { attempts: row.try_get(2)?, crashes: row.try_get(3)?, in_doubt: row.try_get(4)? };
        let tally = tally.after_crash(row.try_get(1)?);
        orphans.push(SetAside::new(row.try_get(0)?, "waiting", Some(0), Some(tally), None));
    }
    if !orphans.is_empty() {
        tracing::warn!(
            epoch = epoch.0,
            messages = orphans.len(),
            "took over messages in doubt from a dead session"
        );
        set_aside::set_aside(tx, sql, now, &orphans).await?;
    }
    let forget = now.saturating_sub(decode::duration(FORGET_AFTER));
    sqlx::query(sql.take_over.clone()).bind(epoch.0).bind(forget).execute(tx).await?;
    Ok(())
}
