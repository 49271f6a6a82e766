//! Sessions, the leases of the sixteen slots, and the takeover from sessions that ran out.

use std::time::Duration;

use outbox_core::{DispatcherId, Epoch, Ownership, Slot, Tally};
use sqlx::{PgConnection, Row};

use super::connection::InUse;
use super::decode;
use super::micros::{self, Micros};
use super::set_aside::{self, SetAside};
use super::statements::Statements;
use super::without_nul;

/// How many slots there are; fixed by the schema.
pub(super) const SLOTS: usize = 16;

/// Starts or keeps a session; takes slots up to its fair share.
pub(super) async fn renew(
    own: &mut InUse<'_>,
    sql: &Statements,
    me: &DispatcherId,
    epoch: Option<Epoch>,
    lease_for: Duration,
) -> Result<Ownership, sqlx::Error> {
    let lease_for = micros::duration(lease_for);
    if let Some(epoch) = epoch {
        let mut work = own.statements().await?;
        let renew = sql.renew_session.query().bind(epoch.0).bind(lease_for);
        let renewed = renew.execute(&mut *work).await?.rows_affected() > 0;
        let standing = if renewed { Some(Standing::of(&mut work, sql, epoch).await?) } else { None };
        // Whoever holds the lock below may want our session's row: nothing of it may be held while we wait.
        work.done().await?;
        if let Some(standing) = standing.filter(|standing| standing.alive && standing.could_take() == 0) {
            return Ok(standing.ownership(epoch));
        }
    }
    // Slots change hands one session after another: what `Standing` says holds until the end.
    let mut tx = own.transaction().await?;
    sql.lock_leases.query().execute(&mut *tx).await?;
    let epoch = session(&mut tx, sql, me, epoch, lease_for).await?;
    let mut standing = Standing::of(&mut tx, sql, epoch).await?;
    let mut in_doubt = 0;
    if standing.could_take() > 0 {
        in_doubt = take_over(&mut tx, sql, epoch).await?;
        let most = i64::try_from(standing.could_take()).unwrap_or(i64::MAX);
        sql.take_slots.query().bind(epoch.0).bind(most).execute(&mut *tx).await?;
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
    own: &mut InUse<'_>,
    sql: &Statements,
    epoch: Epoch,
    slots: &[Slot],
) -> Result<bool, sqlx::Error> {
    let slots: Vec<i16> = slots.iter().map(|slot| decode::number_of(*slot)).collect();
    let mut tx = own.transaction().await?;
    sql.lock_leases.query().execute(&mut *tx).await?;
    sql.give_back.query().bind(epoch.0).bind(slots).execute(&mut *tx).await?;
    let ended = sql.end_session.query().bind(epoch.0).execute(&mut *tx).await?.rows_affected();
    tx.commit().await?;
    Ok(ended > 0)
}

/// The session of `epoch`, if it is alive, or a new one.
async fn session(
    tx: &mut PgConnection,
    sql: &Statements,
    me: &DispatcherId,
    epoch: Option<Epoch>,
    lease_for: i64,
) -> Result<Epoch, sqlx::Error> {
    if let Some(epoch) = epoch {
        // Again, under the lock: it may have been fenced since.
        let renew = sql.renew_session.query().bind(epoch.0).bind(lease_for);
        if renew.execute(&mut *tx).await?.rows_affected() > 0 {
            return Ok(epoch);
        }
    }
    let started = sql
        .new_session
        .scalar()
        .bind(without_nul(&me.name))
        .bind(me.instance)
        .bind(lease_for)
        .fetch_one(tx)
        .await?;
    Ok(Epoch(started))
}

/// What a session owns, and what it could own.
struct Standing {
    alive: bool,
    slots: Vec<i16>,
    others: usize,
    free: usize,
}

impl Standing {
    async fn of(connection: &mut PgConnection, sql: &Statements, epoch: Epoch) -> Result<Self, sqlx::Error> {
        let row = sql.standing.query().bind(epoch.0).fetch_one(connection).await?;
        let count = |column| row.try_get::<i64, _>(column).map(|count| usize::try_from(count).unwrap_or(0));
        Ok(Self { alive: row.try_get(0)?, slots: row.try_get(1)?, others: count(2)?, free: count(3)? })
    }

    fn share(&self) -> usize {
        SLOTS.div_ceil(self.others + 1)
    }

    fn could_take(&self) -> usize {
        self.share().saturating_sub(self.slots.len()).min(self.free)
    }

    fn ownership(&self, epoch: Epoch) -> Ownership {
        let slots: Vec<Slot> = self.slots.iter().map(|slot| decode::slot_of(*slot)).collect();
        let hand_over = slots[self.share().min(slots.len())..].to_vec();
        Ownership { epoch, slots, hand_over }
    }
}

/// Fences the sessions that ran out, and sets aside, in doubt, what they left in flight; answers how many.
async fn take_over(tx: &mut PgConnection, sql: &Statements, epoch: Epoch) -> Result<usize, sqlx::Error> {
    sql.fence_expired.query().bind(epoch.0).execute(&mut *tx).await?;
    let mut orphans = Vec::new();
    for row in sql.orphans.query().fetch_all(&mut *tx).await? {
        let count = |column| row.try_get::<i32, _>(column).map(|count| u32::try_from(count).unwrap_or(0));
        let tally = Tally { attempts: count(2)?, crashes: count(3)?, in_doubt: row.try_get(4)? };
        let tally = tally.after_crash(row.try_get(1)?);
        orphans.push(SetAside::new(row.try_get(0)?, "waiting", Some(0), Some(tally), None));
    }
    if !orphans.is_empty() {
        let Micros(now) = sql.clock.scalar().fetch_one(&mut *tx).await?;
        set_aside::set_aside(tx, sql, now, &orphans).await?;
    }
    sql.orphans_gone.query().execute(&mut *tx).await?;
    sql.forget_sessions.query().execute(tx).await?;
    Ok(orphans.len())
}
