//! The loop of a dispatcher: claim, begin, deliver and settle run side by side, and one task decides.

mod reading;
mod upkeep;
mod writing;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, OptionFuture};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::call::CallEnd;
use super::lease_keeper::{Lease, Pulse, keep};
use super::leased::Parts;
use super::ledger::{ANSWER_SOON, Judged, Ledger, Plan};
use super::poll::Poll;
use super::store_call::{give_up, guarded};
use super::{DispatchError, DispatchSummary, after, chain};
use crate::wake_up::Listener;
use crate::{Claim, DispatcherId, Epoch, Fence, Slot, StoreError};

/// Failures of the store in a row after which draining ends.
const DRAIN_TRIES: u32 = 10;

/// What a finished task says.
enum Done {
    /// Its number, and how many messages it asked for.
    Claim(u64, usize, Result<Claim, StoreError>),
    Call(u64, CallEnd),
    Tidy(Result<u64, StoreError>),
    HandOver(Result<(), StoreError>),
}

/// A settlement that is being written; sent again, in smaller parts, until the store answers.
struct Write {
    judged: Arc<Judged>,
    plan: Option<Plan>,
    failures: u32,
}

/// Until when to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    Shutdown,
    Drained,
}

pub(super) struct Engine {
    parts: Arc<Parts>,
    until: Until,
    ledger: Ledger,
    poll: Poll,
    bell: Listener,
    /// Claims and calls of transports, each a task of its own.
    tasks: JoinSet<Done>,
    /// The settlement that is being written. The dispatcher's own task polls it: a drain waits for nothing else, and a
    /// task of its own would have to be woken on another thread for each batch, and wake this one when it is done.
    settling: Option<BoxFuture<'static, Result<Fence, StoreError>>>,
    keeper: JoinSet<()>,
    pulse: Arc<Pulse>,
    lease: watch::Receiver<Lease>,
    epoch: Option<Epoch>,
    /// The slots that are read, as of the last renewal.
    readable: Vec<Slot>,
    dirty: (mpsc::UnboundedSender<u64>, mpsc::UnboundedReceiver<u64>),

    claims: u64,
    claiming: bool,
    /// The answer of the running claim is of no use.
    claim_is_stale: bool,
    /// The next claim must read from the beginning, and until it has, nothing begins: by that claim the store takes
    /// it that we know what a person did meanwhile, so nothing may be left in memory that was read before.
    restart: bool,
    /// The last claim found nothing and nothing was written since it started.
    quiet: bool,
    /// A settlement that was written since the last claim started may have freed what is set aside.
    freed: bool,
    /// Claims that failed in a row, and the last error of the store.
    claim_failures: u32,
    /// The most messages of one claim: fewer after each that failed, since it may have been too much for the deadline.
    most_claimed: usize,
    error: Option<Arc<StoreError>>,

    write: Option<Write>,
    write_again_at: Instant,
    /// The most verdicts of one settlement: fewer after each that failed, since it may have been too much at once.
    most_verdicts: usize,

    /// Slots are to be given back as soon as neither a claim nor a settlement runs.
    must_hand_over: bool,
    /// Slots are being given back.
    handing_over: bool,
    tidying: bool,
    /// When the next step of retention begins, or, while one runs, when it began.
    tidy_at: Instant,
    stop_at: Option<Instant>,
}

