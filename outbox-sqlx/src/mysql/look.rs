//! A look at places of fresh messages, whether they are committed or not.

use futures_util::TryStreamExt;
use sqlx::{Either, MySqlConnection, Row};

use super::script::Script;
use super::statements::Statements;

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
