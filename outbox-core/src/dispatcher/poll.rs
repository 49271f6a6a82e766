//! When to look at the outbox: at once when the bell rings, less and less often while it stays empty.

use std::time::Duration;

use tokio::time::Instant;

use super::{NEVER, after};
use crate::retry::split_mix;
use crate::wake_up::Ring;

/// The first waits after an enqueue whose commit this process may not hear: 2, 4, 8 … 200 ms.
const BURST_MIN: Duration = Duration::from_millis(2);
const BURST_MAX: Duration = Duration::from_millis(200);

/// The first wait where commits ring the bell. A commit takes a few milliseconds: a look before it finds nothing, and
/// the look that the ring asks for would have to wait for it.
const BURST_AFTER_RING: Duration = Duration::from_millis(20);

/// The first wait after a failure of the store, where the usual one is not shorter: what was announced is still to be
/// found, and is not announced again.
const AFTER_FAILURE: Duration = Duration::from_millis(200);

/// How many times longer the longest wait is while the bell rings for commits of other processes too.
const HEARD: u32 = 3;

#[derive(Debug)]
pub(super) struct Poll {
    min: Duration,
    max: Duration,
    /// The bell rings for commits of other processes too.
    heard: bool,
    /// Something was committed since the last look began: what it answers may be older.
    rung: bool,
    /// The look that began last was asked for by a ring.
    announced: bool,
    /// What was found last in a burst had been announced: whoever enqueues here commits with a ring.
    commits_ring: bool,
    wait: Duration,
    after_failure: Duration,
    burst: Option<Duration>,
    next: Instant,
    seed: u64,
}

impl Poll {
    pub(super) fn new(min: Duration, max: Duration, seed: u64) -> Self {
        let (min, max) = (min.min(NEVER), max.min(NEVER));
        Self {
            min,
            max,
            heard: false,
            rung: false,
            announced: false,
            commits_ring: false,
            wait: min,
            after_failure: AFTER_FAILURE,
            burst: None,
            next: Instant::now(),
            seed,
        }
    }

    pub(super) fn is_due(&self) -> bool {
        Instant::now() >= self.next
    }

    pub(super) fn next(&self) -> Instant {
        self.next
    }

    pub(super) fn now(&mut self) {
        self.next = Instant::now();
    }

    /// A look begins.
    pub(super) fn looks(&mut self) {
        self.announced = std::mem::take(&mut self.rung);
    }

    pub(super) fn ring(&mut self, ring: Ring) {
        match ring {
            Ring::Committed => {
                self.wait = self.min;
                self.after_failure = AFTER_FAILURE;
                self.rung = true;
                self.commits_ring = true;
                // Another transaction may be open still, whose commit rings or not.
                self.burst = self.burst.map(|burst| burst.max(BURST_AFTER_RING));
                self.now();
            }
            Ring::Enqueued => {
                let first = if self.commits_ring { BURST_AFTER_RING } else { BURST_MIN };
                self.burst = Some(first);
                self.next = self.next.min(Instant::now() + first);
            }
            Ring::Elsewhere(heard) => {
                self.heard = heard;
                self.wait = self.wait.min(self.longest());
                self.next = self.next.min(after(Instant::now(), self.longest()));
            }
        }
    }

    /// Something was found: look again soon, at once if there is `more`.
    pub(super) fn found(&mut self, more: bool) {
        self.commits_ring &= self.announced || self.rung || self.burst.is_none();
        self.wait = self.min;
        self.after_failure = AFTER_FAILURE;
        self.next = Instant::now() + if more || self.rung { Duration::ZERO } else { self.min };
    }

    /// Nothing was found; the next message set aside is due in `next_due`.
    pub(super) fn empty(&mut self, next_due: Option<Duration>) {
        self.after_failure = AFTER_FAILURE;
        if self.rung {
            return self.now();
        }
        self.back_off(next_due);
    }

    fn back_off(&mut self, next_due: Option<Duration>) {
        let mut wait = match self.burst {
            Some(burst) => {
                self.burst = (burst < BURST_MAX).then(|| burst * 2);
                burst
            }
            None => {
                let wait = self.wait;
                self.wait = (wait * 2).min(self.longest());
                self.jittered(wait)
            }
        };
        if let Some(due) = next_due {
            // A little later than due, so that a clock that rounds down does not cause an empty look.
            wait = wait.min(due.saturating_add(Duration::from_millis(1)));
        }
        self.next = after(Instant::now(), wait);
    }

    /// The store failed: wait, longer each time.
    pub(super) fn failed(&mut self) {
        self.burst = None;
        let wait = self.jittered(self.after_failure);
        self.after_failure = (wait * 2).min(self.longest());
        self.back_off(Some(wait));
    }

    fn longest(&self) -> Duration {
        if self.heard { (self.max * HEARD).min(NEVER) } else { self.max }
    }

    /// Between three quarters of `wait` and all of it, so that dispatchers do not poll in step.
    fn jittered(&mut self, wait: Duration) -> Duration {
        self.seed = split_mix(self.seed);
        wait.mul_f64(0.75 + 0.25 * (self.seed >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll() -> Poll {
        Poll::new(Duration::from_millis(25), Duration::from_secs(2), 7)
    }

    /// In how many milliseconds it looks next, rounded up.
    fn looks_in(poll: &Poll) -> u128 {
        (poll.next() - Instant::now()).as_micros().div_ceil(1_000)
    }

    #[test]
    fn who_commits_without_a_ring_is_looked_for_at_once() {
        let mut poll = poll();
        poll.looks();
        poll.empty(None);
        poll.ring(Ring::Enqueued);
        assert!(looks_in(&poll) <= 2);
        for wait in [2, 4, 8] {
            poll.looks();
            poll.empty(None);
            assert!(looks_in(&poll) <= wait, "not within {wait} ms");
        }
    }

    #[test]
    fn who_commits_with_a_ring_is_not_looked_for_before_it() {
        let mut poll = poll();
        poll.ring(Ring::Enqueued);
        poll.ring(Ring::Committed);
        assert!(poll.is_due());
        poll.looks();
        poll.found(false);
        poll.ring(Ring::Enqueued);
        assert!(looks_in(&poll) > 2, "the commit will tell");
        poll.ring(Ring::Committed);
        assert!(poll.is_due());
    }

    #[test]
    fn after_a_failure_it_looks_soon_and_then_less_and_less_often() {
        let hour = Duration::from_secs(3600);
        let mut poll = Poll::new(hour, hour, 7);
        let mut waits = Vec::new();
        for _ in 0..12 {
            poll.looks();
            poll.failed();
            waits.push(looks_in(&poll));
        }
        assert!(waits[0] <= 201, "{waits:?}");
        assert!(waits.is_sorted() && waits[11] > 10_000, "{waits:?}");
        poll.ring(Ring::Committed);
        poll.looks();
        poll.failed();
        assert!(looks_in(&poll) <= 201, "what was announced is still to be found");
    }

    #[test]
    fn who_stops_ringing_is_looked_for_at_once_again() {
        let mut poll = poll();
        poll.ring(Ring::Committed);
        poll.looks();
        poll.found(false);
        poll.ring(Ring::Enqueued);
        poll.looks();
        poll.found(false);
        poll.ring(Ring::Enqueued);
        assert!(looks_in(&poll) <= 2, "the last one was found without a ring");
    }
}
