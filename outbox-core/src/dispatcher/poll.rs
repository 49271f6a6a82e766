//! When to look at the outbox: at once when the bell rings, less and less often while it stays empty.

use std::time::Duration;

use tokio::time::Instant;

use super::{NEVER, after};
use crate::retry::split_mix;
use crate::wake_up::Ring;

/// The first waits after an enqueue whose commit this process may not hear: 2, 4, 8 … 200 ms.
const BURST_MIN: Duration = Duration::from_millis(2);
const BURST_MAX: Duration = Duration::from_millis(200);

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
    wait: Duration,
    burst: Option<Duration>,
    next: Instant,
    seed: u64,
}

impl Poll {
    pub(super) fn new(min: Duration, max: Duration, seed: u64) -> Self {
        let (min, max) = (min.min(NEVER), max.min(NEVER));
        Self { min, max, heard: false, rung: false, wait: min, burst: None, next: Instant::now(), seed }
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
        self.rung = false;
    }

    pub(super) fn ring(&mut self, ring: Ring) {
        match ring {
            Ring::Committed => {
                self.wait = self.min;
                self.rung = true;
                self.now();
            }
            Ring::Enqueued => {
                self.burst = Some(BURST_MIN);
                self.next = self.next.min(Instant::now() + BURST_MIN);
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
        self.wait = self.min;
        self.next = Instant::now() + if more || self.rung { Duration::ZERO } else { self.min };
    }

    /// Nothing was found; the next message set aside is due in `next_due`.
    pub(super) fn empty(&mut self, next_due: Option<Duration>) {
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
        self.back_off(None);
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
