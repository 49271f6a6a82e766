//! The loop of a dispatcher: claim, begin, deliver and settle run side by side, and one task decides.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::{Instrument, debug_span, info, warn};

use super::call::{CallEnd, call};
use super::lease_keeper::{Lease, Pulse, keep};
use super::leased::Parts;
use super::ledger::{Judged, Ledger, Plan};
use super::poll::Poll;
use super::route::find;
use super::store_call::guarded;
use super::{DispatchError, DispatchSummary, after};
use crate::wake_up::Listener;
use crate::{
    BatchNo, Claim, ClaimRequest, DispatcherId, Epoch, Fence, Settlement, Slot, StoreError, Verdict,
};

/// Rows that one step of retention removes at most.
const TIDY_STEP: u32 = 1_000;

/// Failures of the store in a row after which draining ends.
const DRAIN_TRIES: u32 = 10;

/// What a finished task says.
enum Done {
    Claim(u64, Result<Claim, StoreError>),
    Write(Result<Fence, StoreError>),
    Call(u64, CallEnd),
    Tidy(Result<u64, StoreError>),
    HandOver(Result<(), StoreError>),
}

/// A settlement that is being written; sent again as it is until the store answers.
struct Write {
    judged: Arc<Vec<Judged>>,
    ended: Arc<Vec<BatchNo>>,
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
    tasks: JoinSet<Done>,
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
    /// Claims that failed in a row, and the last error of the store.
    claim_failures: u32,
    error: Option<Arc<StoreError>>,

    write: Option<Write>,
    writing: bool,
    write_again_at: Instant,

