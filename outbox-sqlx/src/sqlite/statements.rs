//! The SQL of one outbox: the files in `sql/`, with its table prefix.

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use outbox_core::{StoreError, StoreErrorKind};

use crate::statement::{self, statement, statements};

/// How many rows an insert statement takes: full ones first, then the rest by tens and ones.
pub(super) const INSERT_ROWS: [usize; 3] = [100, 10, 1];
const INSERT_ROW: &str = "(?, ?, ?, ?, ?, ?, ?, ?, ?)";

statements! {
    /// One per entry of [`INSERT_ROWS`].
    insert_messages: [SqlStr; INSERT_ROWS.len()] = insert_messages,
    ;
    acts_of begin_batch claim_due claim_fresh claim_fresh_blocked clock committed_place counts
    delete_deferred delete_delivered due_places due_topics end_batches end_session enqueued_in fence
    fence_owner find first_time forget_keys history_delivered history_discarded hold_back in_flight
    known_keys list load_fresh load_set_aside look new_session orphans owner_gone places_of_ids
    places_of_states promote raise_changes record_discard record_redrive redrivable redrive_dead
    remove_set_aside renew_session schema_exists schema_version set_aside_again set_aside_fresh
    settle_delivered settled_places start_anew take_over tidy_acts tidy_history tidy_idempotency
    tidy_inbox unblocked_keys wait_behind
}

/// Refuses a prefix that could be anything but the beginning of a plain name, or that SQLite keeps for itself.
pub(super) fn check_prefix(prefix: &str) -> Result<(), StoreError> {
    if prefix.to_ascii_lowercase().starts_with("sqlite_") {
        let text =
            format!("the table prefix {prefix:?} is refused; take one that does not begin with sqlite_");
        return Err(StoreError::new(StoreErrorKind::Invalid, text));
    }
    statement::check_prefix(prefix)
}

/// Only file contents, the checked prefix and numbers of rows get here, never data.
fn insert_messages(prefix: &str) -> [SqlStr; INSERT_ROWS.len()] {
    let head = statement(include_str!("sql/insert_messages.sql"), prefix);
    INSERT_ROWS.map(|rows| {
        AssertSqlSafe(format!("{} {}", head.as_str(), vec![INSERT_ROW; rows].join(", "))).into_sql_str()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sqlite_keeps_for_itself_is_not_taken_as_prefix() {
        for bad in ["sqlite_x", "SQLite_", "2x"] {
            assert!(check_prefix(bad).is_err(), "{bad:?}");
        }
        assert!(check_prefix("outbox_").is_ok());
    }
}
