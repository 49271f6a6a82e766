//! [`MemoryOutbox`]: a store in this process's memory, with transactions.

mod admin;
mod aside;
mod claim;
mod clock;
mod ended;
mod session;
mod store;
mod tables;
mod transaction;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::WakeUp;
use clock::Clock;
use tables::Tables;

pub use transaction::MemoryTransaction;

/// An outbox in this process's memory, with transactions, for the tests of services that use an outbox, and as the
/// plainest complete example of a store. It keeps every promise of a store but one: its messages end with the process.
///
/// Clones share the same messages. Time passes as usual, and [`advance`](Self::advance) moves it forward, so that
/// a test sees retries, schedules and expired leases without sleeping.
///
/// ```
/// use std::time::Duration;
/// use outbox_core::{Enqueue, MemoryOutbox, NewMessage};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let outbox = MemoryOutbox::new();
/// let mut tx = outbox.begin();
/// outbox.enqueue(&mut tx, &[NewMessage::builder("orders").key("order-7").build()?]).await?;
/// outbox.commit(tx); // dropping `tx` instead rolls back
/// outbox.advance(Duration::from_secs(3600));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryOutbox {
    shared: Arc<Shared>,
}

struct Shared {
    tables: Mutex<Tables>,
    clock: Clock,
    bell: WakeUp,
    /// Tells who waits for another transaction that one has ended.
    transaction_ended: Notify,
    retention: Retention,
}

/// How long what has ended is remembered.
#[derive(Debug, Clone, Copy)]
struct Retention {
    idempotency: Duration,
    inbox: Duration,
    history: Option<Duration>,
}

/// Builds a [`MemoryOutbox`] whose retention differs from the defaults.
#[derive(Debug)]
#[must_use = "the outbox is made by `build`"]
pub struct MemoryOutboxBuilder {
    retention: Retention,
}

const DAY: Duration = Duration::from_secs(24 * 3600);

impl MemoryOutbox {
    /// An empty outbox: idempotency keys are known for 7 days, the inbox remembers for 30 days, no history is kept.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Starts an outbox with a retention of its own.
    pub fn builder() -> MemoryOutboxBuilder {
        MemoryOutboxBuilder { retention: Retention { idempotency: 7 * DAY, inbox: 30 * DAY, history: None } }
    }

    /// Opens a transaction. It ends with [`commit`](Self::commit); dropping it rolls back.
    #[must_use = "a transaction that is dropped is rolled back"]
    pub fn begin(&self) -> MemoryTransaction {
        MemoryTransaction::open(Arc::clone(&self.shared))
    }

    /// Commits what was enqueued in `tx` and wakes the dispatcher. Places are given here, so messages go out in the
    /// order of their commits.
    pub fn commit(&self, tx: MemoryTransaction) {
        tx.commit();
    }

    /// Moves this outbox's clock forward: what was to happen within `by` is due now.
    pub fn advance(&self, by: Duration) {
        self.shared.clock.advance(by);
        self.shared.bell.committed();
    }
}

impl Default for MemoryOutbox {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryOutbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryOutbox").field("retention", &self.shared.retention).finish_non_exhaustive()
    }
}

impl MemoryOutboxBuilder {
    /// How long an idempotency key is known: 7 days unless set.
    pub const fn idempotency_retention(mut self, retention: Duration) -> Self {
        self.retention.idempotency = retention;
        self
    }

    /// How long the inbox remembers a handled message: 30 days unless set.
    pub const fn inbox_retention(mut self, retention: Duration) -> Self {
        self.retention.inbox = retention;
        self
    }

    /// Keeps a record (without payload) of what was delivered or discarded, for `retention`; off unless set.
    pub const fn history(mut self, retention: Duration) -> Self {
        self.retention.history = Some(retention);
        self
    }

    /// The outbox.
    #[must_use]
    pub fn build(self) -> MemoryOutbox {
        MemoryOutbox {
            shared: Arc::new(Shared {
                tables: Mutex::new(Tables::new(self.retention.history.is_some())),
                clock: Clock::new(),
                bell: WakeUp::new(),
                transaction_ended: Notify::new(),
                retention: self.retention,
            }),
        }
    }
}

impl Shared {
    /// Never held across an await. A panic below leaves no half-written table behind worth refusing everybody.
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
