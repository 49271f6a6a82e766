//! A store that tells how long its claims take.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use outbox::{
    Claim, ClaimRequest, DispatcherId, Epoch, Fence, OutboxStore, Ownership, Settlement, Slot, StoreError,
    WakeUp, async_trait,
};

/// When a claim began, and how long it took.
type Claims = Arc<Mutex<Vec<(Instant, Duration)>>>;

/// Hands everything on.
pub(crate) struct Watched {
    inner: Arc<dyn OutboxStore>,
    claims: Claims,
}

impl Watched {
    pub(crate) fn new(inner: Arc<dyn OutboxStore>) -> Self {
        Self { inner, claims: Arc::default() }
    }

    /// The claims that brought something, as they go on.
    pub(crate) fn claims(&self) -> Claims {
        Arc::clone(&self.claims)
    }
}

#[async_trait]
impl OutboxStore for Watched {
    async fn renew(
        &self,
        me: &DispatcherId,
        epoch: Option<Epoch>,
        lease_for: Duration,
    ) -> Result<Ownership, StoreError> {
        self.inner.renew(me, epoch, lease_for).await
    }

    async fn claim(&self, request: &ClaimRequest<'_>) -> Result<Claim, StoreError> {
        let started = Instant::now();
        let claim = self.inner.claim(request).await?;
        if !claim.messages.is_empty() {
            self.claims.lock().expect("nobody panics").push((started, started.elapsed()));
        }
        Ok(claim)
    }

    async fn settle(&self, epoch: Epoch, settlement: &Settlement<'_>) -> Result<Fence, StoreError> {
        self.inner.settle(epoch, settlement).await
    }

    async fn release(&self, epoch: Epoch, slots: &[Slot]) -> Result<(), StoreError> {
        self.inner.release(epoch, slots).await
    }

    async fn tidy(&self, limit: u32) -> Result<u64, StoreError> {
        self.inner.tidy(limit).await
    }

    fn wake_up(&self) -> WakeUp {
        self.inner.wake_up()
    }
}
