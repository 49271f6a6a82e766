//! What a person on call does. Each act is one transaction, or several for a whole state, in which the journal tells
//! what is in flight; it raises the count of changes of every owner, so that these drop what they hold in memory.

use std::collections::HashSet;

use outbox_core::{Act, MessageState, Selection, StoreError, StoreErrorKind, Tally};
use sqlx::{Connection, MySqlConnection};

use super::error::store_error;
use super::retry::Tries;
use super::script::json_list;
use super::set_aside;
use super::settle::{delete, delete_deferred, parse_places};
use super::statements::Statements;
use super::{Inner, to_json};
use crate::acts::{STEP, What};
use crate::admin::lies;
use crate::deadline::{ADMIN, within};
use crate::set_aside::SetAside;

/// Sends messages out again; answers how many.
pub(super) async fn redrive(inner: &Inner, what: &Selection, act: &Act) -> Result<u64, StoreError> {
    perform(inner, What::Redrive, what, act).await
}

/// Ends messages without delivering them; answers how many.
pub(super) async fn discard(inner: &Inner, what: &Selection, act: &Act) -> Result<u64, StoreError> {
    perform(inner, What::Discard { history: inner.retention.keeps_history }, what, act).await
}

async fn perform(inner: &Inner, what: What, selection: &Selection, act: &Act) -> Result<u64, StoreError> {
    act.check()?;
    let carry_out = "carry out the act";
    let failed = |error| store_error("carry out the act", error);
    let mut done = 0;
    match selection {
        Selection::Ids(ids) => {
            let ids: Vec<String> = ids.iter().map(|id| id.as_uuid().simple().to_string()).collect();
            let ids = to_json(&ids).map_err(failed)?;
            // Looked up before the write begins: this may read through all fresh messages.
            let look = async {
                sqlx::query_scalar(inner.sql.places_of_ids.clone())
                    .bind(&ids)
                    .bind(&ids)
                    .fetch_all(&inner.pool)
                    .await
                    .map_err(failed)
            };
            let places: Vec<i64> = within(ADMIN, carry_out, look).await?;
            if !places.is_empty() {
                let named = Step::Named(places);
                done = within(ADMIN, carry_out, step(inner, what, &named, act)).await?.done;
            }
        }
        Selection::All { topic, state } => {
            let states = what.takes(*state);
            let mut after = Some(i64::MIN).filter(|_| !states.is_empty());
            while let Some(place) = after {
                let rest = Step::After(place, topic.as_deref(), &states);
                let step = within(ADMIN, carry_out, step(inner, what, &rest, act)).await?;
                done += step.done;
                after = step.next;
            }
        }
    }
    Ok(done)
}

/// The messages of one transaction.
enum Step<'a> {
    Named(Vec<i64>),
    After(i64, Option<&'a str>, &'a [MessageState]),
}

/// What became of them.
#[derive(Default)]
struct Stepped {
    /// A message named is in flight: nothing was done.
    refused: bool,
    done: u64,
    next: Option<i64>,
}

async fn step(inner: &Inner, what: What, step: &Step<'_>, act: &Act) -> Result<Stepped, StoreError> {
    let mut tries = Tries::default();
    loop {
        let mut helper = inner.helper.take(&inner.sql).await?;
        match transaction(&mut helper.connection, &inner.sql, what, step, act).await {
            Ok(stepped) => {
                helper.keep();
                if stepped.refused {
                    return Err(StoreError::new(
                        StoreErrorKind::InFlight,
                        "a message named is in flight, nothing was done; try again once its delivery has ended",
                    ));
                }
                if stepped.done > 0 {
                    inner.wake_up.committed();
                }
                return Ok(stepped);
            }
            Err(error) => tries.again(helper, "carry out the act", error).await?,
        }
    }
}

async fn transaction(
    connection: &mut MySqlConnection,
    sql: &Statements,
    what: What,
    step: &Step<'_>,
    act: &Act,
) -> Result<Stepped, sqlx::Error> {
    let mut tx = connection.begin().await?;
    // Nothing changes hands meanwhile, and no settlement that begins a batch is half-way when the journal is read.
    sqlx::query(sql.lock_leases.clone()).execute(&mut *tx).await?;
    let owners: Vec<i64> = sqlx::query_scalar(sql.owners.clone()).fetch_all(&mut *tx).await?;
    for owner in owners {
        sqlx::query(sql.raise_changes.clone()).bind(owner).execute(&mut *tx).await?;
    }
    let in_flight = in_flight(&mut tx, sql).await?;
    let (mut places, next) = match step {
        Step::Named(places) => (places.clone(), None),
        Step::After(after, topic, states) => {
            let places = places_of_states(&mut tx, sql, *after, *topic, states).await?;
            let full = places.len() as i64 >= STEP;
            let next = places.last().copied().filter(|_| full);
            (places, next)
        }
    };
    let count = places.len();
    places.retain(|place| !in_flight.contains(place));
    if matches!(step, Step::Named(_)) && places.len() < count {
        tx.rollback().await?;
        return Ok(Stepped { refused: true, ..Stepped::default() });
    }
    let done = write(&mut tx, sql, what, &mut places, act).await?;
    if done > 0 {
        tx.commit().await?;
    } else {
        tx.rollback().await?;
    }
    Ok(Stepped { refused: false, done, next })
}