impl Engine {
    pub(super) fn new(parts: Arc<Parts>, until: Until) -> Self {
        let settings = &parts.settings;
        let me = DispatcherId::new(parts.name.clone());
        let seed = me.instance.as_u128() as u64;
        let (sender, lease) = watch::channel(Lease::none());
        let pulse = Arc::new(Pulse::new());
        // Before the first renewal, by which the store hears that somebody listens.
        let bell = parts.store.wake_up().listen();
        let mut keeper = JoinSet::new();
        let store = Arc::clone(&parts.store);
        keeper.spawn(keep(store, me, settings.lease, settings.store_deadline(), Arc::clone(&pulse), sender));
        let routes = Arc::clone(&parts.routes);
        Self {
            until,
            ledger: Ledger::new(
                routes,
                settings.max_held,
                settings.max_held_bytes,
                settings.batch,
                until == Until::Shutdown,
            ),
            poll: Poll::new(settings.poll_min, settings.poll_max, seed),
            bell,
            tasks: JoinSet::new(),
            settling: None,
            keeper,
            pulse,
            lease,
            epoch: None,
            readable: Vec::new(),
            dirty: mpsc::unbounded_channel(),
            claims: 0,
            claiming: false,
            claim_is_stale: false,
            restart: true,
            quiet: false,
            freed: false,
            claim_failures: 0,
            most_claimed: usize::MAX,
            error: None,
            write: None,
            write_again_at: Instant::now(),
            most_verdicts: usize::MAX,
            must_hand_over: false,
            handing_over: false,
            tidying: false,
            tidy_at: after(Instant::now(), settings.tidy_every),
            stop_at: None,
            parts,
        }
    }

    pub(super) async fn run(
        mut self,
        shutdown: BoxFuture<'static, ()>,
    ) -> Result<DispatchSummary, DispatchError> {
        let mut shutdown = shutdown.fuse();
        loop {
            self.pulse.beat();
            self.start_work();
            if let Some(end) = self.ended() {
                return self.leave(end).await;
            }
            let wake_at = self.next_look();
            tokio::select! {
                () = &mut shutdown, if self.stop_at.is_none() => {
                    info!(dispatcher = %self.parts.name, in_flight = self.ledger.in_flight(), "shutting down");
                    self.stop_at = Some(after(Instant::now(), self.parts.settings.shutdown_within));
                }
                changed = self.lease.changed() => if changed.is_ok() { self.lease_changed() },
                Some(number) = self.dirty.1.recv() => self.take_records(Some(number)),
                Some(answer) = OptionFuture::from(self.settling.as_mut()) => self.wrote(answer),
                Some(done) = self.tasks.join_next() => match done {
                    Ok(done) => self.done(done),
                    // Only a reset aborts tasks, and it forgets them first.
                    Err(gone) => warn!(error = %gone, "a task of the dispatcher is gone"),
                },
                ring = self.bell.next() => self.poll.ring(ring),
                () = sleep_until(wake_at) => {}
            }
        }
    }

    /// Why the loop may end, if it may.
    fn ended(&self) -> Option<Result<(), DispatchError>> {
        let settled = self.ledger.is_settled() && self.write.is_none();
        if let Some(stop_at) = self.stop_at {
            if settled {
                return Some(Ok(()));
            }
            let limit = self.parts.settings.shutdown_within;
            let unwritten = self.write.as_ref().map_or(0, |write| write.judged.begun());
            let in_flight = self.ledger.unsettled() + unwritten;
            return (Instant::now() >= stop_at)
                .then_some(Err(DispatchError::Unfinished { in_flight, limit }));
        }
        if self.until == Until::Shutdown {
            return None;
        }
        let lease = self.lease.borrow();
        match (&lease.error, lease.epoch) {
            // Without a lease nothing is asked any more that could fail so often.
            (Some(error), epoch) if epoch.is_none() || Instant::now() >= lease.until => {
                return Some(Err(DispatchError::Store(Arc::clone(error))));
            }
            (_, Some(_)) if lease.slots.is_empty() => return Some(Err(DispatchError::NotOwner)),
            _ => {}
        }
        let failures = self.claim_failures.max(self.write.as_ref().map_or(0, |write| write.failures));
        if let Some(error) = self.error.as_ref().filter(|_| failures >= DRAIN_TRIES) {
            return Some(Err(DispatchError::Store(Arc::clone(error))));
        }
        // With no room for another claim and nothing to run, what is held waits for routes that stay paused in this run.
        let looked = self.quiet || self.ledger.claim_room(self.parts.settings.batch).is_none();
        let drained = settled && looked && !self.claiming && !self.ledger.has_runnable(Instant::now());
        drained.then_some(Ok(()))
    }

