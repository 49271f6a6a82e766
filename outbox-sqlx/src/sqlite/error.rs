//! How errors of sqlx become [`StoreError`]s.

use outbox_core::{StoreError, StoreErrorKind};

/// The [`StoreError`] of `error`, which happened while the outbox wanted to `what`.
pub(super) fn store_error(what: &str, error: sqlx::Error) -> StoreError {
    let (kind, advice) = match &error {
        sqlx::Error::Database(database) => {
            of_code(database.code().and_then(|code| code.parse().ok()), database.message())
        }
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed => {
            (StoreErrorKind::Unavailable, "the database cannot be reached; check its file and try again")
        }
        sqlx::Error::PoolClosed => (StoreErrorKind::Unavailable, "the pool is closed; open it again"),
        _ => (StoreErrorKind::Other, "this is not expected; see the error below"),
    };
    StoreError::new(kind, format!("could not {what}: {advice}")).with_source(error)
}

fn of_code(code: Option<i32>, message: &str) -> (StoreErrorKind, &'static str) {
    // The low byte of an extended code is the primary one, https://www.sqlite.org/rescode.html.
    match code.map(|code| code & 0xff) {
        Some(1) if message.starts_with("no such table") || message.starts_with("no such column") => {
            (StoreErrorKind::Schema, "the tables are missing or too old; run `SqliteOutbox::migrate`")
        }
        Some(5 | 6) => (
            StoreErrorKind::Unavailable,
            "another connection holds the database; try again, and begin transactions that write with \
             `SqliteOutbox::begin`",
        ),
        Some(8) => (
            StoreErrorKind::Unavailable,
            "the database is read-only; check the rights on its file and folder",
        ),
        Some(10) => (StoreErrorKind::Unavailable, "the disk reports an error; check it and try again"),
        Some(13) => (StoreErrorKind::Unavailable, "the disk is full; make room and try again"),
        Some(14) => (
            StoreErrorKind::Unavailable,
            "the file cannot be opened; check that it exists and may be written",
        ),
        _ => (StoreErrorKind::Other, "this is not expected; see the error below"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_sqlite_say_what_a_program_can_do() {
        let kind = |code, message| of_code(Some(code), message).0;
        assert_eq!(kind(5, "database is locked"), StoreErrorKind::Unavailable);
        assert_eq!(kind(517, "database is locked"), StoreErrorKind::Unavailable);
        assert_eq!(kind(13, "database or disk is full"), StoreErrorKind::Unavailable);
        assert_eq!(kind(1, "no such table: outbox_messages"), StoreErrorKind::Schema);
        assert_eq!(kind(1, "near \"x\": syntax error"), StoreErrorKind::Other);
        assert_eq!(kind(2067, "UNIQUE constraint failed"), StoreErrorKind::Other);
    }
}