    /// Slots are to be given back as soon as neither a claim nor a settlement runs.
    must_hand_over: bool,
    /// Slots are being given back.
    handing_over: bool,
    tidying: bool,
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
            bell: parts.store.wake_up().listen(),
            tasks: JoinSet::new(),
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
            claim_failures: 0,
            error: None,
            write: None,
            writing: false,
            write_again_at: Instant::now(),
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
            let written = self.write.iter().flat_map(|write| write.judged.iter());
            let unwritten = written.filter(|judged| judged.was_begun()).count();
            let in_flight = self.ledger.unsettled() + unwritten;
            return (Instant::now() >= stop_at)
                .then_some(Err(DispatchError::Unfinished { in_flight, limit }));
        }
        if self.until == Until::Shutdown {
            return None;
        }
        let lease = self.lease.borrow();
        match (&lease.error, lease.epoch) {
            (Some(error), None) => return Some(Err(DispatchError::Store(Arc::clone(error)))),
            (_, Some(_)) if lease.slots.is_empty() => return Some(Err(DispatchError::NotOwner)),
            _ => {}
        }
        let failures = self.claim_failures.max(self.write.as_ref().map_or(0, |write| write.failures));
        if let Some(error) = self.error.as_ref().filter(|_| failures >= DRAIN_TRIES) {
            return Some(Err(DispatchError::Store(Arc::clone(error))));
        }
        let drained = settled && self.quiet && !self.claiming && !self.ledger.has_runnable(Instant::now());
        drained.then_some(Ok(()))
    }

    /// Gives everything back. What is in flight by now is dropped, and in doubt for a successor.
    async fn leave(mut self, end: Result<(), DispatchError>) -> Result<DispatchSummary, DispatchError> {
        self.keeper.shutdown().await;
        self.tasks.shutdown().await;
        let lease = self.lease.borrow().clone();
        if let Some(epoch) = lease.epoch {
            let deadline = self.parts.settings.store_deadline();
            let store = &self.parts.store;
            if let Err(error) =
                guarded("release", deadline, async || store.release(epoch, &lease.slots).await).await
            {
                warn!(error = %super::chain(&error), "the lease could not be given back; it will run out");
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
        if let Some(probe) = self.ledger.next_probe(now) {
            at = at.min(probe);
        }
        if self.write.is_some() && !self.writing {
            at = at.min(self.write_again_at);
        }
        if let Some(stop_at) = self.stop_at {
            at = at.min(stop_at);
        }
        at
    }

    fn may_claim(&self) -> bool {
        let begins = self.write.as_ref().is_some_and(|write| write.plan.is_some());
        self.stop_at.is_none()
            && !self.must_hand_over
            && !(self.restart && begins)
            && self.holds()
            && self.ledger.claim_room(self.parts.settings.batch).is_some()
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

    /// Gives back the slots that another session should get, once nothing of them is in flight. A claim that runs may
    /// still bring some of theirs, and a settlement end a batch of theirs: no other is started before they are given
    /// back, or a backlog would keep them for ever.
    fn start_hand_over(&mut self) {
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

    fn start_claim(&mut self) {
        let settings = &self.parts.settings;
        let (Some(epoch), Some((limit, max_bytes))) = (self.epoch, self.ledger.claim_room(settings.batch))
        else {
            return;
        };
        self.claiming = true;
        self.claim_is_stale = false;
        self.claims += 1;
        self.quiet = true;
        let number = self.claims;
        let restart = self.restart;
        let parts = Arc::clone(&self.parts);
        let held = self.ledger.places();
        let wanting = self.ledger.wanting(settings.batch, Instant::now());
        let slots = self.lease.borrow().readable();
        let deadline = settings.store_deadline();
        let claim = async move {
            let wants = |topic: &str| find(&parts.routes, topic).is_some_and(|route| wanting[route]);
            let request =
                ClaimRequest { epoch, slots: &slots, wants: &wants, held: &held, restart, limit, max_bytes };
            Done::Claim(number, guarded("claim", deadline, async || parts.store.claim(&request).await).await)
        };
        self.tasks.spawn(claim.instrument(debug_span!("outbox.claim", number)));
    }

    fn start_write(&mut self) {
        if self.writing || self.epoch.is_none() {
            return;
        }
        if self.write.is_none() {
            let begins = self.stop_at.is_none() && !self.restart && self.holds();
            let plan =
                if begins { self.ledger.plan(self.parts.settings.batch, Instant::now()) } else { None };
            if plan.is_none() && !self.ledger.has_judged() {
                return;
            }
            let (judged, ended) = self.ledger.take_judged();
            self.write = Some(Write { judged: Arc::new(judged), ended: Arc::new(ended), plan, failures: 0 });
        } else if Instant::now() < self.write_again_at {
            return;
        }
        let (Some(write), Some(epoch)) = (&self.write, self.epoch) else { return };
        self.writing = true;
        let (judged, ended) = (Arc::clone(&write.judged), Arc::clone(&write.ended));
        let begin = write.plan.as_ref().map(|plan| plan.batch.clone());
        let parts = Arc::clone(&self.parts);
        let deadline = self.parts.settings.store_deadline();
        let span =
            debug_span!("outbox.settle", verdicts = judged.len(), begin = begin.as_ref().map(|b| b.number.0));
        let settle = async move {
            let verdicts: Vec<_> = judged.iter().map(|judged| judged.verdict().clone()).collect();
            let settlement = Settlement { verdicts: &verdicts, ended: &ended, begin: begin.as_ref() };
            Done::Write(
                guarded("settle", deadline, async || parts.store.settle(epoch, &settlement).await).await,
            )
        };
        self.tasks.spawn(settle.instrument(span));
    }

    fn start_tidy(&mut self) {
        self.tidying = true;
        let parts = Arc::clone(&self.parts);
        let deadline = self.parts.settings.store_deadline();
        self.tasks.spawn(async move {
            Done::Tidy(guarded("tidy", deadline, async || parts.store.tidy(TIDY_STEP).await).await)
        });
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Claim(number, answer) => self.claimed(number, answer),
            Done::Write(answer) => self.wrote(answer),
            Done::Call(number, end) => {
                self.take_records(None);
                self.ledger.call_ended(number, end);
            }
            Done::HandOver(answer) => {
                if let Err(error) = answer {
                    warn!(error = %super::chain(&error), "slots could not be handed over; will be tried again");
                }
                // Stays set until the renewal says what is owned now.
                self.pulse.renew_now.notify_one();
            }
            Done::Tidy(answer) => {
                self.tidying = false;
                let every = self.parts.settings.tidy_every;
                // A full step means that there is more: go on soon, so that retention keeps up with the inserts.
                let full = matches!(answer, Ok(removed) if removed >= u64::from(TIDY_STEP));
                self.tidy_at =
                    after(Instant::now(), if full { every.min(Duration::from_millis(50)) } else { every });
                if let Err(error) = answer {
                    warn!(error = %super::chain(&error), "retention could not be applied; will be tried again");
                }
            }
        }
    }

    fn claimed(&mut self, number: u64, answer: Result<Claim, StoreError>) {
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
                if claim.messages.is_empty() && !claim.more {
                    self.poll.empty(claim.next_due);
                } else {
                    self.quiet = false;
                    let more = claim.more || claim.messages.len() >= self.parts.settings.batch;
                    match self.ledger.take_in(claim.messages, number) {
                        // A store that says there is more and brings nothing new must not be asked in a tight loop.
                        0 => self.poll.empty(claim.next_due),
                        _ => self.poll.found(more),
                    }
                }
            }
            Err(error) => {
                self.quiet = false;
                // What the claim would have brought may be gone from the store's reading state.
                self.restart = true;
                self.claim_failures = self.claim_failures.saturating_add(1);
                warn!(error = %super::chain(&error), "claim failed; will be tried again");
                self.error = Some(Arc::new(error));
                self.poll.failed();
            }
        }
    }

    fn wrote(&mut self, answer: Result<Fence, StoreError>) {
        self.writing = false;
        self.quiet = false;
        let Some(mut write) = self.write.take() else { return };
        let fence = match answer {
            Ok(fence) => fence,
            Err(error) => {
                warn!(error = %super::chain(&error), "settle failed; the same will be written again");
                self.error = Some(Arc::new(error));
                write.failures = write.failures.saturating_add(1);
                let wait = Duration::from_millis(20) * 2_u32.pow(write.failures.min(7));
                self.write_again_at = Instant::now() + wait.min(self.parts.settings.lease / 4);
                self.write = Some(write);
                return;
            }
        };
        match fence {
            Fence::Held => {
                // The next one first: the store need not wait until this one is booked. Beside a message that goes
                // alone nothing begins.
                if !write.plan.as_ref().is_some_and(|plan| plan.batch.alone) {
                    self.start_write();
                }
                self.ledger.written(&write.judged, self.claims);
                if let Some(plan) = write.plan {
                    self.start_calls(plan);
                }
            }
            Fence::Changed => {
                info!(dispatcher = %self.parts.name, "a person redrove or discarded messages: reading again");
                self.ledger.written(&write.judged, self.claims);
                if let Some(plan) = write.plan {
                    self.ledger.not_begun(plan);
                }
                self.read_anew();
            }
            Fence::Lost => {
                warn!(dispatcher = %self.parts.name, epoch = ?self.epoch, "the session was fenced: starting over");
                self.reset(None);
                self.pulse.renew_now.notify_one();
            }
        }
        // A verdict may have freed what waits behind it.
        if write.judged.iter().any(|judged| !matches!(judged.verdict().1, Verdict::Schedule { .. }))
            && !self.claiming
        {
            self.look_if_idle();
        }
    }

    /// After a settlement, messages behind the settled ones may be due: look without waiting out the poll.
    fn look_if_idle(&mut self) {
        if self.ledger.in_flight() == 0 {
            self.poll.found(true);
        }
    }

    fn start_calls(&mut self, plan: Plan) {
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
    fn take_records(&mut self, first: Option<u64>) {
        let mut next = first;
        while let Some(number) = next.or_else(|| self.dirty.1.try_recv().ok()) {
            self.ledger.recorded(number);
            next = None;
        }
    }

    fn lease_changed(&mut self) {
        let lease = self.lease.borrow_and_update().clone();
        self.handing_over = false;
        let before = std::mem::replace(&mut self.readable, lease.readable());
        if lease.epoch != self.epoch && lease.epoch.is_some() {
            self.reset(lease.epoch);
        } else if self.readable.iter().any(|slot| !before.contains(slot)) {
            // It came back, or was to be handed over and is not any more: what was read of it is forgotten.
            self.read_anew();
        }
    }

    /// Forgets what is not in flight and reads from the beginning.
    fn read_anew(&mut self) {
        self.ledger.forget_unbegun(None);
        self.restart = true;
        self.claim_is_stale = self.claiming;
        self.poll.now();
    }

    /// Everything held is lost; sends under way are dropped.
    fn reset(&mut self, epoch: Option<Epoch>) {
        self.epoch = epoch;
        self.tasks = JoinSet::new();
        self.ledger.reset();
        self.claiming = false;
        self.restart = true;
        self.quiet = false;
        self.write = None;
        self.writing = false;
        self.tidying = false;
        self.handing_over = false;
        self.poll.now();
    }
}
