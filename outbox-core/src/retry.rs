//! When a failed message is tried again: pure policies, repeatable by message id and attempt.

use std::sync::Arc;
use std::time::Duration;

use crate::MessageId;

/// Decides what follows a failed attempt. Pure: no clock, no sleep, no state.
pub trait RetryPolicy: Send + Sync + 'static {
    /// The same failure always gets the same decision.
    fn decide(&self, failure: &Failure) -> Decision;
}

impl<P: RetryPolicy + ?Sized> RetryPolicy for Arc<P> {
    fn decide(&self, failure: &Failure) -> Decision {
        (**self).decide(failure)
    }
}

/// A failed attempt, as a policy sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// The message.
    pub message: MessageId,
    /// How many attempts have failed, this one included: from 1.
    pub attempt: u32,
    /// How long the message could have been delivered.
    pub age: Duration,
    /// What the destination asks to wait, however long that is; the policies of this crate heed it up to a day.
    pub retry_after: Option<Duration>,
    /// The message may have arrived.
    pub ambiguous: bool,
}

impl Failure {
    /// The wait that the destination may impose: what somebody else's clock or typing error says must not park a
    /// message for years.
    fn asked(&self) -> Duration {
        const LONGEST: Duration = Duration::from_secs(24 * 3600);
        self.retry_after.unwrap_or_default().min(LONGEST)
    }
}

/// What a policy decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Try again after this long.
    RetryIn(Duration),
    /// Make it a dead letter.
    GiveUp,
}

/// Delays that double (by default) up to a cap, each drawn evenly between zero and its ceiling ("full jitter"), so
/// that messages that failed together do not come back together.
///
/// By default: 1 s, doubled up to 1 h, 20 attempts, any age: about four hours on average. A destination that asks to
/// wait longer is heeded, up to one day.
#[derive(Debug, Clone, PartialEq)]
pub struct ExponentialBackoff {
    initial: Duration,
    multiplier: f64,
    max_delay: Duration,
    max_attempts: Option<u32>,
    max_age: Option<Duration>,
    jitter: Jitter,
}

/// Where in its interval a delay is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Jitter {
    /// Between zero and the ceiling.
    Full,
    /// Around the ceiling, plus or minus this share of it.
    #[cfg_attr(not(feature = "backoff"), allow(dead_code))]
    Around(f64),
}

impl Default for ExponentialBackoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(1),
            multiplier: 2.0,
            max_delay: Duration::from_secs(3600),
            max_attempts: Some(20),
            max_age: None,
            jitter: Jitter::Full,
        }
    }
}

impl ExponentialBackoff {
    /// The ceiling of the first delay.
    #[must_use]
    pub const fn with_initial(mut self, initial: Duration) -> Self {
        self.initial = initial;
        self
    }
    /// What each ceiling is multiplied by; below 1 (or not a number) counts as 1.
    #[must_use]
    pub const fn with_multiplier(mut self, multiplier: f64) -> Self {
        self.multiplier = if multiplier >= 1.0 { multiplier } else { 1.0 };
        self
    }
    /// The highest ceiling.
    #[must_use]
    pub const fn with_max_delay(mut self, max_delay: Duration) -> Self {
        self.max_delay = max_delay;
        self
    }
    /// How many attempts are made in all; `None` for no limit.
    #[must_use]
    pub const fn with_max_attempts(mut self, max_attempts: Option<u32>) -> Self {
        self.max_attempts = max_attempts;
        self
    }
    /// From which age on a failed attempt is the last; `None` for no limit. An outage alone never ends a message.
    #[must_use]
    pub const fn with_max_age(mut self, max_age: Option<Duration>) -> Self {
        self.max_age = max_age;
        self
    }
    #[cfg(feature = "backoff")]
    pub(crate) const fn with_jitter_around(mut self, share: f64) -> Self {
        self.jitter = Jitter::Around(share.clamp(0.0, 1.0));
        self
    }

    fn delay(&self, failure: &Failure) -> Duration {
        let exponent = i32::try_from(failure.attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        // Kept finite, since nothing times infinity is not a number; what is too large is cut by the cap.
        let growth = self.multiplier.powi(exponent).min(f64::MAX);
        let ceiling = (self.initial.as_secs_f64() * growth).min(self.max_delay.as_secs_f64());
        let draw = draw(failure.message, failure.attempt);
        let seconds = match self.jitter {
            Jitter::Full => ceiling * draw,
            Jitter::Around(share) => ceiling * (1.0 + share * (2.0 * draw - 1.0)),
        };
        Duration::try_from_secs_f64(seconds).unwrap_or(self.max_delay)
    }
}

impl RetryPolicy for ExponentialBackoff {
    fn decide(&self, failure: &Failure) -> Decision {
        let spent = self.max_attempts.is_some_and(|max| failure.attempt >= max);
        let old = self.max_age.is_some_and(|max| failure.age >= max);
        if spent || old {
            return Decision::GiveUp;
        }
        Decision::RetryIn(self.delay(failure).max(failure.asked()))
    }
}

/// A fixed list of delays; after the last one the message is given up. A destination that asks to wait longer is
/// heeded, up to one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FixedDelays(Vec<Duration>);

impl FixedDelays {
    /// The first attempt is followed by the first delay, and so on: `n` delays make `n + 1` attempts.
    #[must_use]
    pub fn new(delays: impl Into<Vec<Duration>>) -> Self {
        Self(delays.into())
    }
}

impl RetryPolicy for FixedDelays {
    fn decide(&self, failure: &Failure) -> Decision {
        let position = usize::try_from(failure.attempt.saturating_sub(1)).unwrap_or(usize::MAX);
        match self.0.get(position) {
            Some(delay) => Decision::RetryIn((*delay).max(failure.asked())),
            None => Decision::GiveUp,
        }
    }
}

/// The first failure is the last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NeverRetry;

impl RetryPolicy for NeverRetry {
    fn decide(&self, _failure: &Failure) -> Decision {
        Decision::GiveUp
    }
}

/// A number in `[0, 1)`, always the same for the same message and attempt.
fn draw(message: MessageId, attempt: u32) -> f64 {
    let id = message.as_uuid().as_u128();
    let seed = (id as u64)
        ^ ((id >> 64) as u64).rotate_left(32)
        ^ u64::from(attempt).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let bits = split_mix(seed) >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

/// The output function of SplitMix64: spreads neighbouring seeds over all 64 bits.
pub(crate) const fn split_mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
