//! Slots that are to be handed over.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use outbox_core::*;

use crate::bent::*;
use crate::support::*;

#[tokio::test]
async fn a_hand_over_that_is_no_longer_wanted_leaves_nothing_behind() {
    let outbox = MemoryOutbox::new();
    commit(&outbox, &(0..10).map(|n| message("orders", Some("k"), n)).collect::<Vec<_>>()).await;
    let (transport, log, gate, waiting) = gated();
    let store = Bent::new(outbox.clone());
    let route = Route::topic("orders", transport).batch(1).parallel(1);
    let running = start(&dispatcher(store.clone(), quick(), vec![route]));
    waiting.notified().await;
    store.releases_fail.store(true, Ordering::SeqCst);
    store.hand_over.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(400)).await;
    store.hand_over.store(false, Ordering::SeqCst);
    store.releases_fail.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(400)).await;
    gate.add_permits(100);
    log.wait_for(10).await;
    running.stop().await.unwrap();
    log.assert_order();
}

/// Says that it owns a second slot, which another session should get; tells how much was delivered when it was given
/// back.
struct TwoSlots {
    inner: MemoryOutbox,
    recorder: Recorder,
    delivered_at_release: Arc<std::sync::Mutex<Option<usize>>>,
}

#[async_trait]
impl OutboxStore for TwoSlots {
    async fn renew(
        &self,
        me: &DispatcherId,
        epoch: Option<Epoch>,
        lease: Duration,
    ) -> Result<Ownership, StoreError> {
        let mut owned = self.inner.renew(me, epoch, lease).await?;
        if self.delivered_at_release.lock().unwrap().is_none() {
            owned.slots.push(Slot(1));
            owned.hand_over.push(Slot(1));
        }
        Ok(owned)
    }
    async fn claim(&self, request: &ClaimRequest<'_>) -> Result<Claim, StoreError> {
        tokio::time::sleep(Duration::from_millis(2)).await;
        self.inner.claim(request).await
    }
    async fn settle(&self, epoch: Epoch, settlement: &Settlement<'_>) -> Result<Fence, StoreError> {
        tokio::time::sleep(Duration::from_millis(2)).await;
        self.inner.settle(epoch, settlement).await
    }
    async fn release(&self, epoch: Epoch, slots: &[Slot]) -> Result<(), StoreError> {
        if slots.contains(&Slot(1)) {
            let delivered = self.recorder.delivered().len();
            self.delivered_at_release.lock().unwrap().get_or_insert(delivered);
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

#[tokio::test]
async fn a_backlog_does_not_keep_a_slot_from_being_handed_over() {
    let outbox = MemoryOutbox::new();
    commit(&outbox, &(0..2_000).map(|n| message("o", None, n)).collect::<Vec<_>>()).await;
    let recorder = Recorder::accepting();
    let delivered_at_release = Arc::default();
    let store = TwoSlots {
        inner: outbox,
        recorder: recorder.clone(),
        delivered_at_release: Arc::clone(&delivered_at_release),
    };
    let settings = Settings { batch: 10, max_held: 100, ..quick() };
    let running = start(&dispatcher(store, settings, vec![Route::topic("o", InBatches(recorder.clone()))]));
    recorder.wait_for(2_000).await;
    running.stop().await.unwrap();
    let delivered = delivered_at_release.lock().unwrap().expect("it was handed over");
    assert!(delivered < 1_000, "only after {delivered} messages of the other slot");
}

#[tokio::test(start_paused = true)]
async fn giving_slots_back_is_not_tried_in_a_tight_loop_while_it_fails() {
    let store = Bent::new(MemoryOutbox::new());
    let route = Route::topic("o", InBatches(Recorder::accepting()));
    let settings = Settings { lease: Duration::from_secs(30), ..quick() };
    let running = start(&dispatcher(store.clone(), settings, vec![route]));
    until("it looks", || store.claims.load(Ordering::SeqCst) > 0).await;
    store.releases_fail.store(true, Ordering::SeqCst);
    store.hand_over.store(true, Ordering::SeqCst);
    let failed = || store.failed_releases.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!((1..=10).contains(&failed()), "{} tries in a minute", failed());
    store.hand_over.store(false, Ordering::SeqCst);
    store.releases_fail.store(false, Ordering::SeqCst);
    running.stop().await.unwrap();
}
