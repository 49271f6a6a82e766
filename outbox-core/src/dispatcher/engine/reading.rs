//! Claims: what they ask for, and what becomes of their answers.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::{Instrument, debug_span, warn};

use super::{Done, Engine, a_little_more};
use crate::dispatcher::route::find;
use crate::dispatcher::{chain, store_call::guarded};
use crate::{Claim, ClaimRequest, StoreError};

impl Engine {
    pub(super) fn start_claim(&mut self) {
        let settings = &self.parts.settings;
        let (Some(epoch), Some((limit, max_bytes))) = (self.epoch, self.ledger.claim_room(settings.batch))
        else {
            return;
        };
        let limit = limit.min(self.most_claimed);
        self.claiming = true;
        self.poll.looks();
        self.claim_is_stale = false;
        self.claims += 1;
        self.quiet = true;
        self.freed = false;
        let number = self.claims;
        let restart = self.restart;
        let parts = Arc::clone(&self.parts);
        let held = self.ledger.places();
        let wanting = self.ledger.wanting(limit, Instant::now());
        let slots = self.lease.borrow().readable();
        let deadline = settings.store_deadline();
        let claim = async move {
            let wants = |topic: &str| find(&parts.routes, topic).is_some_and(|route| wanting[route]);
            let request =
                ClaimRequest { epoch, slots: &slots, wants: &wants, held: &held, restart, limit, max_bytes };
            Done::Claim(
                number,
                limit,
                guarded("claim", deadline, async || parts.store.claim(&request).await).await,
            )
        };
        self.tasks.spawn(claim.instrument(debug_span!("outbox.claim", number)));
    }

    pub(super) fn claimed(&mut self, number: u64, limit: usize, answer: Result<Claim, StoreError>) {
        self.claiming = false;
        match answer {
            Ok(_) if self.claim_is_stale => {
                self.restart = true;
                self.quiet = false;
                self.poll.now();
            }
            Ok(claim) => {
                self.restart = false;
                self.claim_failures = 0;
                self.most_claimed = a_little_more(self.most_claimed);
                if claim.messages.is_empty() && !claim.more {
                    self.poll.empty(claim.next_due);
                } else {
                    self.quiet = false;
                    let more = claim.more || claim.messages.len() >= limit;
                    match self.ledger.take_in(claim.messages, number) {
                        // A store that says there is more and brings nothing new must not be asked in a tight loop.
                        0 => self.poll.empty(claim.next_due),
                        _ => self.poll.found(more),
                    }
                }
                self.look_for_what_was_freed();
            }
            Err(error) => {
                self.quiet = false;
                // What the claim would have brought may be gone from the store's reading state.
                self.restart = true;
                self.claim_failures = self.claim_failures.saturating_add(1);
                self.most_claimed = (limit / 2).max(1);
                warn!(error = %chain(&error), "claim failed; will be tried again, with fewer messages");
                self.error = Some(Arc::new(error));
                self.poll.failed();
            }
        }
    }

    /// Looks again, without waiting out the poll, where a settlement freed what the last claim may not have seen.
    pub(super) fn look_for_what_was_freed(&mut self) {
        if self.freed && !self.claiming && self.ledger.in_flight() == 0 {
            self.poll.found(true);
        }
    }

    /// Forgets what is not in flight and reads from the beginning.
    pub(super) fn read_anew(&mut self) {
        self.ledger.forget_unbegun(None);
        self.restart = true;
        self.claim_is_stale = self.claiming;
        self.poll.now();
    }

    pub(super) fn may_claim(&self) -> bool {
        let begins = self.write.as_ref().is_some_and(|write| write.plan.is_some());
        self.stop_at.is_none()
            && !self.must_hand_over
            && !(self.restart && begins)
            && self.holds()
            && self.ledger.claim_room(self.parts.settings.batch).is_some()
    }
}
