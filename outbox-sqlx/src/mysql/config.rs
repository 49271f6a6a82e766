//! The settings of a [`MySqlOutbox`].

use std::time::Duration;

use outbox_core::StoreError;
use sqlx::mysql::MySqlPool;

use super::MySqlOutbox;
use crate::retention::Retention;
use crate::statement::{DEFAULT_PREFIX, check_prefix};

/// Builds a [`MySqlOutbox`] with settings of the caller's own.
#[derive(Debug, Clone)]
#[must_use = "the settings take effect in the outbox that `build` answers"]
pub struct MySqlOutboxBuilder {
    pool: MySqlPool,
    prefix: String,
    retention: Retention,
}

impl MySqlOutboxBuilder {
    pub(super) fn new(pool: MySqlPool) -> Self {
        Self { pool, prefix: DEFAULT_PREFIX.to_owned(), retention: Retention::default() }
    }

    /// What the names of the tables begin with: `outbox_` unless set. At most 40 ASCII letters, digits and
    /// underscores, not beginning with a digit. Each prefix in a database is an outbox of its own.
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

    /// The outbox. Opens nothing yet.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`](outbox_core::StoreErrorKind) when the table prefix is refused.
    pub fn build(self) -> Result<MySqlOutbox, StoreError> {
        check_prefix(&self.prefix)?;
        Ok(MySqlOutbox::with(self.pool, self.prefix, self.retention))
    }
}
