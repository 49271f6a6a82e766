//! Verdicts, ended batches and the next batch's journal, in one transaction.

use std::borrow::Cow;

use outbox_core::{Batch, Epoch, FailureNote, Fence, OnDead, Place, Settlement, Verdict};
use sqlx::{PgConnection, Row};

use super::claim::SET_ASIDE;
use super::connection::InUse;
use super::micros::{self, Micros};
use super::set_aside::{self, SetAside};
use super::statements::Statements;
use super::tid::Tid;
use super::{decode, without_nul};

/// A count of a person's acts that no session has.
pub(super) const NEVER: i64 = -1;

/// Writes `settlement`. `changes` is the count of a person's acts that the caller's claims are known to follow.
pub(super) async fn settle(
    own: &mut InUse<'_>,
    sql: &Statements,
    history: bool,
    epoch: Epoch,
    changes: Option<i64>,
    settlement: &Settlement<'_>,
) -> Result<Fence, sqlx::Error> {
    let slots = slots(settlement);
    let delivered_fresh = |(place, verdict): &(Place, Verdict)| {
        place.hint != SET_ASIDE && matches!(verdict, Verdict::Delivered { .. })
    };
    if settlement.verdicts.iter().all(delivered_fresh) {
        let mut work = own.statements().await?;
        let fence = settle_delivered(&mut work, sql, history, epoch, changes, settlement, &slots).await?;
        work.done().await?;
        if let Some(fence) = fence {
            return Ok(fence);
        }
    }
    let mut tx = own.transaction().await?;
    let fence = sql.fence.query().bind(epoch.0).bind(&slots).fetch_optional(&mut *tx).await?;
    let Some(fence) = fence.filter(|row| row.try_get(2).unwrap_or(false)) else {
        tx.rollback().await?;
        return Ok(Fence::Lost);
    };
    let Micros(now) = fence.try_get(0)?;
    let since: i64 = fence.try_get(1)?;
    delivered(&mut tx, sql, history, now, settlement.verdicts).await?;
    let others: Vec<SetAside<'_>> = settlement.verdicts.iter().filter_map(set_aside_as).collect();
    let changed = changes.is_some_and(|changes| changes != since);
    // An earlier try, whose answer was lost, may have begun what is not begun now.
    let unbegun = settlement.begin.filter(|_| changed).map(|batch| batch.number);
    let ended: Vec<i64> = settlement.ended.iter().copied().chain(unbegun).map(|number| number.0).collect();
    if !ended.is_empty() {
        sql.end_batches.query().bind(epoch.0).bind(ended).execute(&mut *tx).await?;
    }
    if !others.is_empty() {
        set_aside::set_aside(&mut tx, sql, now, &others).await?;
        let places: Vec<i64> = others.iter().map(SetAside::seq).collect();
        sql.settled_places.query().bind(epoch.0).bind(places).execute(&mut *tx).await?;
    }
    if let Some(batch) = settlement.begin.filter(|_| !changed) {
        sql.begin_batch
            .query()
            .bind(epoch.0)
            .bind(batch.number.0)
            .bind(batch.alone)
            .bind(places(batch))
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    Ok(if unbegun.is_some() { Fence::Changed } else { Fence::Held })
}

/// [`settle`] in one statement, for the case that is nearly every one: every verdict says of a fresh message that it
/// was delivered. `None` when a row was not where it lay: what was written is right, the rest is for the long way.
async fn settle_delivered(
    connection: &mut PgConnection,
    sql: &Statements,
    history: bool,
    epoch: Epoch,
    changes: Option<i64>,
    settlement: &Settlement<'_>,
    slots: &[i16],
) -> Result<Option<Fence>, sqlx::Error> {
    let verdicts = settlement.verdicts;
    let next = settlement.begin;
    let statement = if history { &sql.settle_delivered_noted } else { &sql.settle_delivered };
    let settle = statement
        .query()
        .bind(epoch.0)
        .bind(slots)
        .bind(verdicts.iter().map(|(place, _)| Tid(place.hint)).collect::<Vec<_>>())
        .bind(verdicts.iter().map(|(place, _)| place.seq).collect::<Vec<_>>())
        .bind(settlement.ended.iter().map(|number| number.0).collect::<Vec<_>>())
        .bind(next.map(|batch| batch.number.0))
        .bind(next.map(|batch| batch.alone))
        .bind(next.map(places))
        .bind(changes);
    let settle = if history { settle.bind(receipts(verdicts)) } else { settle };
    let row = settle.fetch_optional(connection).await?;
    let Some(row) = row else { return Ok(Some(Fence::Lost)) };
    let unchanged: bool = row.try_get(0)?;
    let deleted: i64 = row.try_get(1)?;
    if usize::try_from(deleted) != Ok(verdicts.len()) {
        return Ok(None);
    }
    Ok(Some(if unchanged || next.is_none() { Fence::Held } else { Fence::Changed }))
}

/// The slots that a settlement is about, each once.
fn slots(settlement: &Settlement<'_>) -> Vec<i16> {
    let settled = settlement.verdicts.iter().map(|(place, _)| place.slot);
    let begun = settlement.begin.iter().flat_map(|batch| &batch.places).map(|place| place.slot);
    let mut slots: Vec<i16> = settled.chain(begun).map(decode::number_of).collect();
    slots.sort_unstable();
    slots.dedup();
    slots
}

fn places(batch: &Batch) -> Vec<i64> {
    batch.places.iter().map(|place| place.seq).collect()
}

/// Deletes what was delivered; where that frees a key, the next of it becomes due.
async fn delivered(
    tx: &mut PgConnection,
    sql: &Statements,
    history: bool,
    now: i64,
    verdicts: &[(Place, Verdict)],
) -> Result<(), sqlx::Error> {
    let (mut fresh, mut others) = (Vec::with_capacity(verdicts.len()), Vec::new());
    for (place, verdict) in verdicts {
        if matches!(verdict, Verdict::Delivered { .. }) {
            if place.hint == SET_ASIDE { others.push(place.seq) } else { fresh.push(place.seq) }
        }
    }
    if history && !(fresh.is_empty() && others.is_empty()) {
        let is_delivered = |(_, verdict): &&(Place, Verdict)| matches!(verdict, Verdict::Delivered { .. });
        let places: Vec<i64> = verdicts.iter().filter(is_delivered).map(|(place, _)| place.seq).collect();
        sql.history_delivered
            .query()
            .bind(places)
            .bind(receipts(verdicts))
            .bind(Micros(now))
            .execute(&mut *tx)
            .await?;
    }
    if !fresh.is_empty() {
        let delete = sql.delete_delivered.query().bind(&fresh);
        if delete.execute(&mut *tx).await?.rows_affected() < fresh.len() as u64 {
            // Gone already, or moved since it was claimed.
            others.append(&mut fresh);
        }
    }
    if !others.is_empty() {
        let keys = sql.delete_deferred.rows_as().bind(&others).fetch_all(&mut *tx).await?;
        if keys.len() < others.len() {
            sql.delete_delivered.query().bind(&others).execute(&mut *tx).await?;
        }
        set_aside::promote(tx, sql, now, keys).await?;
    }
    Ok(())
}

/// What the destinations answered, one per delivered message.
fn receipts(verdicts: &[(Place, Verdict)]) -> Vec<Option<Cow<'_, str>>> {
    let mut receipts = Vec::with_capacity(verdicts.len());
    for (_, verdict) in verdicts {
        if let Verdict::Delivered { receipt } = verdict {
            receipts.push(receipt.as_deref().map(without_nul));
        }
    }
    receipts
}

fn set_aside_as<'a>((place, verdict): &'a (Place, Verdict)) -> Option<SetAside<'a>> {
    let seq = place.seq;
    let failed = |failure: &'a FailureNote| Some(failure);
    Some(match verdict {
        Verdict::Delivered { .. } => return None,
        Verdict::Retry { delay, tally, failure } => {
            SetAside::new(seq, "waiting", Some(micros::duration(*delay)), Some(*tally), failed(failure))
        }
        Verdict::Wait { tally } => SetAside::new(seq, "waiting", Some(0), Some(*tally), None),
        Verdict::Schedule { delay } => {
            SetAside::new(seq, "scheduled", Some(micros::duration(*delay)), None, None)
        }
        Verdict::Dead { tally, failure, then } => {
            let state = match then {
                OnDead::Skip => "dead",
                OnDead::Park => "parked",
            };
            SetAside::new(seq, state, None, Some(*tally), failed(failure))
        }
    })
}
