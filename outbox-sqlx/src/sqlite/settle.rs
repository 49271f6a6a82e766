//! Verdicts, ended batches and the next batch's journal, in one transaction.

use futures_util::TryStreamExt;
use outbox_core::{Batch, Epoch, FailureNote, Fence, OnDead, Place, Settlement, Verdict};
use sqlx::{Connection, Either, Executor, Row, SqliteConnection};

use super::claim::FRESH;
use super::set_aside::{self, SetAside};
use super::statements::Statements;
use super::{decode, json_list, to_json};

/// Writes `settlement`. `changes` is the count of a person's acts that the caller's claims are known to follow.
pub(super) async fn settle(
    connection: &mut SqliteConnection,
    sql: &Statements,
    history: bool,
    epoch: Epoch,
    changes: Option<i64>,
    settlement: &Settlement<'_>,
) -> Result<Fence, sqlx::Error> {
    if let Some(places) = fresh_and_delivered(settlement.verdicts)
        && let Some(fence) =
            settle_delivered(connection, sql, history, epoch, changes, settlement, &places).await?
    {
        return Ok(fence);
    }
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
    let fence = Standing::of(&mut tx, sql, Some(epoch)).await?;
    if !(fence.alive && fence.owner) {
        tx.rollback().await?;
        return Ok(Fence::Lost);
    }
    delivered(&mut tx, sql, history, fence.now, settlement.verdicts).await?;
    let others: Vec<SetAside<'_>> = settlement.verdicts.iter().filter_map(set_aside_as).collect();
    let changed = changes.is_some_and(|changes| changes != fence.changes);
    // An earlier try, whose answer was lost, may have begun what is not begun now.
    let unbegun = settlement.begin.filter(|_| changed).map(|batch| batch.number);
    let ended: Vec<i64> = settlement.ended.iter().copied().chain(unbegun).map(|number| number.0).collect();
    end(&mut tx, sql, epoch, ended).await?;
    if !others.is_empty() {
        set_aside::set_aside(&mut tx, sql, fence.now, &others).await?;
        let places = to_json(&others)?;
        sqlx::query(sql.settled_places.clone()).bind(epoch.0).bind(places).execute(&mut *tx).await?;
    }
    if let Some(batch) = settlement.begin.filter(|_| !changed) {
        begin(&mut tx, sql, epoch, batch).await?;
    }
    tx.commit().await?;
    Ok(if unbegun.is_some() { Fence::Changed } else { Fence::Held })
}

/// The places, if every verdict says of a fresh message that it was delivered.
fn fresh_and_delivered(verdicts: &[(Place, Verdict)]) -> Option<Vec<i64>> {
    let place = |(place, verdict): &(Place, Verdict)| {
        (place.hint == FRESH && matches!(verdict, Verdict::Delivered { .. })).then_some(place.seq)
    };
    verdicts.iter().map(place).collect()
}

/// [`settle`] in one round trip, for the case that is nearly every one. `None` when something was not as expected, as
/// after an act of a person: what was written is right then, and the long way writes it again with the rest.
///
/// The script has its own `BEGIN` and `COMMIT`: an error, or dropping this future, closes the connection.
async fn settle_delivered(
    connection: &mut SqliteConnection,
    sql: &Statements,
    history: bool,
    epoch: Epoch,
    changes: Option<i64>,
    settlement: &Settlement<'_>,
    places: &[i64],
) -> Result<Option<Fence>, sqlx::Error> {
    /// The position of the statement in the script that deletes the messages.
    const DELETE: usize = 3;
    let next = settlement.begin;
    let script = sqlx::query(sql.settle_delivered.clone())
        .bind(epoch.0)
        .bind(json_list(places.iter().copied()))
        .bind(json_list(settlement.ended.iter().map(|number| number.0)))
        .bind(next.map(|batch| batch.number.0))
        .bind(next.map(|batch| batch.alone))
        .bind(next.map(|batch| json_list(batch.places.iter().map(|place| place.seq))))
        .bind(changes)
        .bind(if history { Some(receipts(settlement.verdicts)?) } else { None });
    // The driver runs the statements of a script one after another, and stops at the first error.
    let mut answers = Executor::fetch_many(connection, script);
    let (mut owner, mut unchanged, mut statement, mut deleted) = (false, false, 0, 0);
    while let Some(answer) = answers.try_next().await? {
        match answer {
            Either::Right(row) => (owner, unchanged) = (row.try_get(0)?, row.try_get(1)?),
            Either::Left(done) => {
                if statement == DELETE {
                    deleted = done.rows_affected();
                }
                statement += 1;
            }
        }
    }
    Ok(match (owner, unchanged || next.is_none(), deleted == places.len() as u64) {
        (false, ..) => Some(Fence::Lost),
        (true, true, true) => Some(Fence::Held),
        _ => None,
    })
}

