//! How errors of sqlx become [`StoreError`]s.

use outbox_core::{StoreError, StoreErrorKind};

/// The [`StoreError`] of `error`, which happened while the outbox wanted to `what`.
pub(super) fn store_error(what: &str, error: sqlx::Error) -> StoreError {
    let (kind, advice) = match &error {
        sqlx::Error::Database(database) => of_state(database.code().as_deref().unwrap_or_default()),
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

/// Whether the server ended the connection, or it broke: what became of a commit that was on its way, nobody can say.
/// A server that is told to end while a commit waits for replicas has committed, and answers that it is shutting down.
pub(super) fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(database) => {
            let state = database.code().unwrap_or_default();
            state.starts_with("08") || state.starts_with("57P") || state == "40003"
        }
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
            true
        }
        _ => false,
    }
}

/// By the SQLSTATE, <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn of_state(state: &str) -> (StoreErrorKind, &'static str) {
    use StoreErrorKind::{Other, Schema, Unavailable};
    match state {
        "42P01" | "42703" | "42883" => (
            Schema,
            "the tables are missing or too old; run `PostgresOutbox::migrate`, and check the search_path",
        ),
        "42501" => (Schema, "the role lacks a right on the outbox tables; grant it"),
        "40001" | "40P01" | "55P03" => {
            (Unavailable, "another transaction was in the way; roll this one back and try again")
        }
        "57014" => (Unavailable, "it took too long and was cancelled; try again"),
        "25006" => (Unavailable, "the server is read-only, perhaps a replica; connect to the primary"),
        _ => match &state.as_bytes()[..state.len().min(2)] {
            b"08" | b"53" | b"57" | b"58" => {
                (Unavailable, "the server is not available; check it and try again")
            }
            b"28" | b"3D" => (Unavailable, "the server refuses the login; check the user and the database"),
            _ => (Other, "this is not expected; see the error below"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_of_postgresql_say_what_a_program_can_do() {
        let kind = |state| of_state(state).0;
        assert_eq!(kind("42P01"), StoreErrorKind::Schema);
        assert_eq!(kind("40P01"), StoreErrorKind::Unavailable);
        assert_eq!(kind("57P01"), StoreErrorKind::Unavailable);
        assert_eq!(kind("08006"), StoreErrorKind::Unavailable);
        assert_eq!(kind("53300"), StoreErrorKind::Unavailable);
        assert_eq!(kind("23505"), StoreErrorKind::Other);
        assert_eq!(kind(""), StoreErrorKind::Other);
        assert_eq!(kind("é"), StoreErrorKind::Other);
    }
}
