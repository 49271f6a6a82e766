//! [`IdleLimit`]: when the server ends a transaction whose dispatcher is not heard of any more.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// For how long a transaction of a dispatcher may idle. Where a connection goes silent and nobody closes it, the locks
/// of its transaction stay in a successor's way so long; so no longer than the lease, after which a successor comes.
///
/// It holds for connections that are opened after it was set: the first call of a dispatcher tells the lease.
#[derive(Debug)]
pub(crate) struct IdleLimit(AtomicU64);

impl IdleLimit {
    /// Between two statements of a transaction a process that is well does not wait for so long.
    const SHORTEST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(10);

    /// A dispatcher runs with this lease.
    pub(crate) fn suit(&self, lease: Duration) {
        let limit = lease.clamp(Self::SHORTEST, Self::LONGEST);
        self.0.store(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

impl Default for IdleLimit {
    fn default() -> Self {
        let limit = Self(AtomicU64::default());
        limit.suit(Self::LONGEST);
        limit
    }
}
