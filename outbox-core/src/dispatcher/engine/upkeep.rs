//! What goes on beside deliveries: slots that are handed over, and retention.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::warn;

use super::{Done, Engine};
use crate::StoreError;
use crate::dispatcher::{after, chain, store_call::guarded};

/// Rows that one step of retention removes at most.
const TIDY_STEP: u32 = 1_000;

impl Engine {
    /// Gives back the slots that another session should get, once nothing of them is in flight. A claim that runs may
    /// still bring some of theirs, and a settlement end a batch of theirs: no other is started before they are given
    /// back, or a backlog would keep them for ever.
    pub(super) fn start_hand_over(&mut self) {
        self.must_hand_over = false;
        let slots = self.lease.borrow().hand_over.clone();
        let Some(epoch) = self.epoch.filter(|_| !slots.is_empty() && !self.handing_over) else { return };
        self.ledger.forget_unbegun(Some(&slots));
        if self.ledger.holds_any(&slots) {
            return;
        }
        if self.claiming || self.write.is_some() {
            self.must_hand_over = true;
            return;
        }
        self.handing_over = true;
        let parts = Arc::clone(&self.parts);
        let deadline = self.parts.settings.store_deadline();
        self.tasks.spawn(async move {
            Done::HandOver(
                guarded("release", deadline, async || parts.store.release(epoch, &slots).await).await,
            )
        });
    }

    pub(super) fn start_tidy(&mut self) {
        self.tidying = true;
        self.tidy_at = Instant::now();
        let parts = Arc::clone(&self.parts);
        let deadline = self.parts.settings.store_deadline();
        self.tasks.spawn(async move {
            Done::Tidy(guarded("tidy", deadline, async || parts.store.tidy(TIDY_STEP).await).await)
        });
    }

    pub(super) fn handed_over(&mut self, answer: Result<(), StoreError>) {
        // `handing_over` stays set until a renewal says what is owned now: at once, or after a failure when it is its turn.
        match answer {
            Ok(()) => self.pulse.renew_now.notify_one(),
            Err(error) => {
                warn!(error = %chain(&error), "slots could not be handed over; will be tried again")
            }
        }
    }

    pub(super) fn tidied(&mut self, answer: Result<u64, StoreError>) {
        self.tidying = false;
        let now = Instant::now();
        // A full step means that there is more. It goes on after as long a rest as the step took: retention keeps up
        // with the inserts and leaves the database half of the time to others.
        let full = matches!(answer, Ok(removed) if removed >= u64::from(TIDY_STEP));
        let every = self.parts.settings.tidy_every;
        self.tidy_at = after(now, if full { every.min(now - self.tidy_at) } else { every });
        if let Err(error) = answer {
            warn!(error = %chain(&error), "retention could not be applied; will be tried again");
        }
    }
}
