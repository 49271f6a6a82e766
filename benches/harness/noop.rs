//! A transport that accepts everything, checks the order per key and tells when enough has arrived.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use outbox::{Delivery, DeliveryReport, Outcome, Transport, async_trait};
use tokio::sync::Notify;

/// Clones count together.
#[derive(Debug, Clone)]
pub struct Noop {
    target: usize,
    state: Arc<Mutex<State>>,
    reached: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    last: HashMap<String, u64>,
    count: usize,
    disorder: usize,
    reached_at: Option<Instant>,
}

impl Noop {
    /// Rings when `target` messages have arrived.
    #[must_use]
    pub fn new(target: usize) -> Self {
        Self { target, state: Arc::default(), reached: Arc::default() }
    }

    /// Waits for the target; answers when it was reached.
    ///
    /// # Panics
    /// When a message of a key arrived after a later one.
    pub async fn reached(&self) -> Instant {
        self.reached.notified().await;
        let state = self.state.lock().expect("no panic while counting");
        assert_eq!(state.disorder, 0, "messages of a key arrived out of order");
        state.reached_at.expect("the target was reached")
    }
}

#[async_trait]
impl Transport for Noop {
    async fn deliver(&self, batch: &[Delivery], report: &DeliveryReport) {
        {
            let mut state = self.state.lock().expect("no panic while counting");
            for delivery in batch {
                if let (Some(key), Some(number)) =
                    (&delivery.message.key, delivery.message.payload.first_chunk())
                {
                    let number = u64::from_be_bytes(*number);
                    match state.last.get_mut(key.as_str()) {
                        Some(last) if *last >= number => state.disorder += 1,
                        Some(last) => *last = number,
                        None => {
                            state.last.insert(key.clone(), number);
                        }
                    }
                }
            }
            state.count += batch.len();
            if state.count >= self.target && state.reached_at.is_none() {
                state.reached_at = Some(Instant::now());
                self.reached.notify_one();
            }
        }
        report.record_rest(batch, &Outcome::delivered());
    }

    fn keeps_order(&self) -> bool {
        true
    }
}
