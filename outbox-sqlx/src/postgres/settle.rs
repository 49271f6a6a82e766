//! Verdicts, ended batches and the next batch's journal, in one transaction.

use std::borrow::Cow;

use outbox_core::{Batch, FailureNote, Fence, OnDead, Place, Settlement, Verdict};
use sqlx::{PgConnection, Row};

use super::claim::SET_ASIDE;
use super::connection::InUse;
use super::micros::{self, Micros};
use super::set_aside::{self, SetAside};
use super::statements::Statements;
use super::tid::Tid;
use super::{decode, without_nul};
use crate::by::By;

/// Writes `settlement`: in one statement, where all of it are fresh messages that were delivered, as in nearly every
/// one. Where others were set aside meanwhile, it takes one statement more.
pub(super) async fn settle(
    own: &mut InUse<'_>,
    sql: &Statements,
    by: By,
    settlement: &Settlement<'_>,
) -> Result<Fence, sqlx::Error> {
    let is_fresh = |place: &Place| place.hint != SET_ASIDE;
    let delivered_fresh =
        |(place, verdict): &(Place, Verdict)| is_fresh(place) && matches!(verdict, Verdict::Delivered { .. });
    let fresh: Vec<&(Place, Verdict)> =
        settlement.verdicts.iter().filter(|verdict| delivered_fresh(verdict)).collect();
    // Whether a row was not where it lay.
    let mut moved = false;
    if fresh.len() == settlement.verdicts.len() && !by.late {
        let mut work = own.statements().await?;
        let settled = settle_delivered(&mut work, sql, by, settlement, &fresh).await?;
        work.done().await?;
        match settled {
            None => return Ok(Fence::Lost),
            Some(settled) if settled.all => return Ok(settled.fence),
            // What was written is right, the rest takes more.
            Some(_) => moved = true,
        }
    }
    let mut tx = own.transaction().await?;
    let settled = loop {
        let here = if moved { &[] } else { fresh.as_slice() };
        match settle_delivered(&mut tx, sql, by, settlement, here).await? {
            None => {
                tx.rollback().await?;
                return Ok(Fence::Lost);
            }
            Some(settled) if settled.all => break settled,
            // Once more, without them: the batches end.
            Some(_) => moved = true,
        }
    };
    if by.late {
        sql.raise_own.query().bind(by.epoch.0).execute(&mut *tx).await?;
    }
    let is_left = |place: &Place| !is_fresh(place) || moved;
    delivered(&mut tx, sql, by.history, settled.now, settlement.verdicts, is_left).await?;
    let others = settlement
        .verdicts
        .iter()
        .filter_map(|(place, verdict)| Some((place, set_aside_as(place, verdict)?)));
    let (fresh, mut again): (Vec<_>, Vec<_>) = others.partition(|(place, _)| is_fresh(place));
    if !fresh.is_empty() {
        let messages: Vec<_> = fresh.iter().map(|(_, message)| message.clone()).collect();
        if !set_aside::move_fresh(&mut tx, sql, settled.now, &messages, by.epoch).await? {
            again.extend(fresh);
        }
    }
    if !again.is_empty() {
        let messages: Vec<_> = again.into_iter().map(|(_, message)| message).collect();
        set_aside::set_aside(&mut tx, sql, settled.now, &messages).await?;
        let places: Vec<i64> = messages.iter().map(SetAside::seq).collect();
        sql.settled_places.query().bind(by.epoch.0).bind(places).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(settled.fence)
}

/// What [`settle_delivered`] did.
struct Settled {
    fence: Fence,
    /// Every message was where it lay.
    all: bool,
    /// What time it is.
    now: i64,
}

/// Deletes `delivered`, fresh messages of `settlement`, ends its batches if all of these were where they lay, and begins
/// the next one, in one statement. `None` when the session was fenced: nothing was written.
async fn settle_delivered(
    connection: &mut PgConnection,
    sql: &Statements,
    by: By,
    settlement: &Settlement<'_>,
    delivered: &[&(Place, Verdict)],
) -> Result<Option<Settled>, sqlx::Error> {
    let next = settlement.begin;
    let statement = if by.history { &sql.settle_delivered_noted } else { &sql.settle_delivered };
    let settle = statement
        .query()
        .bind(by.epoch.0)
        .bind(slots(settlement))
        .bind(delivered.iter().map(|(place, _)| Tid(place.hint)).collect::<Vec<_>>())
        .bind(delivered.iter().map(|(place, _)| place.seq).collect::<Vec<_>>())
        .bind(settlement.ended.iter().map(|number| number.0).collect::<Vec<_>>())
        .bind(next.map(|batch| batch.number.0))
        .bind(next.map(|batch| batch.alone))
        .bind(next.map(places))
        .bind(by.changes);
    let settle = if by.history { settle.bind(receipts(delivered)) } else { settle };
    let Some(row) = settle.fetch_optional(&mut *connection).await? else { return Ok(None) };
    let unchanged: bool = row.try_get(0)?;
    let deleted: i64 = row.try_get(1)?;
    let Micros(now) = row.try_get(2)?;
    let fence = match next.filter(|_| !unchanged) {
        None => Fence::Held,
        Some(batch) => {
            sql.unbegin.query().bind(by.epoch.0).bind(batch.number.0).execute(connection).await?;
            Fence::Changed
        }
    };
    Ok(Some(Settled { fence, all: usize::try_from(deleted) == Ok(delivered.len()), now }))
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

/// Deletes what was delivered and `is_left`, wherever it lies; where that frees a key, the next of it becomes due.
async fn delivered(
    tx: &mut PgConnection,
    sql: &Statements,
    history: bool,
    now: i64,
    verdicts: &[(Place, Verdict)],
    is_left: impl Fn(&Place) -> bool,
) -> Result<(), sqlx::Error> {
    let is_left =
        |(place, verdict): &&(Place, Verdict)| matches!(verdict, Verdict::Delivered { .. }) && is_left(place);
    let left: Vec<&(Place, Verdict)> = verdicts.iter().filter(is_left).collect();
    if left.is_empty() {
        return Ok(());
    }
    let places: Vec<i64> = left.iter().map(|(place, _)| place.seq).collect();
    if history {
        let join = sql.history_delivered.query().bind(&places).bind(receipts(&left)).bind(Micros(now));
        join.execute(&mut *tx).await?;
    }
    let keys = sql.delete_deferred.rows_as().bind(&places).fetch_all(&mut *tx).await?;
    if keys.len() < places.len() {
        sql.delete_delivered.query().bind(&places).execute(&mut *tx).await?;
    }
    set_aside::promote(tx, sql, now, keys).await
}

/// What the destinations answered, one per delivered message.
fn receipts<'a>(verdicts: &[&'a (Place, Verdict)]) -> Vec<Option<Cow<'a, str>>> {
    let mut receipts = Vec::with_capacity(verdicts.len());
    for (_, verdict) in verdicts {
        if let Verdict::Delivered { receipt } = verdict {
            receipts.push(receipt.as_deref().map(without_nul));
        }
    }
    receipts
}

fn set_aside_as<'a>(place: &Place, verdict: &'a Verdict) -> Option<SetAside<'a>> {
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