/// What the first statement of a write transaction finds out about a session.
pub(super) struct Standing {
    pub(super) now: i64,
    changes: i64,
    /// It exists and is not fenced.
    pub(super) alive: bool,
    /// The outbox is its own.
    pub(super) owner: bool,
}

impl Standing {
    pub(super) async fn of(
        tx: &mut SqliteConnection,
        sql: &Statements,
        epoch: Option<Epoch>,
    ) -> Result<Self, sqlx::Error> {
        let query = sqlx::query(sql.fence.clone()).bind(epoch.map(|epoch| epoch.0));
        let row = query.fetch_one(tx).await?;
        Ok(Self {
            now: row.try_get(0)?,
            changes: row.try_get(1)?,
            alive: row.try_get(2)?,
            owner: row.try_get(3)?,
        })
    }
}

async fn end(
    tx: &mut SqliteConnection,
    sql: &Statements,
    epoch: Epoch,
    batches: Vec<i64>,
) -> Result<(), sqlx::Error> {
    if !batches.is_empty() {
        let batches = json_list(batches.into_iter());
        sqlx::query(sql.end_batches.clone()).bind(epoch.0).bind(batches).execute(tx).await?;
    }
    Ok(())
}

async fn begin(
    tx: &mut SqliteConnection,
    sql: &Statements,
    epoch: Epoch,
    batch: &Batch,
) -> Result<(), sqlx::Error> {
    sqlx::query(sql.begin_batch.clone())
        .bind(epoch.0)
        .bind(batch.number.0)
        .bind(batch.alone)
        .bind(json_list(batch.places.iter().map(|place| place.seq)))
        .execute(tx)
        .await?;
    Ok(())
}

/// Deletes what was delivered; where that frees a key, the next of it becomes due.
async fn delivered(
    tx: &mut SqliteConnection,
    sql: &Statements,
    history: bool,
    now: i64,
    verdicts: &[(Place, Verdict)],
) -> Result<(), sqlx::Error> {
    let (mut fresh, mut others) = (Vec::with_capacity(verdicts.len()), Vec::new());
    for (place, verdict) in verdicts {
        if matches!(verdict, Verdict::Delivered { .. }) {
            if place.hint == FRESH { fresh.push(place.seq) } else { others.push(place.seq) }
        }
    }
    if history && !(fresh.is_empty() && others.is_empty()) {
        let receipts = receipts(verdicts)?;
        sqlx::query(sql.history_delivered.clone()).bind(receipts).bind(now).execute(&mut *tx).await?;
    }
    if !fresh.is_empty() {
        let list = json_list(fresh.iter().copied());
        let deleted =
            sqlx::query(sql.delete_delivered.clone()).bind(list).execute(&mut *tx).await?.rows_affected();
        if deleted < fresh.len() as u64 {
            // Gone already, or moved since it was claimed.
            others.append(&mut fresh);
        }
    }
    if !others.is_empty() {
        let list = json_list(others.iter().copied());
        let keys = sqlx::query(sql.delete_deferred.clone()).bind(&list).fetch_all(&mut *tx).await?;
        if keys.len() < others.len() {
            sqlx::query(sql.delete_delivered.clone()).bind(list).execute(&mut *tx).await?;
        }
        set_aside::promote(tx, sql, now, &keys).await?;
    }
    Ok(())
}

/// The places that were delivered, and their receipts, as JSON.
fn receipts(verdicts: &[(Place, Verdict)]) -> Result<String, sqlx::Error> {
    let receipt = |(place, verdict): &'_ (Place, Verdict)| match verdict {
        Verdict::Delivered { receipt } => Some((place.seq, receipt.clone())),
        _ => None,
    };
    let receipts: Vec<(i64, Option<String>)> = verdicts.iter().filter_map(receipt).collect();
    to_json(&receipts)
}

fn set_aside_as<'a>((place, verdict): &'a (Place, Verdict)) -> Option<SetAside<'a>> {
    let seq = place.seq;
    let failed = |failure: &'a FailureNote| Some(failure);
    Some(match verdict {
        Verdict::Delivered { .. } => return None,
        Verdict::Retry { delay, tally, failure } => {
            SetAside::new(seq, "waiting", Some(decode::duration(*delay)), Some(*tally), failed(failure))
        }
        Verdict::Wait { tally } => SetAside::new(seq, "waiting", Some(0), Some(*tally), None),
        Verdict::Schedule { delay } => {
            SetAside::new(seq, "scheduled", Some(decode::duration(*delay)), None, None)
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
