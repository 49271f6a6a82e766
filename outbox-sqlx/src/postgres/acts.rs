//! What a person on call does. Each act is one transaction, or several for a whole state, in which the journal tells
//! what is in flight; it raises the count of changes of every owner, so that these drop what they hold in memory.

use outbox_core::{Act, MessageState, Selection, StoreError, StoreErrorKind, Tally};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Inner;
use super::admin::lies;
use super::error::store_error;
use super::micros::Micros;
use super::set_aside::{self, SetAside};
use super::statements::{Statement, Statements};
use crate::deadline::{ADMIN, within};

/// How many messages one transaction is about: other writers get a turn in between.
const STEP: i64 = 1_000;

#[derive(Clone, Copy)]
enum What {
    Redrive,
    Discard { history: bool },
}

impl What {
    /// The states of the messages that it can be done to.
    const fn takes(self) -> &'static [MessageState] {
        use MessageState::{Behind, Dead, Parked, Retrying, Scheduled, Waiting};
        match self {
            Self::Redrive => &[Dead, Parked, Retrying],
            Self::Discard { .. } => &[Waiting, Retrying, Behind, Scheduled, Dead, Parked],
        }
    }
}

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
            let ids: Vec<Uuid> = ids.iter().map(|id| *id.as_uuid()).collect();
            // Looked up before the write begins: this may read through all fresh messages.
            let look = async {
                let mut tx = inner.pool.begin().await.map_err(failed)?;
                inner.sql_of_pool.places_of_ids.scalar().bind(ids).fetch_all(&mut *tx).await.map_err(failed)
            };
            let places: Vec<i64> = within(ADMIN, carry_out, look).await?;
            if !places.is_empty() {
                let step = step(inner, what, Step::Named(places), act);
                done = within(ADMIN, carry_out, step).await?.done;
            }
        }
        Selection::All { topic, state } => {
            let mut states = what.takes().to_vec();
            states.retain(|takes| state.is_none_or(|state| state == *takes));
            let mut after = Some(i64::MIN).filter(|_| !states.is_empty());
            while let Some(place) = after {
                let rest = Step::After(place, topic.as_deref(), &states);
                let step = within(ADMIN, carry_out, step(inner, what, rest, act)).await?;
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

struct Stepped {
    done: u64,
    next: Option<i64>,
}

async fn step(inner: &Inner, what: What, step: Step<'_>, act: &Act) -> Result<Stepped, StoreError> {
    let failed = |error| store_error("carry out the act", error);
    let sql = &inner.sql;
    let mut helper = inner.helper.take(sql).await?;
    let mut tx = helper.transaction().await.map_err(failed)?;
    // Nothing changes hands meanwhile, and no settlement that begins a batch is half-way when the journal is read.
    sql.lock_leases.query().execute(&mut *tx).await.map_err(failed)?;
    sql.raise_changes.query().execute(&mut *tx).await.map_err(failed)?;
    let (places, next) = match step {
        Step::Named(places) => {
            let in_flight: bool =
                sql.in_flight.scalar().bind(&places).fetch_one(&mut *tx).await.map_err(failed)?;
            if in_flight {
                tx.rollback().await.map_err(failed)?;
                helper.keep();
                return Err(StoreError::new(
                    StoreErrorKind::InFlight,
                    "a message named is in flight, nothing was done; try again once its delivery has ended",
                ));
            }
            (places, None)
        }
        Step::After(after, topic, states) => {
            let places = places_of_states(&mut tx, sql, after, topic, states).await.map_err(failed)?;
            let full = places.len() as i64 >= STEP;
            let next = places.last().copied().filter(|_| full);
            (places, next)
        }
    };
    let done = write(&mut tx, sql, what, &places, act).await.map_err(failed)?;
    if done > 0 {
        tx.commit().await.map_err(failed)?;
    } else {
        tx.rollback().await.map_err(failed)?;
    }
    helper.keep();
    if done > 0 {
        inner.wake();
    }
    Ok(Stepped { done, next })
}

async fn places_of_states(
    tx: &mut PgConnection,
    sql: &Statements,
    after: i64,
    topic: Option<&str>,
    states: &[MessageState],
) -> Result<Vec<i64>, sqlx::Error> {
    let (names, lie): (Vec<_>, Vec<_>) = states.iter().map(|state| (state.as_str(), lies(*state))).unzip();
    let together =
        lie.first().copied().flatten().filter(|first| lie.iter().all(|lies| *lies == Some(*first)));
    sql.places_of_states
        .scalar()
        .bind(after)
        .bind(topic)
        .bind(names)
        .bind(together)
        .bind(STEP)
        .fetch_all(tx)
        .await
}

/// Does it to the messages at `places`, and records who and why.
async fn write(
    tx: &mut PgConnection,
    sql: &Statements,
    what: What,
    places: &[i64],
    act: &Act,
) -> Result<u64, sqlx::Error> {
    if places.is_empty() {
        return Ok(0);
    }
    let Micros(now) = sql.clock.scalar().fetch_one(&mut *tx).await?;
    match what {
        What::Redrive => write_redrive(tx, sql, now, places, act).await,
        What::Discard { history } => write_discard(tx, sql, now, history, places, act).await,
    }
}

async fn write_redrive(
    tx: &mut PgConnection,
    sql: &Statements,
    now: i64,
    places: &[i64],
    act: &Act,
) -> Result<u64, sqlx::Error> {
    let found: Vec<(i64, String)> = sql.redrivable.rows_as().bind(places).fetch_all(&mut *tx).await?;
    let (mut dead, mut in_place) = (Vec::new(), Vec::new());
    for (seq, state) in &found {
        match state.as_str() {
            "dead" => dead.push(*seq),
            "parked" => in_place.push(SetAside::new(*seq, "waiting", Some(0), Some(Tally::default()), None)),
            _ => in_place.push(SetAside::new(*seq, "waiting", Some(0), None, None)),
        }
    }
    let places: Vec<i64> = found.iter().map(|(seq, _)| *seq).collect();
    record(tx, &sql.record_redrive, &places, now, act).await?;
    sql.start_anew.query().bind(&places).bind(Micros(now)).execute(&mut *tx).await?;
    if !dead.is_empty() {
        sql.redrive_dead.query().bind(&dead).execute(&mut *tx).await?;
        sql.delete_deferred.query().bind(&dead).execute(&mut *tx).await?;
    }
    if !in_place.is_empty() {
        set_aside::set_aside(tx, sql, now, &in_place).await?;
    }
    Ok(found.len() as u64)
}

async fn write_discard(
    tx: &mut PgConnection,
    sql: &Statements,
    now: i64,
    history: bool,
    places: &[i64],
    act: &Act,
) -> Result<u64, sqlx::Error> {
    record(tx, &sql.record_discard, places, now, act).await?;
    if history {
        sql.history_discarded.query().bind(places).bind(Micros(now)).execute(&mut *tx).await?;
    }
    let fresh = sql.delete_delivered.query().bind(places).execute(&mut *tx).await?.rows_affected();
    let keys = sql.delete_deferred.rows_as().bind(places).fetch_all(&mut *tx).await?;
    let done = fresh + keys.len() as u64;
    set_aside::promote(tx, sql, now, keys).await?;
    Ok(done)
}

async fn record(
    tx: &mut PgConnection,
    statement: &Statement,
    places: &[i64],
    now: i64,
    act: &Act,
) -> Result<(), sqlx::Error> {
    statement.query().bind(places).bind(&act.who).bind(&act.why).bind(Micros(now)).execute(tx).await?;
    Ok(())
}
