//! [`PerMessage`]: a transport from a function that sends one message.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt, stream};

use crate::{Delivery, DeliveryReport, Outcome, SendOne, Transport};

/// Makes a [`Transport`] of a [`SendOne`], with up to `n` messages under way at a time.
///
/// Messages of one key go one after another; when one of them is not delivered, the rest of its key in the batch
/// is not sent. Messages without a key go side by side. A panic counts against its message alone.
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

    async fn send_in_turn(&self, run: Vec<&Delivery>, report: &DeliveryReport) {
        let mut stopped = false;
        for delivery in run {
            if stopped {
                report.record(delivery, Outcome::NotSent);
                continue;
            }
            match AssertUnwindSafe(self.sender.send(delivery)).catch_unwind().await {
                Ok(outcome) => {
                    stopped = !matches!(outcome, Outcome::Delivered { .. });
                    report.record(delivery, outcome);
                }
                Err(_panic) => {
                    stopped = true;
                    report.record_panic(delivery);
                }
            }
        }
    }
}

#[async_trait]
impl<S: SendOne> Transport for PerMessage<S> {
    async fn deliver(&self, batch: &[Delivery], report: &DeliveryReport) {
        let mut runs: Vec<Vec<&Delivery>> = Vec::with_capacity(batch.len());
        let mut run_of: HashMap<(&str, &str), usize> = HashMap::new();
        for delivery in batch {
            match delivery.message.key.as_deref() {
                Some(key) => {
                    let run = *run_of.entry((delivery.message.topic.as_str(), key)).or_insert(runs.len());
                    if run == runs.len() {
                        runs.push(Vec::new());
                    }
                    runs[run].push(delivery);
                }
                None => runs.push(vec![delivery]),
            }
        }
        // Collected first: a lazy map over borrowed runs is not general enough for a `Send` future.
        let turns: Vec<_> = runs.into_iter().map(|run| self.send_in_turn(run, report)).collect();
        stream::iter(turns).buffer_unordered(self.parallel).collect::<()>().await;
    }

    fn keeps_order(&self) -> bool {
        true
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }
}
