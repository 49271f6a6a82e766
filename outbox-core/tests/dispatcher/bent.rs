//! A memory outbox whose answers can be bent.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outbox_core::*;

use crate::support::PATIENCE;

/// A memory outbox whose answers can be bent.
#[derive(Clone)]
pub(crate) struct Bent {
    pub(crate) inner: MemoryOutbox,
    /// The next renewal panics.
    pub(crate) renew_panics: Arc<AtomicBool>,
    /// How often it was asked to renew.
    pub(crate) renewals: Arc<AtomicU64>,
    /// Renewals fail.
    pub(crate) renewals_fail: Arc<AtomicBool>,
    /// The next claim fails, having done nothing.
    pub(crate) claim_fails: Arc<AtomicBool>,
    /// Claims wait while it is set.
    pub(crate) claims_wait: Arc<AtomicBool>,
    /// All slots should be handed over.
    pub(crate) hand_over: Arc<AtomicBool>,
    /// Giving slots back fails.
    pub(crate) releases_fail: Arc<AtomicBool>,
    /// How often giving slots back failed.
    pub(crate) failed_releases: Arc<AtomicU64>,
    /// Claims answer what is held too.
    pub(crate) ignores_held: Arc<AtomicBool>,
    pub(crate) next_due: Option<Duration>,
    pub(crate) claims: Arc<AtomicU64>,
    pub(crate) fails: Arc<AtomicBool>,
    /// A claim that asks for more messages never ends.
    pub(crate) most_claimed: usize,
    /// A settlement with more verdicts never ends.
    pub(crate) most_verdicts: usize,
    /// The most verdicts that one settlement had.
    pub(crate) largest: Arc<AtomicUsize>,
    /// Settlements that begin a message alone wait while it is set.
    pub(crate) alone_waits: Arc<AtomicBool>,
    /// The next settlement that begins something is told that its session is lost, which lives.
    pub(crate) loses: Arc<AtomicBool>,
    /// What the next settlement does instead.
    pub(crate) settles: Arc<Mutex<Option<Instead>>>,
    /// So many settlements with verdicts fail, having done nothing.
    pub(crate) settlements_fail: Arc<AtomicUsize>,
}

impl Bent {
    pub(crate) fn new(inner: MemoryOutbox) -> Self {
        Self {
            inner,
            renew_panics: Arc::default(),
            renewals: Arc::default(),
            renewals_fail: Arc::default(),
            claim_fails: Arc::default(),
            claims_wait: Arc::default(),
            hand_over: Arc::default(),
            releases_fail: Arc::default(),
            failed_releases: Arc::default(),
            ignores_held: Arc::default(),
            next_due: None,
            claims: Arc::default(),
            fails: Arc::default(),
            most_claimed: usize::MAX,
            most_verdicts: usize::MAX,
            largest: Arc::default(),
            alone_waits: Arc::default(),
            loses: Arc::default(),
            settles: Arc::default(),
            settlements_fail: Arc::default(),
        }
    }
}

/// What a settlement does instead.
#[derive(Debug)]
pub(crate) enum Instead {
    Panics,
    /// It never ends, and panics when it is dropped.
    PanicsWhenDropped,
}

/// Panics when it is dropped.
pub(crate) struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("dropped half-way");
        }
    }
}

pub(crate) fn broken() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "broken on purpose")
}

#[async_trait]
impl OutboxStore for Bent {
    async fn renew(
        &self,
        me: &DispatcherId,
        epoch: Option<Epoch>,
        lease: Duration,
    ) -> Result<Ownership, StoreError> {
        assert!(!self.renew_panics.swap(false, Ordering::SeqCst), "the store panics");
        self.renewals.fetch_add(1, Ordering::SeqCst);
        if self.renewals_fail.load(Ordering::SeqCst) {
            return Err(broken());
        }
        let mut owned = self.inner.renew(me, epoch, lease).await?;
        if self.hand_over.load(Ordering::SeqCst) {
            owned.hand_over.clone_from(&owned.slots);
        }
        Ok(owned)
    }
    async fn claim(&self, request: &ClaimRequest<'_>) -> Result<Claim, StoreError> {
        self.claims.fetch_add(1, Ordering::SeqCst);
        while self.claims_wait.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if request.limit > self.most_claimed {
            // Too much for the deadline.
            std::future::pending::<()>().await;
        }
        if self.claim_fails.swap(false, Ordering::SeqCst) || self.fails.load(Ordering::SeqCst) {
            return Err(broken());
        }
        let nothing = HeldPlaces::default();
        let bent = self.ignores_held.load(Ordering::SeqCst);
        let request = ClaimRequest {
            held: if bent { &nothing } else { request.held },
            restart: bent || request.restart,
            ..*request
        };
        let mut claim = self.inner.claim(&request).await?;
        claim.next_due = claim.next_due.or(self.next_due);
        Ok(claim)
    }
    async fn settle(&self, epoch: Epoch, settlement: &Settlement<'_>) -> Result<Fence, StoreError> {
        let instead = self.settles.lock().unwrap().take();
        match instead {
            Some(Instead::Panics) => panic!("the store panics"),
            Some(Instead::PanicsWhenDropped) => {
                let _bomb = PanicsOnDrop;
                std::future::pending::<()>().await;
            }
            None => {}
        }
        while settlement.begin.is_some_and(|batch| batch.alone) && self.alone_waits.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if settlement.begin.is_some() && self.loses.swap(false, Ordering::SeqCst) {
            return Ok(Fence::Lost);
        }
        self.largest.fetch_max(settlement.verdicts.len(), Ordering::SeqCst);
        if !settlement.verdicts.is_empty()
            && self
                .settlements_fail
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                .is_ok()
        {
            return Err(broken());
        }
        if settlement.verdicts.len() > self.most_verdicts {
            // Too much for the deadline.
            std::future::pending::<()>().await;
        }
        self.inner.settle(epoch, settlement).await
    }
    async fn release(&self, epoch: Epoch, slots: &[Slot]) -> Result<(), StoreError> {
        if self.releases_fail.load(Ordering::SeqCst) {
            // Time that is paused does not pass while there is always something to do.
            if self.failed_releases.fetch_add(1, Ordering::SeqCst) > 1_000 {
                self.hand_over.store(false, Ordering::SeqCst);
                self.releases_fail.store(false, Ordering::SeqCst);
            }
            return Err(broken());
        }
        self.inner.release(epoch, slots).await
    }
    async fn tidy(&self, limit: u32) -> Result<u64, StoreError> {
        self.inner.tidy(limit).await
    }
    fn wake_up(&self) -> WakeUp {
        self.inner.wake_up()
    }
}

pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what}"));
}
