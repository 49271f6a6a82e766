//! What an outbox remembers of what has ended, with the defaults that every database shares.

use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// How long what has ended is kept.
#[derive(Debug, Clone)]
pub(crate) struct Retention {
    pub(crate) keeps_history: bool,
    pub(crate) history: Duration,
    pub(crate) idempotency: Duration,
    pub(crate) inbox: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self { keeps_history: false, history: 30 * DAY, idempotency: 7 * DAY, inbox: 30 * DAY }
    }
}
