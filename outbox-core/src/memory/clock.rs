//! The outbox's clock: it never goes back, and tests move it forward.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A point in time, as the duration since the Unix epoch: adding to it saturates instead of panicking.
pub(super) type Moment = Duration;

pub(super) struct Clock {
    started: Instant,
    started_at: Moment,
    advanced: Mutex<Duration>,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            started_at: moment(SystemTime::now()),
            advanced: Mutex::new(Duration::ZERO),
        }
    }

    pub(super) fn now(&self) -> Moment {
        let advanced = *self.advanced.lock().unwrap_or_else(PoisonError::into_inner);
        self.started_at.saturating_add(self.started.elapsed()).saturating_add(advanced)
    }

    pub(super) fn advance(&self, by: Duration) {
        let mut advanced = self.advanced.lock().unwrap_or_else(PoisonError::into_inner);
        *advanced = advanced.saturating_add(by);
    }
}

/// `time` as a moment; times before 1970 count as 1970.
pub(super) fn moment(time: SystemTime) -> Moment {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// `moment` as a time; one that the platform cannot express counts as 1970.
pub(super) fn time(moment: Moment) -> SystemTime {
    UNIX_EPOCH.checked_add(moment).unwrap_or(UNIX_EPOCH)
}