async fn in_flight(tx: &mut MySqlConnection, sql: &Statements) -> Result<HashSet<i64>, sqlx::Error> {
    let mut in_flight = HashSet::new();
    let batches: Vec<String> = sqlx::query_scalar(sql.journal.clone()).fetch_all(tx).await?;
    for places in batches {
        in_flight.extend(parse_places(&places)?);
    }
    Ok(in_flight)
}

async fn places_of_states(
    tx: &mut MySqlConnection,
    sql: &Statements,
    after: i64,
    topic: Option<&str>,
    states: &[MessageState],
) -> Result<Vec<i64>, sqlx::Error> {
    let names: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
    let names = names.join(",");
    let mut query = sqlx::query_scalar(sql.places_of_states.clone());
    for table in ["fresh", "set aside"] {
        // Scheduled messages lie in both.
        let wanted = states.iter().any(|state| lies(*state).is_none_or(|lies| lies == table));
        query = query.bind(wanted).bind(after).bind(topic).bind(&names).bind(STEP);
    }
    query.bind(STEP).fetch_all(tx).await
}

/// Does it to the messages at `places`, and records who and why.
async fn write(
    tx: &mut MySqlConnection,
    sql: &Statements,
    what: What,
    places: &mut [i64],
    act: &Act,
) -> Result<u64, sqlx::Error> {
    if places.is_empty() {
        return Ok(0);
    }
    let now = sqlx::query_scalar(sql.clock.clone()).fetch_one(&mut *tx).await?;
    match what {
        What::Redrive => write_redrive(tx, sql, now, places, act).await,
        What::Discard { history } => write_discard(tx, sql, now, history, places, act).await,
    }
}

async fn write_redrive(
    tx: &mut MySqlConnection,
    sql: &Statements,
    now: i64,
    places: &[i64],
    act: &Act,
) -> Result<u64, sqlx::Error> {
    let list = json_list(places.iter().copied());
    let found: Vec<(i64, String)> =
        sqlx::query_as(sql.redrivable.clone()).bind(list).fetch_all(&mut *tx).await?;
    let (mut dead, mut in_place) = (Vec::new(), Vec::new());
    for (seq, state) in &found {
        match state.as_str() {
            "dead" => dead.push(*seq),
            "parked" => in_place.push(SetAside::waiting(*seq, Some(Tally::default()))),
            _ => in_place.push(SetAside::waiting(*seq, None)),
        }
    }
    let list = json_list(found.iter().map(|(seq, _)| *seq));
    record(tx, &sql.record_redrive, &list, now, act).await?;
    sqlx::query(sql.start_anew.clone()).bind(list).bind(now).execute(&mut *tx).await?;
    if !dead.is_empty() {
        let list = json_list(dead.iter().copied());
        sqlx::query(sql.free_keys.clone()).bind(&list).execute(&mut *tx).await?;
        sqlx::query(sql.redrive_dead.clone()).bind(list).execute(&mut *tx).await?;
        delete_deferred(tx, sql, &mut dead).await?;
    }
    if !in_place.is_empty() {
        set_aside::set_aside(tx, sql, now, &in_place).await?;
    }
    Ok(found.len() as u64)
}

async fn write_discard(
    tx: &mut MySqlConnection,
    sql: &Statements,
    now: i64,
    history: bool,
    places: &mut [i64],
    act: &Act,
) -> Result<u64, sqlx::Error> {
    let list = json_list(places.iter().copied());
    record(tx, &sql.record_discard, &list, now, act).await?;
    if history {
        sqlx::query(sql.history_discarded.clone()).bind(now).bind(list).execute(&mut *tx).await?;
    }
    let fresh = delete(tx, sql, places).await?;
    let keys = delete_deferred(tx, sql, places).await?;
    let done = fresh + keys.len() as u64;
    set_aside::promote(tx, sql, now, keys).await?;
    Ok(done)
}

async fn record(
    tx: &mut MySqlConnection,
    statement: &sqlx::SqlStr,
    places: &str,
    now: i64,
    act: &Act,
) -> Result<(), sqlx::Error> {
    sqlx::query(statement.clone()).bind(&act.who).bind(&act.why).bind(now).bind(places).execute(tx).await?;
    Ok(())
}
