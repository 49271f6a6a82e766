//! [`Health`]: what the transport heard of its cluster last.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What a [`KafkaTransport`](crate::KafkaTransport) heard of its cluster last.
///
/// An error that is younger than the last acknowledgement means trouble; a transport that has nothing to send hears
/// nothing, so ask [`check`](crate::KafkaTransport::check) whether the brokers can be reached now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// How long ago a record was acknowledged.
    pub acknowledged: Option<Duration>,
    /// How long ago librdkafka told of an error of the client as a whole, and what it said: host names, no logins.
    pub error: Option<(Duration, String)>,
    /// How many producers were started; a new one replaces one that failed or whose batch was not acknowledged in time.
    pub producers: u64,
}

/// Where the producers note what they hear.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    acknowledged: Option<Instant>,
    error: Option<(Instant, String)>,
    producers: u64,
}

impl Heard {
    pub(crate) fn acknowledged(&self) {
        self.with(|inner| inner.acknowledged = Some(Instant::now()));
    }

    pub(crate) fn error(&self, text: &str) {
        self.with(|inner| inner.error = Some((Instant::now(), text.to_owned())));
    }

    /// Counts a new producer; answers its number.
    pub(crate) fn producer(&self) -> u64 {
        self.with(|inner| {
            inner.producers += 1;
            inner.producers
        })
    }

    /// The last error, unless something was acknowledged since.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.with(|inner| {
            let (since, text) = inner.error.as_ref()?;
            inner.acknowledged.is_none_or(|acknowledged| acknowledged < *since).then(|| text.clone())
        })
    }

    pub(crate) fn tell(&self) -> Health {
        self.with(|inner| Health {
            acknowledged: inner.acknowledged.map(|moment| moment.elapsed()),
            error: inner.error.as_ref().map(|(moment, text)| (moment.elapsed(), text.clone())),
            producers: inner.producers,
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        act(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
