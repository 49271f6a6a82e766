//! How errors of sqlx become [`StoreError`]s.

use outbox_core::{StoreError, StoreErrorKind};
use sqlx::mysql::MySqlDatabaseError;

/// The [`StoreError`] of `error`, which happened while the outbox wanted to `what`.
pub(super) fn store_error(what: &str, error: sqlx::Error) -> StoreError {
    let (kind, advice) = match &error {
        sqlx::Error::Database(_) => of_number(number(&error), sql_state(&error)),
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
            (StoreErrorKind::Unavailable, "the server cannot be reached; check it and try again")
        }
        sqlx::Error::PoolTimedOut => {
            // A server that cannot be reached looks the same: the pool goes on trying to connect until the end.
            (
                StoreErrorKind::Unavailable,
                "the pool had no connection in time: the server cannot be reached, or all connections are in use; \
                 check the server, and how large the pool is",
            )
        }
        sqlx::Error::PoolClosed => (StoreErrorKind::Unavailable, "the pool is closed; open it again"),
        _ => (StoreErrorKind::Other, "this is not expected; see the error below"),
    };
    StoreError::new(kind, format!("could not {what}: {advice}")).with_source(error)
}

/// Whether another transaction was in the way, so that the same may succeed a moment later.
pub(super) fn was_in_the_way(error: &sqlx::Error) -> bool {
    matches!(number(error), 1205 | 1213 | 1020)
}

/// Whether the server ended the connection or the call, or the connection broke: what became of a commit that was on its
/// way, nobody can say.
pub(super) fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(_) => {
            let ended = matches!(number(error), 1053 | 1077..=1080 | 1317 | 1927 | 1969 | 3024 | 4031);
            ended || sql_state(error).starts_with("08")
        }
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
            true
        }
        _ => false,
    }
}

/// Whether a key of a unique index is there already.
pub(super) fn is_duplicate(error: &sqlx::Error) -> bool {
    number(error) == 1062
}

/// Whether a table is missing.
pub(super) fn is_missing(error: &sqlx::Error) -> bool {
    number(error) == 1146
}

fn number(error: &sqlx::Error) -> u16 {
    let database = error.as_database_error().and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>());
    database.map_or(0, MySqlDatabaseError::number)
}

fn sql_state(error: &sqlx::Error) -> &str {
    let database = error.as_database_error().and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>());
    database.and_then(MySqlDatabaseError::code).unwrap_or_default()
}

/// By the number, <https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html> and
/// <https://mariadb.com/kb/en/mariadb-error-code-reference/>, and by the class of the SQLSTATE.
fn of_number(number: u16, sql_state: &str) -> (StoreErrorKind, &'static str) {
    use StoreErrorKind::{Invalid, Other, Schema, Unavailable};
    match number {
        1146 | 1054 => {
            (Schema, "the tables are missing or too old; run `MySqlOutbox::migrate`, and check the database")
        }
        1142 | 1143 | 1227 | 1370 => (Schema, "the user lacks a right on the outbox tables; grant it"),
        1419 => (
            Schema,
            "the server lets only an administrator create triggers; set log_bin_trust_function_creators, or let one \
             run the migrations",
        ),
        1665 => (
            Schema,
            "the server writes its binary log by statement, which READ COMMITTED does not allow; set its binlog_format \
             to ROW or MIXED",
        ),
        1205 | 1213 | 1020 | 3572 => {
            (Unavailable, "another transaction was in the way; roll this one back and try again")
        }
        1317 | 1969 | 3024 => (Unavailable, "it took too long and was cancelled; try again"),
        1290 | 1792 | 1836 => {
            (Unavailable, "the server is read-only, perhaps a replica; connect to the primary")
        }
        1153 => (Invalid, "a message is larger than the server takes; raise its max_allowed_packet"),
        1406 => (Invalid, "a text is longer than its column; shorten it"),
        1040 | 1053 | 1077..=1080 | 1203 | 1226 | 1927 | 4031 => {
            (Unavailable, "the server is not available; check it and try again")
        }
        1021 | 1037 | 1041 | 1114 | 1180 => {
            (Unavailable, "the server is out of room; check it and try again")
        }
        1044 | 1045 | 1049 | 1130 | 1698 => {
            (Unavailable, "the server refuses the login; check the user and the database")
        }
        _ if sql_state.starts_with("08") => {
            (Unavailable, "the server is not available; check it and try again")
        }
        _ => (Other, "this is not expected; see the error below"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_say_what_a_program_can_do() {
        let kind = |number| of_number(number, "").0;
        assert_eq!(kind(1146), StoreErrorKind::Schema);
        assert_eq!(kind(1665), StoreErrorKind::Schema);
        assert_eq!(kind(1213), StoreErrorKind::Unavailable);
        assert_eq!(kind(1053), StoreErrorKind::Unavailable);
        assert_eq!(kind(1153), StoreErrorKind::Invalid);
        assert_eq!(kind(1062), StoreErrorKind::Other);
        assert_eq!(of_number(9999, "08S01").0, StoreErrorKind::Unavailable);
        assert_eq!(of_number(9999, "").0, StoreErrorKind::Other);
    }
}
