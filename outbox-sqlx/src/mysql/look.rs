//! [`Look`]: what a claim needs to know before it takes rows; and a look at places of fresh messages, whether they are
//! committed or not.

use futures_util::TryStreamExt;
use outbox_core::Epoch;
use sqlx::mysql::MySqlRow;
use sqlx::{Either, MySqlConnection, Row};

use super::script::Script;
use super::statements::Statements;

/// The state of the outbox at a moment.
pub(super) struct Look {
    /// In microseconds.
    pub(super) now: i64,
    /// The count of a person's acts; none for a session that is gone.
    pub(super) changes: Option<i64>,
    /// A key may be blocked.
    pub(super) blocked: bool,
    /// Something set aside is due, or will be.
    pub(super) due: bool,
}

impl Look {
    /// What session `epoch` needs to know.
    pub(super) async fn ask(
        connection: &mut MySqlConnection,
        sql: &Statements,
        epoch: Epoch,
    ) -> Result<Self, sqlx::Error> {
        Self::of(&sqlx::query(sql.look.clone()).bind(epoch.0).fetch_one(connection).await?, 0)
    }

    /// Reads the four columns from `first` on.
    pub(super) fn of(row: &MySqlRow, first: usize) -> Result<Self, sqlx::Error> {
        let (now, changes) = (row.try_get(first)?, row.try_get(first + 1)?);
        Ok(Self { now, changes, blocked: row.try_get(first + 2)?, due: row.try_get(first + 3)? })
    }
}

/// The places in `ranges` of which committed messages lie, and then all of which any lie, also those of transactions
/// that are still open; the lowest `most` of both, in order. Takes no locks and waits for none.
pub(super) async fn look_twice(
    connection: &mut MySqlConnection,
    sql: &Statements,
    ranges: &[(i64, i64)],
    most: i64,
) -> Result<(Vec<i64>, Vec<i64>), sqlx::Error> {
    let script = Script::new(&sql.places_twice).ranges("ranges", ranges).number("limit", Some(most));
    let (mut lists, mut list) = ([Vec::new(), Vec::new(), Vec::new()], 0);
    let mut answers = script.run().fetch_many(connection);
    while let Some(answer) = answers.try_next().await? {
        match answer {
            Either::Right(row) => lists[list].push(row.try_get(0)?),
            Either::Left(_) => list = (list + 1).min(2),
        }
    }
    // The statement in the middle sets the isolation, and brings no rows.
    let [committed, _, all] = lists;
    Ok((committed, all))
}
