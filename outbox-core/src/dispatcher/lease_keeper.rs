//! Keeps the session alive and says how long it surely holds.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::after;
use super::store_call::guarded;
use crate::{DispatcherId, Epoch, OutboxStore, Ownership, Slot};

/// What the dispatcher knows of its session.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    pub(super) epoch: Option<Epoch>,
    pub(super) slots: Vec<Slot>,
    /// Those of `slots` that another session should get.
    pub(super) hand_over: Vec<Slot>,
    /// Until then nobody else can have taken the slots, by this process's monotonic clock: taken before the renewal
    /// was asked for, plus the lease, minus a margin. A process that was stopped sees it in
    /// the past; a suspended machine stops the clock too, and then only the store's fence protects.
    pub(super) until: Instant,
    /// The last renewal failed.
    pub(super) error: Option<Arc<crate::StoreError>>,
}

impl Lease {
    pub(super) fn none() -> Self {
        Self { epoch: None, slots: Vec::new(), hand_over: Vec::new(), until: Instant::now(), error: None }
    }

    /// The slots to read: owned, and not about to be handed over.
    pub(super) fn readable(&self) -> Vec<Slot> {
        self.slots.iter().filter(|slot| !self.hand_over.contains(slot)).copied().collect()
    }

    /// Whether sends of session `epoch` may go on.
    pub(super) fn holds(&self, epoch: Epoch) -> bool {
        self.epoch == Some(epoch) && Instant::now() < self.until
    }
}

/// Resolves once `epoch` no longer surely holds: the guard of every send.
pub(super) async fn lapsed(lease: &mut watch::Receiver<Lease>, epoch: Epoch) {
    loop {
        let current = lease.borrow_and_update().clone();
        if !current.holds(epoch) {
            return;
        }
        tokio::select! {
            () = sleep_until(current.until) => {}
            changed = lease.changed() => if changed.is_err() { return },
        }
    }
}

/// Signs of life of the dispatcher's loop: a session whose loop hangs must not be renewed for ever.
#[derive(Debug)]
pub(super) struct Pulse {
    last: Mutex<Instant>,
    /// Asks for a renewal now.
    pub(super) renew_now: Notify,
    /// The last session that was said to be lost.
    over: Mutex<Option<Epoch>>,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self { last: Mutex::new(Instant::now()), renew_now: Notify::new(), over: Mutex::default() }
    }

    pub(super) fn beat(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// `epoch` is over, and another session must be had: also where it lives, since what it has in flight would go out
    /// again without a mark.
    pub(super) fn start_over(&self, epoch: Epoch) {
        *self.over.lock().unwrap_or_else(PoisonError::into_inner) = Some(epoch);
        self.renew_now.notify_one();
    }

    pub(super) fn is_over(&self, epoch: Epoch) -> bool {
        *self.over.lock().unwrap_or_else(PoisonError::into_inner) == Some(epoch)
    }

    fn age(&self) -> Duration {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

/// Renews until it is dropped: every third of the lease, sooner after an error, when it owns nothing, or when asked.
pub(super) async fn keep(
    store: Arc<dyn OutboxStore>,
    me: DispatcherId,
    lease_for: Duration,
    deadline: Duration,
    pulse: Arc<Pulse>,
    lease: watch::Sender<Lease>,
) {
    let margin = (lease_for / 10).min(Duration::from_secs(1));
    let usual = lease_for / 3;
    let soon = (lease_for / 10).min(Duration::from_secs(1));
    loop {
        let mut wait = usual;
        if pulse.age() > lease_for.max(Duration::from_secs(2)) {
            warn!(dispatcher = %me.name, "the dispatcher's loop does not answer: its lease is not renewed");
            wait = soon;
        } else {
            let asked = Instant::now();
            let before = lease.borrow().clone();
            let epoch = before.epoch.filter(|epoch| !pulse.is_over(*epoch));
            if let Some(over) = before.epoch.filter(|_| epoch.is_none()) {
                // So that the next one need not wait until its lease has run out, should it live still.
                let release = async || store.release(over, &before.slots).await;
                if let Err(error) = guarded("release", deadline, release).await {
                    warn!(dispatcher = %me.name, error = %super::chain(&error), "a lost session could not be given back");
                }
            }
            match guarded("renew", deadline, async || store.renew(&me, epoch, lease_for).await).await {
                Ok(owned) => {
                    if owned.slots.is_empty() {
                        // Standing by: a free slot should not wait for long.
                        wait = soon.max(Duration::from_millis(50));
                    }
                    if before.epoch != Some(owned.epoch) || before.slots != owned.slots {
                        info!(dispatcher = %me.name, epoch = %owned.epoch, slots = owned.slots.len(), "session");
                    }
                    let until = after(asked, lease_for).checked_sub(margin).unwrap_or(asked);
                    let Ownership { epoch, slots, hand_over } = owned;
                    lease.send_replace(Lease { epoch: Some(epoch), slots, hand_over, until, error: None });
                }
                Err(error) => {
                    warn!(dispatcher = %me.name, error = %super::chain(&error), "the lease could not be renewed");
                    wait = soon;
                    let error = Some(Arc::new(error));
                    lease.send_modify(|lease| lease.error = error);
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = pulse.renew_now.notified() => {}
        }
    }
}
