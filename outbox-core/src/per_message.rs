//! [`PerMessage`]: a transport from a function that sends one message.

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt, stream};
use tracing::Instrument;

use crate::{Delivery, DeliveryReport, Outcome, SendOne, Transport};

/// Makes a [`Transport`] of a [`SendOne`], with up to `n` messages under way at a time.
///
/// Messages of one key go one after another; when one of them is not delivered, the rest of its key in the batch
/// is not sent. Messages without a key go side by side. A panic counts against its message alone. Once one message
/// finds the destination unavailable, no other of the batch is started; what is not started when the deadline of the
/// call passes is not in doubt.
#[derive(Debug)]
pub struct PerMessage<S> {
    parallel: usize,
    sender: S,
    deadline: Duration,
}

impl<S: SendOne> PerMessage<S> {
    /// `parallel` of 0 counts as 1.
    #[must_use]
    pub fn new(parallel: usize, sender: S) -> Self {
        Self { parallel: parallel.max(1), sender, deadline: Duration::from_secs(60) }
    }

    /// How long one call of `deliver`, a whole batch, may take: 60 s by default.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    async fn send_in_turn(&self, mut turn: Turn<'_>) {
        while let Some(delivery) = turn.next() {
            let send = async { self.sender.send(delivery).await }.instrument(delivery.span());
            match AssertUnwindSafe(send).catch_unwind().await {
                Ok(outcome) => {
                    let delivered = matches!(outcome, Outcome::Delivered { .. });
                    turn.down.fetch_or(matches!(outcome, Outcome::Unavailable { .. }), Ordering::Relaxed);
                    turn.report.record(delivery, outcome);
                    if !delivered {
                        return;
                    }
                }
                Err(_panic) => return turn.report.record_panic(delivery),
            }
        }
    }
}

/// Messages that go one after another. Those that were not started when it ends, or when the call is dropped at its
/// deadline, were not sent.
struct Turn<'a> {
    waiting: VecDeque<&'a Delivery>,
    report: &'a DeliveryReport,
    /// The destination turned out to be unavailable: nothing more of the batch is started.
    down: &'a AtomicBool,
}

impl<'a> Turn<'a> {
    fn next(&mut self) -> Option<&'a Delivery> {
        if self.down.load(Ordering::Relaxed) { None } else { self.waiting.pop_front() }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        for delivery in &self.waiting {
            self.report.record(delivery, Outcome::NotSent);
        }
    }
}

#[async_trait]
impl<S: SendOne> Transport for PerMessage<S> {
    async fn deliver(&self, batch: &[Delivery], report: &DeliveryReport) {
        let mut runs: Vec<VecDeque<&Delivery>> = Vec::with_capacity(batch.len());
        let mut run_of: HashMap<(&str, &str), usize> = HashMap::new();
        for delivery in batch {
            match delivery.message.key.as_deref() {
                Some(key) => {
                    let run = *run_of.entry((delivery.message.topic.as_str(), key)).or_insert(runs.len());
                    if run == runs.len() {
                        runs.push(VecDeque::new());
                    }
                    runs[run].push_back(delivery);
                }
                None => runs.push(VecDeque::from([delivery])),
            }
        }
        // Collected first: a lazy map over borrowed runs is not general enough for a `Send` future.
        let down = AtomicBool::new(false);
        let turn = |waiting| Turn { waiting, report, down: &down };
        let turns: Vec<_> = runs.into_iter().map(|run| self.send_in_turn(turn(run))).collect();
        stream::iter(turns).buffer_unordered(self.parallel).collect::<()>().await;
    }

    fn keeps_order(&self) -> bool {
        true
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }
}
