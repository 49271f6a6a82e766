//! Settlements, one at a time, and the calls that they begin.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;
use tracing::{Instrument, debug_span, info, warn};

use super::{Done, Engine, Until, Write, a_little_more};
use crate::dispatcher::call::call;
use crate::dispatcher::ledger::{Judged, Plan};
use crate::dispatcher::{chain, store_call::guarded};
use crate::{Fence, Settlement, StoreError};

/// A settlement of so many verdicts is not made smaller.
const FEWEST_VERDICTS: usize = 10;

impl Engine {
    pub(super) fn start_write(&mut self) {
        if self.settling.is_some() || self.epoch.is_none() {
            return;
        }
        // What a quick destination answers within a moment is settled in the write that begins the next batch. With
        // as much to settle already, one batch is delivered while another is written.
        if self.write.is_none()
            && self.stop_at.is_none()
            && self.ledger.awaits_answers(self.parts.settings.batch)
        {
            return;
        }
        if self.write.is_none() {
            // Nothing begins before all that was judged is written with it: a verdict that comes later could be about a
            // message that is in flight again by then.
            let all = self.ledger.judged() <= self.most_verdicts;
            let begins = all && self.stop_at.is_none() && !self.restart && self.holds();
            let plan =
                if begins { self.ledger.plan(self.parts.settings.batch, Instant::now()) } else { None };
            if plan.is_none() && !self.ledger.has_judged() {
                return;
            }
            let judged = Arc::new(self.ledger.take_judged(self.most_verdicts));
            self.write = Some(Write { judged, plan, failures: 0 });
        } else if Instant::now() < self.write_again_at {
            return;
        }
        let (Some(write), Some(epoch)) = (&self.write, self.epoch) else { return };
        let judged = Arc::clone(&write.judged);
        let begin = write.plan.as_ref().map(|plan| plan.batch.clone());
        let parts = Arc::clone(&self.parts);
        let deadline = self.parts.settings.store_deadline();
        let count = judged.verdicts.len();
        let span = debug_span!("outbox.settle", verdicts = count, begin = begin.as_ref().map(|b| b.number.0));
        let settle = async move {
            let Judged { verdicts, ended, .. } = &*judged;
            let settlement = Settlement { verdicts, ended, begin: begin.as_ref() };
            guarded("settle", deadline, async || parts.store.settle(epoch, &settlement).await).await
        };
        self.settling = Some(settle.instrument(span).boxed());
    }

    pub(super) fn wrote(&mut self, answer: Result<Fence, StoreError>) {
        self.settling = None;
        self.quiet = false;
        let Some(mut write) = self.write.take() else { return };
        let fence = match answer {
            Ok(fence) => fence,
            Err(error) => {
                warn!(error = %chain(&error), "settle failed; it will be written again, in smaller parts");
                self.error = Some(Arc::new(error));
                write.failures = write.failures.saturating_add(1);
                let wait = Duration::from_millis(20) * 2_u32.pow(write.failures.min(7));
                self.write_again_at = Instant::now() + wait.min(self.parts.settings.lease / 4);
                self.write_less(&mut write);
                self.write = Some(write);
                return;
            }
        };
        self.most_verdicts = a_little_more(self.most_verdicts);
        match fence {
            Fence::Held => {
                self.ledger.written(&write.judged, self.claims);
                if let Some(plan) = write.plan {
                    // The next settlement is on its way before the transport is called: the database is what a
                    // drain waits for. Not beside a message that goes alone, which is not among the calls yet, and
                    // not before slots that are to be handed over had their turn.
                    let half = self.ledger.judged() * 2 >= self.parts.settings.batch;
                    if half && !plan.batch.alone && !self.must_hand_over {
                        self.start_write();
                    }
                    self.start_calls(plan);
                }
            }
            Fence::Changed => {
                info!(dispatcher = %self.parts.name, "a person acted, or the database was away: reading again");
                self.ledger.written(&write.judged, self.claims);
                if let Some(plan) = write.plan {
                    self.ledger.not_begun(plan);
                }
                self.read_anew();
            }
            Fence::Lost => {
                warn!(dispatcher = %self.parts.name, epoch = ?self.epoch, "the session was fenced: starting over");
                let over = self.epoch;
                // First, so that nothing of it goes on when others may own its slots.
                self.reset(None);
                if let Some(epoch) = over {
                    self.pulse.start_over(epoch);
                }
            }
        }
        // One that drains ends by a look that comes after its last write.
        self.freed |= write.judged.frees || self.until == Until::Drained;
        self.look_for_what_was_freed();
    }

    /// Leaves half of the verdicts for later, so that what was too much for the store's deadline fits in the end. The
    /// batches that ended stay open until all of their verdicts are written; the next one may begin before that.
    fn write_less(&mut self, write: &mut Write) {
        self.most_verdicts = (write.judged.verdicts.len() / 2).max(FEWEST_VERDICTS);
        if write.judged.verdicts.len() > self.most_verdicts {
            let later = Arc::make_mut(&mut write.judged).split_off(self.most_verdicts);
            self.ledger.write_later(later);
        }
    }

    pub(super) fn start_calls(&mut self, plan: Plan) {
        let Some(epoch) = self.epoch else { return };
        for (number, route, deliveries, report) in self.ledger.begun(plan, &self.dirty.0) {
            let settings = &self.parts.routes[route];
            let deadline = settings.deadline.unwrap_or_else(|| settings.transport.deadline());
            let span = debug_span!("outbox.deliver", call = number, messages = deliveries.len(), %epoch);
            let transport = Arc::clone(&settings.transport);
            let lease = self.lease.clone();
            let call = call(transport, deliveries, report, deadline, lease, epoch);
            self.tasks.spawn(async move { Done::Call(number, call.await) }.instrument(span));
        }
    }

    /// Takes the records of call `first` and of every other that has some.
    pub(super) fn take_records(&mut self, first: Option<u64>) {
        let mut next = first;
        while let Some(number) = next.or_else(|| self.dirty.1.try_recv().ok()) {
            self.ledger.recorded(number);
            next = None;
        }
    }
}
