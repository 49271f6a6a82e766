//! [`Route`]: which messages go to which transport, and what happens when they fail.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::{ExponentialBackoff, OnDead, RetryPolicy, Transport};

/// What becomes of a message that may have been delivered already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnAmbiguous {
    /// It is delivered again, marked as in doubt; receivers deduplicate by the message id.
    #[default]
    Redeliver,
    /// It is parked for a person, and its key with it: for mail that must not go out twice.
    Park,
}

/// The messages of a topic (or of all topics with a prefix), their transport and their policies.
///
/// When several routes match a topic, an exact one wins, then the longest prefix.
#[derive(Clone)]
#[must_use = "a route does nothing until it is given to a dispatcher"]
pub struct Route {
    pub(super) pattern: Pattern,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) retry: Arc<dyn RetryPolicy>,
    pub(super) on_dead: OnDead,
    pub(super) on_ambiguous: OnAmbiguous,
    pub(super) deadline: Option<Duration>,
    pub(super) batch: usize,
    pub(super) parallel: usize,
    pub(super) max_in_flight: usize,
    pub(super) max_in_flight_bytes: usize,
    pub(super) pause_min: Duration,
    pub(super) pause_max: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pattern {
    Topic(String),
    Prefix(String),
}

impl Route {
    /// Messages of exactly this topic.
    pub fn topic(topic: impl Into<String>, transport: impl Transport) -> Self {
        Self::new(Pattern::Topic(topic.into()), transport)
    }

    /// Messages of every topic that starts with `prefix`; an empty prefix takes all.
    pub fn prefix(prefix: impl Into<String>, transport: impl Transport) -> Self {
        Self::new(Pattern::Prefix(prefix.into()), transport)
    }

    fn new(pattern: Pattern, transport: impl Transport) -> Self {
        Self {
            pattern,
            transport: Arc::new(transport),
            retry: Arc::new(ExponentialBackoff::default()),
            on_dead: OnDead::default(),
            on_ambiguous: OnAmbiguous::default(),
            deadline: None,
            batch: 500,
            parallel: 4,
            max_in_flight: 2_000,
            max_in_flight_bytes: 32 * 1024 * 1024,
            pause_min: Duration::from_millis(500),
            pause_max: Duration::from_secs(60),
        }
    }

    /// When failed messages are tried again; [`ExponentialBackoff`] with its defaults unless set.
    pub fn retry(mut self, policy: impl RetryPolicy) -> Self {
        self.retry = Arc::new(policy);
        self
    }

    /// What a dead letter does to its key; [`OnDead::Skip`] unless set.
    pub fn on_dead(mut self, on_dead: OnDead) -> Self {
        self.on_dead = on_dead;
        self
    }

    /// What becomes of a message in doubt; [`OnAmbiguous::Redeliver`] unless set.
    pub fn on_ambiguous(mut self, on_ambiguous: OnAmbiguous) -> Self {
        self.on_ambiguous = on_ambiguous;
        self
    }

    /// How long one call of the transport may take before it is dropped; [`Transport::deadline`] unless set.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Messages handed over in one call at most: 500 unless set; 0 counts as 1.
    pub fn batch(mut self, messages: usize) -> Self {
        self.batch = messages.max(1);
        self
    }

    /// Calls of the transport side by side at most: 4 unless set; 0 counts as 1.
    pub fn parallel(mut self, calls: usize) -> Self {
        self.parallel = calls.max(1);
        self
    }

    /// Messages and payload bytes in flight at most: 2,000 and 32 MiB unless set. One message may exceed the
    /// bytes alone.
    pub fn max_in_flight(mut self, messages: usize, bytes: usize) -> Self {
        self.max_in_flight = messages.max(1);
        self.max_in_flight_bytes = bytes;
        self
    }

    /// How long the route pauses when its destination is unavailable: from `min`, doubled up to `max`; 500 ms to
    /// 60 s unless set. A destination may ask for longer, up to an hour. After each pause one message goes out as a
    /// probe.
    pub fn pause(mut self, min: Duration, max: Duration) -> Self {
        self.pause_min = min.max(Duration::from_millis(1));
        self.pause_max = max.max(self.pause_min);
        self
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route")
            .field("pattern", &self.pattern)
            .field("on_dead", &self.on_dead)
            .field("on_ambiguous", &self.on_ambiguous)
            .finish_non_exhaustive()
    }
}

/// Finds the route of a topic.
pub(super) fn find(routes: &[Route], topic: &str) -> Option<usize> {
    let mut best: Option<(usize, usize)> = None;
    for (index, route) in routes.iter().enumerate() {
        let weight = match &route.pattern {
            Pattern::Topic(name) if name == topic => usize::MAX,
            Pattern::Prefix(prefix) if topic.starts_with(prefix.as_str()) => prefix.len(),
            _ => continue,
        };
        if best.is_none_or(|(_, heaviest)| weight > heaviest) {
            best = Some((index, weight));
        }
    }
    best.map(|(index, _)| index)
}
