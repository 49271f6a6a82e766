//! Verdicts, ended batches and the next batch's journal, in one transaction.

use std::collections::HashSet;

use futures_util::TryStreamExt;
use outbox_core::{Batch, Epoch, Fence, Place, Settlement, Verdict};
use sqlx::{Connection, Either, MySqlConnection, Row};

use super::script::{Script, Value, json_list, json_pairs};
use super::statements::Statements;
use super::{decode, place, set_aside, to_json};
use crate::by::By;
use crate::set_aside::SetAside;

/// Writes `settlement`.
pub(super) async fn settle(
    connection: &mut MySqlConnection,
    sql: &Statements,
    by: By,
    settlement: &Settlement<'_>,
) -> Result<Fence, sqlx::Error> {
    let slots = slots(settlement);
    if !by.late
        && let Some(places) = fresh_and_delivered(settlement.verdicts)
        && let Some(fence) = settle_delivered(connection, sql, by, settlement, slots, places).await?
    {
        return Ok(fence);
    }
    let mut tx = connection.begin().await?;
    let fence = sqlx::query(sql.fence.clone())
        .bind(by.epoch.0)
        .bind(slots)
        .bind(by.epoch.0)
        .fetch_optional(&mut *tx)
        .await?;
    let owns_all = |row: &sqlx::mysql::MySqlRow| row.try_get(2).ok() == Some(i64::from(slots.count_ones()));
    let Some(fence) = fence.filter(owns_all) else {
        tx.rollback().await?;
        return Ok(Fence::Lost);
    };
    let now: i64 = fence.try_get(0)?;
    let since: i64 = fence.try_get(1)?;
    let verdicts = still_there(&mut tx, sql, settlement.verdicts).await?;
    delivered(&mut tx, sql, by.history, now, &verdicts).await?;
    let others: Vec<SetAside<'_>> = verdicts.iter().copied().filter_map(SetAside::by).collect();
    let changed = by.changes.is_some_and(|changes| changes != since);
    // An earlier try, whose answer was lost, may have begun what is not begun now.
    let unbegun = settlement.begin.filter(|_| changed).map(|batch| batch.number);
    if by.late {
        sqlx::query(sql.raise_changes.clone()).bind(by.epoch.0).execute(&mut *tx).await?;
    }
    let ended: Vec<i64> = settlement.ended.iter().copied().chain(unbegun).map(|number| number.0).collect();
    if !ended.is_empty() {
        sqlx::query(sql.end_batches.clone())
            .bind(json_list(ended))
            .bind(by.epoch.0)
            .execute(&mut *tx)
            .await?;
    }
    if !others.is_empty() {
        set_aside::set_aside(&mut tx, sql, now, &others).await?;
        let places: HashSet<i64> = others.iter().map(|message| message.seq).collect();
        settled(&mut tx, sql, by.epoch, &places).await?;
    }
    if let Some(batch) = settlement.begin.filter(|_| !changed) {
        sqlx::query(sql.begin_batch.clone())
            .bind(by.epoch.0)
            .bind(batch.number.0)
            .bind(batch.alone)
            .bind(json_list(places(batch)))
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    Ok(if unbegun.is_some() { Fence::Changed } else { Fence::Held })
}

/// The places in their order, each with its mark, if every verdict says of a fresh message that it was delivered.
fn fresh_and_delivered(verdicts: &[(Place, Verdict)]) -> Option<Vec<(i64, i64)>> {
    let place = |(place, verdict): &(Place, Verdict)| {
        let delivered = place::is_fresh(place) && matches!(verdict, Verdict::Delivered { .. });
        delivered.then_some((place.seq, place::mark(place)))
    };
    let mut places: Vec<(i64, i64)> = verdicts.iter().map(place).collect::<Option<_>>()?;
    places.sort_unstable();
    Some(places)
}

/// [`settle`] in one flight, for the case that is nearly every one. `None` when something was not as expected, as after
/// an act of a person: what was written is right then, and the long way writes it again with the rest.
async fn settle_delivered(
    connection: &mut MySqlConnection,
    sql: &Statements,
    by: By,
    settlement: &Settlement<'_>,
    slots: i64,
    delivered: Vec<(i64, i64)>,
) -> Result<Option<Fence>, sqlx::Error> {
    /// The position of the statement in the script that deletes the messages.
    const DELETE: usize = 4;
    let next = settlement.begin;
    let count = delivered.len() as u64;
    let receipts = if by.history { receipts(settlement.verdicts.iter())? } else { "[]".to_owned() };
    let script = Script::new(&sql.settle_delivered)
        .number("changes", by.changes)
        .number("epoch", Some(by.epoch.0))
        .number("slots", Some(slots))
        .value("receipts", Value::Text(Some(&receipts)))
        .pairs("places", delivered)
        .list("ended", settlement.ended.iter().map(|number| number.0))
        .number("batch", next.map(|batch| batch.number.0))
        .number("alone", Some(next.is_some_and(|batch| batch.alone).into()))
        .list("next", next.map(places).unwrap_or_default());
    // The server runs the statements of a script one after another, and stops at the first error.
    let mut answers = script.run().fetch_many(connection);
    let (mut held, mut unchanged, mut statement, mut deleted) = (false, false, 0, 0);
    while let Some(answer) = answers.try_next().await? {
        match answer {
            Either::Right(row) => (held, unchanged) = (row.try_get(0)?, row.try_get(1)?),
            Either::Left(done) => {
                if statement == DELETE {
                    deleted = done.rows_affected();
                }
                statement += 1;
            }
        }
    }
    Ok(match (held, unchanged || next.is_none(), deleted == count) {
        (false, ..) => Some(Fence::Lost),
        (true, true, true) => Some(Fence::Held),
        _ => None,
    })
}

/// The verdicts on messages that have their places still; what becomes of the others, nobody here can say.
async fn still_there<'v>(
    tx: &mut MySqlConnection,
    sql: &Statements,
    verdicts: &'v [(Place, Verdict)],
) -> Result<Vec<&'v (Place, Verdict)>, sqlx::Error> {
    if verdicts.is_empty() {
        return Ok(Vec::new());
    }
    let marked = json_pairs(verdicts.iter().map(|(place, _)| (place.seq, place::mark(place))));
    let there: Vec<i64> = sqlx::query_scalar(sql.still_there.clone()).bind(marked).fetch_all(tx).await?;
    let there: HashSet<i64> = there.into_iter().collect();
    Ok(verdicts.iter().filter(|(place, _)| there.contains(&place.seq)).collect())
}

