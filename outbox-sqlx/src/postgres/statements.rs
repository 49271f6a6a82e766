//! The SQL of one outbox: the files in `sql/`, with its table prefix.

use std::sync::Arc;

use outbox_core::{StoreError, StoreErrorKind};
use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

/// What stands for the table prefix in the SQL files, and the default one.
pub(super) const DEFAULT_PREFIX: &str = "outbox_";

macro_rules! statements {
    ($($name:ident)*) => {
        /// Every statement of an outbox, ready to run.
        #[derive(Debug)]
        pub(super) struct Statements {
            $(pub(super) $name: SqlStr,)*
        }

        impl Statements {
            /// The statements of the outbox with `prefix`, which [`check_prefix`] has let pass.
            pub(super) fn new(prefix: &str) -> Self {
                Self {
                    $($name: statement(include_str!(concat!("sql/", stringify!($name), ".sql")), prefix),)*
                }
            }
        }

        #[cfg(test)]
        impl Statements {
            /// The statements by the name of their files.
            pub(super) fn all(&self) -> Vec<(&'static str, &SqlStr)> {
                vec![$((stringify!($name), &self.$name)),*]
            }
        }
    };
}

statements! {
    acts_of begin_batch blocked_keys claim_due claim_first claim_late claim_on clock counts
    delete_deferred delete_delivered due_places due_topics end_batches end_session enqueued_in fence
    fence_expired find first_time forget_sessions give_back history_delivered history_discarded
    hold_back in_flight insert_messages insert_messages_once known_keys list load_fresh
    load_set_aside lock_leases lock_schema look new_session orphans orphans_gone places_of_ids
    places_of_states promote raise_changes record_discard record_redrive redrivable redrive_dead
    renew_session schema_exists schema_version set_aside_again set_aside_fresh settle_delivered
    settle_delivered_noted settled_places start_anew standing take_slots tidy_acts tidy_history tidy_idempotency tidy_inbox
    unblocked_keys wait_behind
}

/// Refuses a prefix that could be anything but the beginning of a plain name.
pub(super) fn check_prefix(prefix: &str) -> Result<(), StoreError> {
    let mut bytes = prefix.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    let rest = bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if first && rest && prefix.len() <= 40 {
        return Ok(());
    }
    Err(StoreError::new(
        StoreErrorKind::Invalid,
        format!(
            "the table prefix {prefix:?} is refused; take at most 40 ASCII letters, digits and underscores, \
             not beginning with a digit"
        ),
    ))
}

/// `text` with `prefix` in the place of the default one.
pub(super) fn with_prefix(text: &str, prefix: &str) -> String {
    text.replace(DEFAULT_PREFIX, prefix)
}

/// Only file contents and the checked prefix get here, never data.
fn statement(text: &str, prefix: &str) -> SqlStr {
    let code: Vec<&str> = text.lines().filter(|line| !line.starts_with("--")).collect();
    AssertSqlSafe(Arc::<str>::from(with_prefix(&code.join("\n"), prefix))).into_sql_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_taken_as_prefix() {
        for good in ["outbox_", "_", "a", "Orders2_", &"x".repeat(40)] {
            assert!(check_prefix(good).is_ok(), "{good:?}");
        }
        for bad in ["", "2x", "a-b", "a b", "a.b", "a\"b", "x; DROP TABLE y; --", "ä", &"x".repeat(41)] {
            assert!(check_prefix(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn statements_carry_the_prefix_everywhere() {
        for (name, sql) in Statements::new("other_").all() {
            assert!(!sql.as_str().contains(DEFAULT_PREFIX), "{name}");
        }
    }
}