    /// Gives everything back. What is in flight by now is dropped, and in doubt for a successor.
    async fn leave(mut self, end: Result<(), DispatchError>) -> Result<DispatchSummary, DispatchError> {
        self.keeper.shutdown().await;
        give_up(self.settling.take());
        self.tasks.shutdown().await;
        let lease = self.lease.borrow().clone();
        if let Some(epoch) = lease.epoch {
            let deadline = self.parts.settings.store_deadline();
            let store = &self.parts.store;
            if let Err(error) =
                guarded("release", deadline, async || store.release(epoch, &lease.slots).await).await
            {
                warn!(error = %chain(&error), "the lease could not be given back; it will run out");
            }
        }
        end.map(|()| self.ledger.summary)
    }

    /// When the loop must look again, whatever happens.
    fn next_look(&self) -> Instant {
        let now = Instant::now();
        let mut at = now + (self.parts.settings.lease / 3).min(Duration::from_secs(1));
        if !self.claiming && self.may_claim() {
            at = at.min(self.poll.next());
        }
        if !self.tidying && self.holds() {
            at = at.min(self.tidy_at);
        }
        if let Some(probe) = self.ledger.next_probe(now) {
            at = at.min(probe);
        }
        if self.write.is_some() && self.settling.is_none() {
            at = at.min(self.write_again_at);
        }
        if self.settling.is_none() && self.ledger.awaits_answers(self.parts.settings.batch) {
            at = at.min(after(now, ANSWER_SOON));
        }
        if let Some(stop_at) = self.stop_at {
            at = at.min(stop_at);
        }
        at
    }

    fn holds(&self) -> bool {
        let lease = self.lease.borrow();
        self.epoch.is_some_and(|epoch| lease.holds(epoch)) && lease.slots.len() > lease.hand_over.len()
    }

    fn start_work(&mut self) {
        self.start_hand_over();
        self.start_write();
        if self.restart && !self.claiming {
            self.ledger.forget_unbegun(None);
        }
        if !self.claiming && self.may_claim() && self.poll.is_due() {
            self.start_claim();
        }
        if !self.tidying && Instant::now() >= self.tidy_at && self.holds() {
            self.start_tidy();
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Claim(number, limit, answer) => self.claimed(number, limit, answer),
            Done::Call(number, end) => {
                self.take_records(None);
                self.ledger.call_ended(number, end);
            }
            Done::HandOver(answer) => self.handed_over(answer),
            Done::Tidy(answer) => self.tidied(answer),
        }
    }

    fn lease_changed(&mut self) {
        let lease = self.lease.borrow_and_update().clone();
        if lease.epoch.is_some_and(|epoch| self.pulse.is_over(epoch)) {
            return;
        }
        self.handing_over = false;
        let before = std::mem::replace(&mut self.readable, lease.readable());
        if lease.epoch != self.epoch && lease.epoch.is_some() {
            self.reset(lease.epoch);
        } else if self.readable.iter().any(|slot| !before.contains(slot)) {
            // It came back, or was to be handed over and is not any more: what was read of it is forgotten.
            self.read_anew();
        }
    }

    /// Everything held is lost; sends under way are dropped.
    fn reset(&mut self, epoch: Option<Epoch>) {
        self.epoch = epoch;
        self.tasks = JoinSet::new();
        give_up(self.settling.take());
        self.ledger.reset();
        self.claiming = false;
        self.restart = true;
        self.quiet = false;
        self.freed = false;
        self.write = None;
        self.tidying = false;
        self.handing_over = false;
        self.poll.now();
    }
}

/// The most of one call after one that came to its end: more again, but slowly, since each that is too much costs a
/// deadline.
fn a_little_more(most: usize) -> usize {
    most.saturating_add((most / 16).max(1))
}