/// The slots that a settlement is about, a bit each.
fn slots(settlement: &Settlement<'_>) -> i64 {
    let settled = settlement.verdicts.iter().map(|(place, _)| place.slot);
    let begun = settlement.begin.iter().flat_map(|batch| &batch.places).map(|place| place.slot);
    decode::bits(settled.chain(begun))
}

fn places(batch: &Batch) -> Vec<i64> {
    batch.places.iter().map(|place| place.seq).collect()
}

/// The places of a journal row.
pub(super) fn parse_places(places: &str) -> Result<Vec<i64>, sqlx::Error> {
    serde_json::from_str(places).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// Takes `settled` out of the open batches: what was set aside is not in flight any more.
async fn settled(
    tx: &mut MySqlConnection,
    sql: &Statements,
    epoch: Epoch,
    settled: &HashSet<i64>,
) -> Result<(), sqlx::Error> {
    let open: Vec<(i64, String)> =
        sqlx::query_as(sql.open_batches.clone()).bind(epoch.0).fetch_all(&mut *tx).await?;
    for (batch_no, places) in open {
        let before = parse_places(&places)?;
        let left: Vec<i64> = before.iter().copied().filter(|place| !settled.contains(place)).collect();
        if left.len() < before.len() {
            sqlx::query(sql.cut_batch.clone())
                .bind(json_list(left))
                .bind(epoch.0)
                .bind(batch_no)
                .execute(&mut *tx)
                .await?;
        }
    }
    Ok(())
}

/// Deletes what was delivered; where that frees a key, the next of it becomes due.
async fn delivered(
    tx: &mut MySqlConnection,
    sql: &Statements,
    history: bool,
    now: i64,
    verdicts: &[&(Place, Verdict)],
) -> Result<(), sqlx::Error> {
    let (mut fresh, mut others) = (Vec::with_capacity(verdicts.len()), Vec::new());
    for (place, verdict) in verdicts {
        if matches!(verdict, Verdict::Delivered { .. }) {
            if place::is_fresh(place) { fresh.push(place.seq) } else { others.push(place.seq) }
        }
    }
    if history && !(fresh.is_empty() && others.is_empty()) {
        let receipts = receipts(verdicts.iter().copied())?;
        sqlx::query(sql.history_delivered.clone()).bind(now).bind(receipts).execute(&mut *tx).await?;
    }
    if !fresh.is_empty() && delete(tx, sql, &mut fresh).await? < fresh.len() as u64 {
        // Gone already, or moved since it was claimed.
        others.append(&mut fresh);
    }
    if !others.is_empty() {
        let keys = delete_deferred(tx, sql, &mut others).await?;
        if keys.len() < others.len() {
            delete(tx, sql, &mut others).await?;
        }
        set_aside::promote(tx, sql, now, keys).await?;
    }
    Ok(())
}

/// Deletes fresh messages, in the order of their places; answers how many there were.
pub(super) async fn delete(
    tx: &mut MySqlConnection,
    sql: &Statements,
    places: &mut [i64],
) -> Result<u64, sqlx::Error> {
    places.sort_unstable();
    let list = json_list(places.iter().copied());
    Ok(sqlx::query(sql.delete_delivered.clone()).bind(list).execute(tx).await?.rows_affected())
}

/// Deletes messages set aside, in the order of their places; answers the keys of those that were there.
pub(super) async fn delete_deferred(
    tx: &mut MySqlConnection,
    sql: &Statements,
    places: &mut [i64],
) -> Result<Vec<(String, Option<String>)>, sqlx::Error> {
    places.sort_unstable();
    let list = json_list(places.iter().copied());
    let keys = sqlx::query_as(sql.keys_of.clone()).bind(&list).fetch_all(&mut *tx).await?;
    sqlx::query(sql.delete_deferred.clone()).bind(list).execute(tx).await?;
    Ok(keys)
}

/// The places that were delivered, their receipts, and their marks, as JSON.
fn receipts<'v>(verdicts: impl Iterator<Item = &'v (Place, Verdict)>) -> Result<String, sqlx::Error> {
    let receipt = |(place, verdict): &'v (Place, Verdict)| match verdict {
        Verdict::Delivered { receipt } => Some((place.seq, receipt.as_deref(), place::mark(place))),
        _ => None,
    };
    let mut receipts: Vec<(i64, Option<&str>, i64)> = verdicts.filter_map(receipt).collect();
    receipts.sort_unstable();
    to_json(&receipts)
}
