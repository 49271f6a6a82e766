//! [`Unanswered`]: settlements that begin a batch and were not answered.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use outbox_core::Epoch;

/// The sessions that sent a settlement which begins a batch, and got no answer. What is on its way may reach the server
/// late, and also when its connection was closed: after the same was sent again and its batch has ended. It would then
/// begin once more, and nobody would end it. So the next try raises the count of a person's acts, and with the old one
/// what comes late begins nothing.
#[derive(Debug, Default)]
pub(crate) struct Unanswered(Mutex<HashSet<Epoch>>);

impl Unanswered {
    /// One of session `epoch` is about to be sent; whether an earlier one was not answered.
    pub(crate) fn sent(&self, epoch: Epoch) -> bool {
        !self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(epoch)
    }

    /// It was answered, or the session is over.
    pub(crate) fn answered(&self, epoch: Epoch) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&epoch);
    }
}
