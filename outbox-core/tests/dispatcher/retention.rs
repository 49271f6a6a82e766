use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use outbox_core::*;

use crate::support::*;

/// A store with rows that retention no longer keeps; each step takes a while.
struct Aged {
    inner: MemoryOutbox,
    rows: AtomicU64,
    steps: Arc<AtomicU64>,
}

#[async_trait]
impl OutboxStore for Aged {
    async fn renew(
        &self,
        me: &DispatcherId,
        epoch: Option<Epoch>,
        lease: Duration,
    ) -> Result<Ownership, StoreError> {
        self.inner.renew(me, epoch, lease).await
    }
    async fn claim(&self, request: &ClaimRequest<'_>) -> Result<Claim, StoreError> {
        self.inner.claim(request).await
    }
    async fn settle(&self, epoch: Epoch, settlement: &Settlement<'_>) -> Result<Fence, StoreError> {
        self.inner.settle(epoch, settlement).await
    }
    async fn release(&self, epoch: Epoch, slots: &[Slot]) -> Result<(), StoreError> {
        self.inner.release(epoch, slots).await
    }
    async fn tidy(&self, limit: u32) -> Result<u64, StoreError> {
        tokio::time::sleep(Duration::from_millis(20)).await;
        self.steps.fetch_add(1, Ordering::SeqCst);
        let limit = u64::from(limit);
        let before = self
            .rows
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |rows| Some(rows.saturating_sub(limit)));
        Ok(before.unwrap_or_default().min(limit))
    }
    fn wake_up(&self) -> WakeUp {
        self.inner.wake_up()
    }
}

// On a clock of its own: what counts is how many steps are taken, not how fast this machine is.
#[tokio::test(start_paused = true)]
async fn retention_goes_on_while_its_steps_are_full_and_then_rests() {
    let steps = Arc::new(AtomicU64::new(0));
    let store = Aged { inner: MemoryOutbox::new(), rows: AtomicU64::new(100_000), steps: Arc::clone(&steps) };
    let settings = Settings { tidy_every: Duration::from_secs(60), ..Settings::default() };
    let running =
        start(&dispatcher(store, settings, vec![Route::topic("o", InBatches(Recorder::accepting()))]));
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert_eq!(steps.load(Ordering::SeqCst), 0);
    // A hundred full steps, 20 ms and as long a rest each, and one that finds nothing more.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(steps.load(Ordering::SeqCst), 101);
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert_eq!(steps.load(Ordering::SeqCst), 101, "once there is no more, it waits for its turn");
    running.stop().await.unwrap();
}
