//! [`DeliveryReport`]: how outcomes leave a transport one by one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::error::clean;
use crate::{Delivery, Outcome};

/// Takes the outcomes of one `deliver` call, each the moment it is known. Cheap to clone; the first record of a
/// message counts, later ones and those after the call has ended are ignored.
#[derive(Debug, Clone)]
pub struct DeliveryReport {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    call: u64,
    state: Mutex<State>,
    /// Hears the number of the call when its first fresh record comes in.
    dirty: Option<mpsc::UnboundedSender<u64>>,
}

#[derive(Debug)]
struct State {
    recorded: Vec<bool>,
    fresh: Vec<(usize, Recorded)>,
    closed: bool,
}

/// What was recorded of a message.
#[derive(Debug)]
pub(crate) enum Recorded {
    Outcome(Outcome),
    Panicked,
}

impl DeliveryReport {
    pub(crate) fn new(call: u64, messages: usize, dirty: Option<mpsc::UnboundedSender<u64>>) -> Self {
        let state = State { recorded: vec![false; messages], fresh: Vec::new(), closed: false };
        Self { shared: Arc::new(Shared { call, state: Mutex::new(state), dirty }) }
    }

    /// A report that keeps what is recorded, for tests and wrappers of transports.
    #[must_use]
    pub fn collecting(batch: &[Delivery]) -> Self {
        Self::new(0, batch.len(), None)
    }

    /// Records what was seen of `delivery`.
    pub fn record(&self, delivery: &Delivery, outcome: Outcome) {
        self.push(delivery.index, Recorded::Outcome(cleaned(outcome)));
    }

    /// Records the same for every message of `batch` that has no record yet.
    pub fn record_rest(&self, batch: &[Delivery], outcome: &Outcome) {
        let outcome = cleaned(outcome.clone());
        self.push_all(batch.iter().map(|delivery| (delivery.index, Recorded::Outcome(outcome.clone()))));
    }

    /// What was recorded so far, in the order of recording, with the position of the message in its batch.
    /// Each record is answered once.
    #[must_use]
    pub fn take(&self) -> Vec<(usize, Outcome)> {
        let outcome = |(index, recorded)| match recorded {
            Recorded::Outcome(outcome) => (index, outcome),
            Recorded::Panicked => (index, Outcome::ambiguous("the transport panicked")),
        };
        self.take_fresh().into_iter().map(outcome).collect()
    }

    pub(crate) fn record_panic(&self, delivery: &Delivery) {
        self.push(delivery.index, Recorded::Panicked);
    }

    pub(crate) fn take_fresh(&self) -> Vec<(usize, Recorded)> {
        std::mem::take(&mut self.lock().fresh)
    }

    /// Ends the call: later records are ignored. Answers the fresh records.
    pub(crate) fn close(&self) -> Vec<(usize, Recorded)> {
        let mut state = self.lock();
        state.closed = true;
        std::mem::take(&mut state.fresh)
    }

    fn push(&self, index: usize, recorded: Recorded) {
        self.push_all([(index, recorded)]);
    }

    fn push_all(&self, records: impl IntoIterator<Item = (usize, Recorded)>) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        let was_empty = state.fresh.is_empty();
        for (index, recorded) in records {
            if let Some(slot) = state.recorded.get_mut(index)
                && !std::mem::replace(slot, true)
            {
                state.fresh.push((index, recorded));
            }
        }
        let first = was_empty && !state.fresh.is_empty();
        drop(state);
        if first && let Some(dirty) = &self.shared.dirty {
            // A dispatcher that is gone needs no outcomes.
            let _ = dirty.send(self.shared.call);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Errors are clean already; a receipt is what the destination wrote.
fn cleaned(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Delivered { receipt: Some(receipt) } => {
            Outcome::Delivered { receipt: Some(clean(&receipt, Outcome::MAX_RECEIPT)) }
        }
        outcome => outcome,
    }
}
