//! [`Arrivals`]: how delivery reports reach the call that waits for them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::Notify;

/// The delivery reports of one call, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    reports: Mutex<Vec<Arrival>>,
    fresh: Notify,
}

/// What a producer said of one message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    /// The message's position in the batch.
    pub(crate) index: usize,
    /// The number of the producer.
    pub(crate) producer: u64,
    pub(crate) seen: Seen,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Seen {
    /// The brokers have it. A record that a retry found already there has no offset.
    Delivered { partition: i32, offset: Option<i64> },
    Failed {
        code: RDKafkaErrorCode,
        /// An earlier try of it may have been appended, whatever became of the last one: since it was queued its producer
        /// lost the answer to something; or it was taken back, and nothing tells that it was refused.
        doubt: bool,
    },
}

impl Arrivals {
    fn push(&self, arrival: Arrival) {
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        reports.push(arrival);
        let first = reports.len() == 1;
        drop(reports);
        if first {
            self.fresh.notify_one();
        }
    }

    /// What came since the last look.
    pub(crate) fn take(&self) -> Vec<Arrival> {
        std::mem::take(&mut *self.reports.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Resolves when something has come since the last look.
    pub(crate) async fn wait(&self) {
        self.fresh.notified().await;
    }
}

/// Travels through librdkafka with a record and comes back with its report.
#[derive(Debug)]
pub(crate) struct Ticket {
    arrivals: Arc<Arrivals>,
    index: usize,
    /// When it was about to be queued.
    pub(crate) queued: Instant,
}

impl Ticket {
    pub(crate) fn new(arrivals: &Arc<Arrivals>, index: usize) -> Self {
        Self { arrivals: Arc::clone(arrivals), index, queued: Instant::now() }
    }

    pub(crate) fn came(self, producer: u64, seen: Seen) {
        self.arrivals.push(Arrival { index: self.index, producer, seen });
    }
}
