//! [`Settings`]: how a dispatcher behaves, with the defaults in one place.

use std::time::Duration;

use thiserror::Error;

/// How a dispatcher behaves. The defaults suit a service; every figure is per dispatcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How long the store keeps this dispatcher's slots after its last sign of life: 30 s. After a crash,
    /// a successor starts at most this much later. It renews every third of it.
    pub lease: Duration,
    /// Messages begun and settled together at most ("messages per poll" elsewhere): 500. As many are read together,
    /// or an eighth of what a route may hold (`max_held` over all routes), if that is more.
    pub batch: usize,
    /// Messages held in memory at most, over all routes: 4,000.
    pub max_held: usize,
    /// Payload bytes held in memory at most, over all routes: 64 MiB. One message may exceed it alone.
    pub max_held_bytes: usize,
    /// The shortest wait between two looks at an idle outbox ("polling interval" elsewhere): 25 ms.
    pub poll_min: Duration,
    /// The longest wait, reached by doubling while nothing comes: 2 s, and three times that while the store hears
    /// of commits in other processes. A commit that rings the bell does not wait.
    pub poll_max: Duration,
    /// The deadline of each call to the store: 10 s, and never more than half of the lease.
    pub store_deadline: Duration,
    /// How long shutdown waits for what is in flight: 30 s.
    pub shutdown_within: Duration,
    /// How often what retention no longer keeps is removed, in small steps: 60 s.
    pub tidy_every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(30),
            batch: 500,
            max_held: 4_000,
            max_held_bytes: 64 * 1024 * 1024,
            poll_min: Duration::from_millis(25),
            poll_max: Duration::from_secs(2),
            store_deadline: Duration::from_secs(10),
            shutdown_within: Duration::from_secs(30),
            tidy_every: Duration::from_secs(60),
        }
    }
}

impl Settings {
    pub(super) fn check(&self) -> Result<(), BuildError> {
        let refuse = |setting, reason| Err(BuildError::Setting { setting, reason });
        if self.lease < Duration::from_millis(100) {
            return refuse("lease", "must be at least 100 ms, or it runs out between two renewals");
        }
        if self.batch == 0 || self.max_held < self.batch {
            return refuse("max_held", "must be at least `batch`, and `batch` at least 1");
        }
        if self.max_held_bytes == 0 {
            return refuse("max_held_bytes", "must be at least 1");
        }
        if self.poll_min.is_zero() || self.poll_max < self.poll_min {
            return refuse("poll_max", "must be at least `poll_min`, and `poll_min` more than zero");
        }
        if self.store_deadline.is_zero() {
            return refuse("store_deadline", "must be more than zero");
        }
        if self.tidy_every.is_zero() {
            return refuse("tidy_every", "must be more than zero");
        }
        Ok(())
    }

    pub(super) fn store_deadline(&self) -> Duration {
        self.store_deadline.min(self.lease / 2)
    }
}

/// A dispatcher could not be built.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A setting makes no sense.
    #[error("the setting `{setting}` {reason}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No route: nothing could ever be delivered.
    #[error("the dispatcher has no route; add one with `route(Route::topic(…, transport))`")]
    NoRoute,
    /// Two routes for the same topic or prefix.
    #[error("there are two routes for {topic:?}; keep one")]
    TwoRoutes {
        /// The topic or prefix.
        topic: String,
    },
}
