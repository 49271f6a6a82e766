//! Times as the outbox counts them: microseconds since 1970.

use std::time::{Duration, SystemTime};

/// Microseconds from 1970 to `time`.
pub(crate) fn of(time: SystemTime) -> i64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => duration(after),
        Err(before) => -duration(before.duration()),
    }
}

/// A duration in microseconds; more than 300 years count as 300 years, so that sums with the clock stay in range.
pub(crate) fn duration(duration: Duration) -> i64 {
    const MAX: i64 = 300 * 365 * 24 * 3_600 * 1_000_000;
    i64::try_from(duration.as_micros()).unwrap_or(MAX).min(MAX)
}

/// The moment that is `micros` after (or before) 1970.
pub(crate) fn moment(micros: i64) -> Option<SystemTime> {
    let distance = Duration::from_micros(micros.unsigned_abs());
    if micros >= 0 {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    }
}

/// `micros` as a duration; zero when negative.
pub(crate) fn positive(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}
