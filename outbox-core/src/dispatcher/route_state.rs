//! The state of a route: what is on its way, and the pause after its destination was unavailable.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::NEVER;
use super::route::Route;
use crate::retry::split_mix;

/// What can go out next on a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Runnable {
    /// A message without a key.
    Message(usize),
    /// The head of a key's line.
    Key(u64),
}

#[derive(Debug)]
pub(super) struct RouteState {
    pub(super) ready: VecDeque<Runnable>,
    /// Messages in memory, and the bytes of their payloads.
    pub(super) held: usize,
    pub(super) held_bytes: usize,
    pub(super) in_flight: usize,
    pub(super) in_flight_bytes: usize,
    pub(super) calls: usize,
    pause: Option<Pause>,
    /// After a pause a probe goes out; without, a pause lasts as long as the run.
    probes: bool,
}

/// The longest pause that a destination may ask for, unless the route's own limit is longer: one message an hour
/// shows whether it meant it.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);

#[derive(Debug, Clone, Copy)]
struct Pause {
    since: Instant,
    until: Instant,
    failures: u32,
}

impl RouteState {
    pub(super) fn new(probes: bool) -> Self {
        Self {
            ready: VecDeque::new(),
            held: 0,
            held_bytes: 0,
            in_flight: 0,
            in_flight_bytes: 0,
            calls: 0,
            pause: None,
            probes,
        }
    }

    /// The same route with nothing held; a pause goes on.
    pub(super) fn emptied(&self) -> Self {
        Self { pause: self.pause, ..Self::new(self.probes) }
    }

    /// When a paused route may send a probe.
    pub(super) fn paused_until(&self) -> Option<Instant> {
        self.pause.map(|pause| pause.until)
    }

    pub(super) fn is_paused(&self, now: Instant) -> bool {
        self.pause.is_some_and(|pause| !self.probes || now < pause.until)
    }

    /// The destination did not answer yet since the pause: one message at a time.
    pub(super) fn is_probing(&self) -> bool {
        self.pause.is_some()
    }

    /// The destination was unavailable for a call that started at `started`. Answers the length of a new pause.
    pub(super) fn unavailable(
        &mut self,
        route: &Route,
        started: Instant,
        retry_after: Option<Duration>,
        seed: u64,
    ) -> Option<Duration> {
        let now = Instant::now();
        let failures = match self.pause {
            // The neighbours of the call that caused the pause say nothing new.
            Some(pause) if started < pause.since => return None,
            Some(pause) if now < pause.until => return None,
            Some(pause) => pause.failures + 1,
            None => 1,
        };
        let doubled =
            route.pause_min.saturating_mul(1_u32 << (failures - 1).min(20)).min(route.pause_max).min(NEVER);
        let share = (split_mix(u64::from(failures) ^ seed) >> 11) as f64 / (1_u64 << 53) as f64;
        let asked = retry_after.unwrap_or_default().min(LONGEST_ASKED.max(route.pause_max)).min(NEVER);
        let length = doubled.mul_f64(0.75 + 0.25 * share).max(asked);
        self.pause = Some(Pause { since: now, until: now + length, failures });
        Some(length)
    }

    /// The destination answered a call that started at `started`. True when that ends a pause.
    pub(super) fn answered(&mut self, started: Instant) -> bool {
        let ended = self.pause.is_some_and(|pause| started >= pause.since);
        if ended {
            self.pause = None;
        }
        ended
    }
}
