//! Sessions, the leases of the sixteen slots, and the takeover from sessions that ran out.

use std::collections::HashMap;
use std::time::Duration;

use outbox_core::{DispatcherId, Epoch, Ownership, Slot, Tally};
use sqlx::{Connection, MySqlConnection, Row};

use super::decode::{self, SLOTS};
use super::script::json_list;
use super::set_aside;
use super::statements::Statements;
use crate::micros;
use crate::set_aside::SetAside;

/// Starts or keeps a session; takes slots up to its fair share.
pub(super) async fn renew(
    connection: &mut MySqlConnection,
    sql: &Statements,
    me: &DispatcherId,
    epoch: Option<Epoch>,
    lease_for: Duration,
) -> Result<Ownership, sqlx::Error> {
    let lease_for = micros::duration(lease_for);
    if let Some(epoch) = epoch {
        let renew = sqlx::query(sql.renew_session.clone()).bind(lease_for).bind(epoch.0);
        if renew.execute(&mut *connection).await?.rows_affected() > 0 {
            let standing = Standing::of(connection, sql, epoch).await?;
            if standing.alive && standing.could_take() == 0 {
                return Ok(standing.ownership(epoch));
            }
        }
    }
    // Slots change hands one session after another: what `Standing` says holds until the end.
    let mut tx = connection.begin().await?;
    sqlx::query(sql.lock_leases.clone()).execute(&mut *tx).await?;
    let epoch = session(&mut tx, sql, me, epoch, lease_for).await?;
    let mut standing = Standing::of(&mut tx, sql, epoch).await?;
    let mut in_doubt = 0;
    if standing.could_take() > 0 {
        in_doubt = take_over(&mut tx, sql, epoch).await?;
        let most = i64::try_from(standing.could_take()).unwrap_or(i64::MAX);
        sqlx::query(sql.take_slots.clone()).bind(epoch.0).bind(most).execute(&mut *tx).await?;
        standing = Standing::of(&mut tx, sql, epoch).await?;
    }
    tx.commit().await?;
    if in_doubt > 0 {
        tracing::warn!(
            epoch = epoch.0,
            messages = in_doubt,
            "took over messages in doubt from a dead session"
        );
    }
    Ok(standing.ownership(epoch))
}

/// Gives `slots` back; whether the session, which then owns none, has ended.
pub(super) async fn release(
    connection: &mut MySqlConnection,
    sql: &Statements,
    epoch: Epoch,
    slots: &[Slot],
) -> Result<bool, sqlx::Error> {
    let slots = decode::bits(slots.iter().copied());
    let mut tx = connection.begin().await?;
    sqlx::query(sql.lock_leases.clone()).execute(&mut *tx).await?;
    sqlx::query(sql.give_back.clone()).bind(epoch.0).bind(slots).execute(&mut *tx).await?;
    let ended = sqlx::query(sql.end_session.clone()).bind(epoch.0).bind(epoch.0).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(ended.rows_affected() > 0)
}

/// The session of `epoch`, if it is alive, or a new one.
async fn session(
    tx: &mut MySqlConnection,
    sql: &Statements,
    me: &DispatcherId,
    epoch: Option<Epoch>,
    lease_for: i64,
) -> Result<Epoch, sqlx::Error> {
    if let Some(epoch) = epoch {
        // Again, under the lock: it may have been fenced since.
        let renew = sqlx::query(sql.renew_session.clone()).bind(lease_for).bind(epoch.0);
        if renew.execute(&mut *tx).await?.rows_affected() > 0 {
            return Ok(epoch);
        }
    }
    let started = sqlx::query(sql.new_session.clone())
        .bind(&me.name)
        .bind(me.instance)
        .bind(lease_for)
        .execute(tx)
        .await?;
    Ok(Epoch(i64::try_from(started.last_insert_id()).unwrap_or(i64::MAX)))
}

/// What a session owns, and what it could own; the slots a bit each.
struct Standing {
    alive: bool,
    slots: i64,
    others: usize,
    free: i64,
}

impl Standing {
    async fn of(
        connection: &mut MySqlConnection,
        sql: &Statements,
        epoch: Epoch,
    ) -> Result<Self, sqlx::Error> {
        let mut query = sqlx::query(sql.standing.clone());
        for _ in 0..4 {
            query = query.bind(epoch.0);
        }
        let row = query.fetch_one(connection).await?;
        let others: i64 = row.try_get(2)?;
        let others = usize::try_from(others).unwrap_or(0);
        Ok(Self { alive: row.try_get(0)?, slots: row.try_get(1)?, others, free: row.try_get(3)? })
    }

    fn share(&self) -> usize {
        (SLOTS as usize).div_ceil(self.others + 1)
    }

    fn could_take(&self) -> usize {
        let (owned, free) = (self.slots.count_ones() as usize, self.free.count_ones() as usize);
        self.share().saturating_sub(owned).min(free)
    }

    fn ownership(&self, epoch: Epoch) -> Ownership {
        let slots = decode::slots(self.slots);
        let hand_over = slots[self.share().min(slots.len())..].to_vec();
        Ownership { epoch, slots, hand_over }
    }
}

/// Fences the sessions that ran out, and sets aside, in doubt, what they left in flight; answers how many.
async fn take_over(tx: &mut MySqlConnection, sql: &Statements, epoch: Epoch) -> Result<usize, sqlx::Error> {
    let expired: Vec<i64> = sqlx::query_scalar(sql.expired.clone()).bind(epoch.0).fetch_all(&mut *tx).await?;
    for expired in expired {
        sqlx::query(sql.fence_expired.clone()).bind(expired).execute(&mut *tx).await?;
    }
    let mut alone = HashMap::new();
    let batches: Vec<(i64, i64, bool, String)> =
        sqlx::query_as(sql.over_batches.clone()).fetch_all(&mut *tx).await?;
    for (_, _, was_alone, places) in &batches {
        for place in super::settle::parse_places(places)? {
            // Of several batches the latest counts, which comes first.
            alone.entry(place).or_insert(*was_alone);
        }
    }
    let mut places: Vec<i64> = alone.keys().copied().collect();
    places.sort_unstable();
    let mut orphans = Vec::new();
    let query = sqlx::query(sql.orphans.clone()).bind(json_list(places));
    for row in query.fetch_all(&mut *tx).await? {
        let count = |column| row.try_get::<i64, _>(column).map(|count| u32::try_from(count).unwrap_or(0));
        let seq = row.try_get(0)?;
        let tally = Tally { attempts: count(1)?, crashes: count(2)?, in_doubt: row.try_get(3)? };
        let tally = tally.after_crash(alone.get(&seq).copied().unwrap_or(false));
        orphans.push(SetAside::waiting(seq, Some(tally)));
    }
    if !orphans.is_empty() {
        let now = sqlx::query_scalar(sql.clock.clone()).fetch_one(&mut *tx).await?;
        set_aside::set_aside(tx, sql, now, &orphans).await?;
    }
    for (epoch, batch_no, ..) in batches {
        sqlx::query(sql.end_batches.clone())
            .bind(json_list([batch_no]))
            .bind(epoch)
            .execute(&mut *tx)
            .await?;
    }
    let over: Vec<i64> = sqlx::query_scalar(sql.over_sessions.clone()).fetch_all(&mut *tx).await?;
    for over in over {
        sqlx::query(sql.forget_session.clone()).bind(over).execute(&mut *tx).await?;
    }
    Ok(orphans.len())
}
