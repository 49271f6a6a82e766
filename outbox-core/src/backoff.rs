//! For services that configure the `backoff` crate: its settings as our policy, its error as our outcome.

use std::time::Duration;

use crate::{DeliveryError, ExponentialBackoff, Outcome};

/// Takes over initial interval, multiplier, cap, randomisation and `max_elapsed_time` (as the maximum age, measured
/// from when the message could first be delivered). Where `backoff` counts from the first try and keeps a running
/// interval in memory, this is a pure function of the attempt. There is no limit on attempts, as there.
impl<C> From<&backoff::exponential::ExponentialBackoff<C>> for ExponentialBackoff {
    fn from(theirs: &backoff::exponential::ExponentialBackoff<C>) -> Self {
        Self::default()
            .with_initial(theirs.initial_interval)
            .with_multiplier(theirs.multiplier)
            .with_max_delay(theirs.max_interval)
            .with_max_attempts(None)
            .with_max_age(theirs.max_elapsed_time)
            .with_jitter_around(theirs.randomization_factor)
    }
}

impl<C> From<backoff::exponential::ExponentialBackoff<C>> for ExponentialBackoff {
    fn from(theirs: backoff::exponential::ExponentialBackoff<C>) -> Self {
        Self::from(&theirs)
    }
}

/// `Permanent` and `Transient` keep their meaning; the text is the error's own.
impl<E: std::fmt::Display> From<backoff::Error<E>> for Outcome {
    fn from(error: backoff::Error<E>) -> Self {
        match error {
            backoff::Error::Permanent(error) => Self::permanent(error.to_string()),
            backoff::Error::Transient { err, retry_after } => {
                let retry_after: Option<Duration> = retry_after;
                Self::Transient { retry_after, error: DeliveryError::new(err.to_string()) }
            }
        }
    }
}
