//! The settings of a [`PostgresOutbox`].

use std::time::Duration;

use outbox_core::StoreError;
use sqlx::postgres::{PgConnectOptions, PgPool};

use super::PostgresOutbox;
use crate::retention::Retention;
use crate::statement::{DEFAULT_PREFIX, check_prefix};

/// Builds a [`PostgresOutbox`] with settings of the caller's own.
#[derive(Debug, Clone)]
#[must_use = "the settings take effect in the outbox that `build` answers"]
pub struct PostgresOutboxBuilder {
    pub(super) pool: PgPool,
    pub(super) prefix: String,
    pub(super) retention: Retention,
    pub(super) notifications: bool,
    pub(super) own: Option<PgConnectOptions>,
    pub(super) behind_pooler: bool,
}

impl PostgresOutboxBuilder {
    pub(super) fn new(pool: PgPool) -> Self {
        let prefix = DEFAULT_PREFIX.to_owned();
        let retention = Retention::default();
        Self { pool, prefix, retention, notifications: true, own: None, behind_pooler: false }
    }

    /// What the names of the tables begin with: `outbox_` unless set. At most 40 ASCII letters, digits and
    /// underscores, not beginning with a digit. Each prefix in a schema is an outbox of its own; the `search_path` of
    /// the connections chooses the schema.
    pub fn table_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How long an idempotency key is remembered at least: 7 days unless set.
    pub fn idempotency_retention(mut self, keep: Duration) -> Self {
        self.retention.idempotency = keep;
        self
    }

    /// How long the inbox remembers a message at least: 30 days unless set. Longer than a redelivery can take.
    pub fn inbox_retention(mut self, keep: Duration) -> Self {
        self.retention.inbox = keep;
        self
    }

    /// Keeps a row, without payload, of every message that this outbox's dispatcher delivered or that was
    /// discarded; off unless set.
    pub fn history(mut self, keep: bool) -> Self {
        self.retention.keeps_history = keep;
        self
    }

    /// How long the history, and the record of what people did, are kept: 30 days unless set.
    pub fn history_retention(mut self, keep: Duration) -> Self {
        self.retention.history = keep;
        self
    }

    /// How the outbox opens connections of its own; as the pool does unless set. For a pool that leads through a pooler
    /// such as PgBouncer: name the server itself here, and dispatchers run as if there were none.
    pub fn own_connections(mut self, options: PgConnectOptions) -> Self {
        self.own = Some(options);
        self
    }

    /// Says that the connections of the pool lead through a pooler in transaction mode; off unless set. Statements on
    /// them are not prepared by name then; enqueue in a transaction only.
    ///
    /// Unless [`own_connections`](Self::own_connections) lead elsewhere, those go the same way: each use of them is a
    /// transaction that brings its settings along, which costs two more round trips, and nothing can listen there, so
    /// commits in other processes are found by polling.
    pub fn behind_pooler(mut self, behind: bool) -> Self {
        self.behind_pooler = behind;
        self
    }

    /// Whether commits wake the dispatchers of other processes by `NOTIFY`, and the dispatcher listens; on unless set.
    /// Without it they find messages by polling, and one connection less is opened for each part.
    pub fn notifications(mut self, on: bool) -> Self {
        self.notifications = on;
        self
    }

    /// The outbox. Opens nothing yet.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`](outbox_core::StoreErrorKind) when the table prefix is refused.
    pub fn build(self) -> Result<PostgresOutbox, StoreError> {
        check_prefix(&self.prefix)?;
        Ok(PostgresOutbox::with(self))
    }
}
