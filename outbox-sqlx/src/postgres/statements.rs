//! The SQL of one outbox: the files in `sql/`, with its table prefix.

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::{Query, QueryAs, QueryScalar};
use sqlx::{Postgres, SqlStr};

/// Defines `Statements`, with a field for each file in `sql/`. Not that of the other databases: here a statement also
/// knows whether it may be prepared.
macro_rules! statements {
    ($($name:ident)*) => {
        /// Every statement of an outbox, ready to run.
        #[derive(Debug)]
        pub(super) struct Statements {
            $(pub(super) $name: Statement,)*
        }

        impl Statements {
            /// The statements of the outbox with `prefix`, which `check_prefix` has let pass; prepared once per
            /// connection, or where that must not be, every time anew.
            pub(super) fn new(prefix: &str, prepared: bool) -> Self {
                Self {
                    $($name: Statement {
                        text: crate::statement::statement(
                            include_str!(concat!("sql/", stringify!($name), ".sql")), prefix),
                        prepared,
                    },)*
                }
            }
        }

        #[cfg(test)]
        #[test]
        fn statements_carry_the_prefix_everywhere() {
            let statements = Statements::new("other_", true);
            for (name, sql) in [$((stringify!($name), statements.$name.text())),*] {
                assert!(!sql.contains(crate::statement::DEFAULT_PREFIX), "{name}");
            }
        }
    };
}

statements! {
    acts_of blocked_keys claim_due claim_first claim_late claim_next claim_on clock counts
    delete_deferred delete_delivered due_places due_topics end_session enqueued_in
    fence_expired find first_time forget_sessions give_back history_delivered history_discarded
    hold_back in_flight insert_message insert_messages insert_messages_once known_keys list load_fresh
    load_set_aside lock_leases lock_schema look new_session orphans orphans_gone places_of_ids
    places_of_states promote raise_changes raise_own record_discard record_redrive redrivable redrive_dead
    renew_session schema_exists schema_version server set_aside_again set_aside_fresh settle_delivered
    settle_delivered_noted settled_places start_anew standing take_slots tidy_acts tidy_history tidy_idempotency
    tidy_inbox unbegin unblocked_keys wait_behind
}

/// A statement, ready to run.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    text: SqlStr,
    prepared: bool,
}

impl Statement {
    pub(super) fn query(&self) -> Query<'static, Postgres, PgArguments> {
        sqlx::query(self.text.clone()).persistent(self.prepared)
    }

    pub(super) fn text(&self) -> &str {
        self.text.as_str()
    }

    /// For the first column of the first row.
    pub(super) fn scalar<T>(&self) -> QueryScalar<'static, Postgres, T, PgArguments>
    where
        (T,): for<'r> sqlx::FromRow<'r, PgRow>,
    {
        sqlx::query_scalar(self.text.clone()).persistent(self.prepared)
    }

    /// For rows as tuples.
    pub(super) fn rows_as<T>(&self) -> QueryAs<'static, Postgres, T, PgArguments>
    where
        T: for<'r> sqlx::FromRow<'r, PgRow>,
    {
        sqlx::query_as(self.text.clone()).persistent(self.prepared)
    }
}
