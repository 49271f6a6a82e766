//! Stores and transports that answer what nobody expects: the dispatcher goes on.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use outbox_core::*;

use crate::support::*;

/// A memory outbox whose answers can be bent.
#[derive(Clone)]
struct Bent {
    inner: MemoryOutbox,
    /// The next renewal panics.
    renew_panics: Arc<AtomicBool>,
    /// The next claim fails, having done nothing.
    claim_fails: Arc<AtomicBool>,
    /// Claims wait while it is set.
    claims_wait: Arc<AtomicBool>,
    /// All slots should be handed over, and giving them back fails.
    hand_over: Arc<AtomicBool>,
    /// Claims answer what is held too.
    ignores_held: Arc<AtomicBool>,
    next_due: Option<Duration>,
    claims: Arc<AtomicU64>,
    fails: Arc<AtomicBool>,
    /// A settlement with more verdicts never ends.
    most_verdicts: usize,
    /// The most verdicts that one settlement had.
    largest: Arc<AtomicUsize>,
    /// So many settlements with verdicts fail, having done nothing.
    settlements_fail: Arc<AtomicUsize>,
}

impl Bent {
    fn new(inner: MemoryOutbox) -> Self {
        Self {
            inner,
            renew_panics: Arc::default(),
            claim_fails: Arc::default(),
            claims_wait: Arc::default(),
            hand_over: Arc::default(),
            ignores_held: Arc::default(),
            next_due: None,
            claims: Arc::default(),
            fails: Arc::default(),
            most_verdicts: usize::MAX,
            largest: Arc::default(),
            settlements_fail: Arc::default(),
        }
    }
}

fn broken() -> StoreError {
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
        match self.hand_over.load(Ordering::SeqCst) {
            true => Err(broken()),
            false => self.inner.release(epoch, slots).await,
        }
    }
    async fn tidy(&self, limit: u32) -> Result<u64, StoreError> {
        self.inner.tidy(limit).await
    }
    fn wake_up(&self) -> WakeUp {
        self.inner.wake_up()
    }
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test]
async fn what_a_person_discards_is_not_sent_when_a_failed_claim_reads_again_from_the_beginning() {
    let outbox = MemoryOutbox::new();
    commit(&outbox, &(0..10).map(|n| message("orders", Some("k"), n)).collect::<Vec<_>>()).await;
    let (transport, log, gate, waiting) = gated();
    let store = Bent::new(outbox.clone());
    let route = Route::topic("orders", transport).batch(1).parallel(1);
    let running = start(&dispatcher(store.clone(), quick(), vec![route]));
    waiting.notified().await;
    store.claims_wait.store(true, Ordering::SeqCst);
    let seen = store.claims.load(Ordering::SeqCst);
    until("a claim starts", || store.claims.load(Ordering::SeqCst) > seen).await;
    let waiting_ones = Selection::All { topic: None, state: Some(MessageState::Waiting) };
    let act = Act::new("on call", "wrong customer");
    assert_eq!(outbox.discard(&waiting_ones, &act).await.unwrap(), 9, "all but the one in flight");
    store.claim_fails.store(true, Ordering::SeqCst);
    store.claims_wait.store(false, Ordering::SeqCst);
    let seen = store.claims.load(Ordering::SeqCst);
    until("it reads again", || store.claims.load(Ordering::SeqCst) > seen + 1).await;
    commit(&outbox, &[message("orders", Some("k"), 10)]).await;
    gate.add_permits(100);
    log.wait_for(2).await;
    running.stop().await.unwrap();
    assert_eq!(log.delivered_texts(), ["0", "10"]);
}

#[tokio::test]
async fn a_hand_over_that_is_no_longer_wanted_leaves_nothing_behind() {
    let outbox = MemoryOutbox::new();
    commit(&outbox, &(0..10).map(|n| message("orders", Some("k"), n)).collect::<Vec<_>>()).await;
    let (transport, log, gate, waiting) = gated();
    let store = Bent::new(outbox.clone());
    let route = Route::topic("orders", transport).batch(1).parallel(1);
    let running = start(&dispatcher(store.clone(), quick(), vec![route]));
    waiting.notified().await;
    store.hand_over.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(400)).await;
    store.hand_over.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(400)).await;
    gate.add_permits(100);
    log.wait_for(10).await;
    running.stop().await.unwrap();
    log.assert_order();
}

#[tokio::test]
async fn a_destination_may_ask_for_any_wait() {
    let outbox = MemoryOutbox::new();
    commit(&outbox, &[message("down", None, 0), message("busy", None, 1), message("o", None, 2)]).await;
    let down = Recorder::new(|_| Outcome::Unavailable {
        retry_after: Some(Duration::MAX),
        error: DeliveryError::new("come back never"),
    });
    let busy = Recorder::new(|_| Outcome::Transient {
        retry_after: Some(Duration::MAX),
        error: DeliveryError::new("come back never"),
    });
    let recorder = Recorder::accepting();
    let routes = vec![
        Route::topic("down", InBatches(down)).pause(Duration::MAX, Duration::MAX),
        Route::topic("busy", InBatches(busy)),
        Route::topic("o", InBatches(recorder.clone())),
    ];
    let summary = dispatcher(outbox.clone(), quick(), routes).drain().await.unwrap();
    assert_eq!((summary.delivered, summary.retried), (1, 1));
    assert_eq!(count(&outbox, MessageState::Retrying).await, 1);
}

#[tokio::test]
async fn waits_without_end_are_settings_like_any_other() {
    let outbox = MemoryOutbox::new();
    let recorder = Recorder::accepting();
    let forever = Settings {
        lease: Duration::MAX,
        poll_min: Duration::MAX,
        poll_max: Duration::MAX,
        store_deadline: Duration::MAX,
        shutdown_within: Duration::MAX,
        tidy_every: Duration::MAX,
        max_held_bytes: usize::MAX,
        ..quick()
    };
    let mut store = Bent::new(outbox.clone());
    store.next_due = Some(Duration::MAX);
    let route = Route::topic("o", InBatches(recorder.clone())).deadline(Duration::MAX);
    let running = start(&dispatcher(store, forever, vec![route]));
    commit(&outbox, &[message("o", None, 0)]).await;
    recorder.wait_for(1).await;
    commit(&outbox, &[message("o", None, 1)]).await;
    recorder.wait_for(2).await;
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_store_that_panics_in_a_renewal_is_asked_again() {
    let outbox = MemoryOutbox::new();
    let store = Bent::new(outbox.clone());
    let recorder = Recorder::accepting();
    let running =
        start(&dispatcher(store.clone(), quick(), vec![Route::topic("o", InBatches(recorder.clone()))]));
    commit(&outbox, &[message("o", None, 0)]).await;
    recorder.wait_for(1).await;
    store.renew_panics.store(true, Ordering::SeqCst);
    until("a renewal panics", || !store.renew_panics.load(Ordering::SeqCst)).await;
    // Longer than the lease.
    tokio::time::sleep(Duration::from_millis(700)).await;
    commit(&outbox, &[message("o", None, 1)]).await;
    recorder.wait_for(2).await;
    running.stop().await.unwrap();
}

/// Panics before there is a future to be polled, and then when its future is dropped.
struct Explosive {
    calls: AtomicU64,
    log: Recorder,
}

struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("dropped half-way");
        }
    }
}

impl Transport for Explosive {
    fn deliver<'a, 'b, 'c, 'd>(
        &'a self,
        batch: &'b [Delivery],
        report: &'c DeliveryReport,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'd>>
    where
        'a: 'd,
        'b: 'd,
        'c: 'd,
        Self: 'd,
    {
        match self.calls.fetch_add(1, Ordering::SeqCst) {
            0 => panic!("before the first poll"),
            1 => Box::pin(async {
                let _bomb = PanicsOnDrop;
                std::future::pending::<()>().await;
            }),
            _ => Box::pin(async move {
                for delivery in batch {
                    report.record(delivery, self.log.send(delivery).await);
                }
            }),
        }
    }
}

#[tokio::test]
async fn a_transport_that_panics_outside_its_future_is_called_again() {
    let outbox = MemoryOutbox::new();
    commit(&outbox, &[message("o", Some("k"), 0), message("o", Some("k"), 1)]).await;
    let recorder = Recorder::accepting();
    let explosive = Explosive { calls: AtomicU64::new(0), log: recorder.clone() };
    let route = Route::topic("o", explosive)
        .retry(FixedDelays::new(vec![Duration::ZERO; 5]))
        .deadline(Duration::from_millis(50));
    let running = start(&dispatcher(outbox.clone(), quick(), vec![route]));
    recorder.wait_for(2).await;
    running.stop().await.unwrap();
    recorder.assert_order();
}

#[tokio::test]
async fn draining_ends_with_the_error_of_a_store_that_stays_unreachable() {
    let outbox = MemoryOutbox::new();
    let recorder = Recorder::accepting();
    let route = || Route::topic("o", InBatches(recorder.clone()));
    // The claims alone, while the session is renewed; and everything at once, but for the first renewal.
    let store = Bent::new(outbox.clone());
    store.fails.store(true, Ordering::SeqCst);
    let end = tokio::time::timeout(PATIENCE, dispatcher(store, quick(), vec![route()]).drain()).await;
    assert!(matches!(end, Ok(Err(DispatchError::Store(_)))), "{end:?}");
}

#[tokio::test]
async fn a_store_that_answers_what_is_held_is_not_asked_in_a_tight_loop() {
    let outbox = MemoryOutbox::new();
    commit(&outbox, &(0..40).map(|n| message("orders", Some("k"), n)).collect::<Vec<_>>()).await;
    let (transport, log, gate, waiting) = gated();
    let store = Bent::new(outbox.clone());
    store.ignores_held.store(true, Ordering::SeqCst);
    let route = Route::topic("orders", transport).batch(1).parallel(1);
    let settings = Settings {
        batch: 10,
        poll_min: Duration::from_millis(20),
        poll_max: Duration::from_millis(200),
        ..quick()
    };
    let running = start(&dispatcher(store.clone(), settings, vec![route]));
    waiting.notified().await;
    let before = store.claims.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let claims = store.claims.load(Ordering::SeqCst) - before;
    assert!(claims < 40, "{claims} claims in 300 ms");
    store.ignores_held.store(false, Ordering::SeqCst);
    gate.add_permits(100);
    log.wait_for(40).await;
    running.stop().await.unwrap();
    log.assert_order();
}

#[tokio::test]
async fn what_a_slow_destination_left_unstarted_at_the_deadline_is_not_in_doubt() {
    struct Slow(Recorder);
    #[async_trait]
    impl SendOne for Slow {
        async fn send(&self, delivery: &Delivery) -> Outcome {
            tokio::time::sleep(Duration::from_millis(60)).await;
            self.0.send(delivery).await
        }
    }
    let outbox = MemoryOutbox::new();
    commit(&outbox, &(0..8).map(|n| message("mail", None, n)).collect::<Vec<_>>()).await;
    let recorder = Recorder::accepting();
    let route = Route::topic("mail", PerMessage::new(1, Slow(recorder.clone())))
        .parallel(1)
        .deadline(Duration::from_millis(150))
        .retry(FixedDelays::new(vec![Duration::ZERO; 20]));
    dispatcher(outbox.clone(), quick(), vec![route]).drain().await.unwrap();
    let doubted = recorder.seen().iter().filter(|seen| seen.in_doubt).count();
    assert_eq!(recorder.delivered().len(), 8);
    assert!(
        doubted <= 4,
        "{doubted} of 8 were said to be in doubt, while one was under way at each deadline"
    );
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

#[tokio::test]
async fn shutdown_counts_what_was_delivered_and_could_not_be_settled() {
    let outbox = MemoryOutbox::new();
    commit(&outbox, &[message("orders", None, 0)]).await;
    let (transport, log, gate, waiting) = gated();
    let store = Flaky::new(outbox.clone());
    let settings =
        Settings { lease: Duration::from_secs(60), shutdown_within: Duration::from_millis(50), ..quick() };
    let running = start(&dispatcher(store.clone(), settings, vec![Route::topic("orders", transport)]));
    waiting.notified().await;
    store.down.store(true, Ordering::SeqCst);
    gate.add_permits(1);
    log.wait_for(1).await;
    match running.stop().await {
        Err(DispatchError::Unfinished { in_flight: 1, .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_long_line_is_set_aside_in_parts_that_the_store_can_write_within_its_deadline() {
    const BEHIND: u64 = 1_500;
    let outbox = MemoryOutbox::new();
    commit(&outbox, &(0..=BEHIND).map(|n| message("orders", Some("k"), n)).collect::<Vec<_>>()).await;
    commit(&outbox, &[message("orders", Some("other"), 9_999)]).await;
    let refuses = Arc::new(AtomicBool::new(true));
    let head = Arc::clone(&refuses);
    let log = Recorder::new(move |delivery| {
        match text_of(&delivery.message) == "0" && head.load(Ordering::SeqCst) {
            true => Outcome::transient("not yet"),
            false => Outcome::delivered(),
        }
    });
    let store = Bent { most_verdicts: 30, ..Bent::new(outbox.clone()) };
    let settings =
        Settings { batch: 100, max_held: 500, store_deadline: Duration::from_millis(20), ..quick() };
    let route = Route::topic("orders", InBatches(log.clone()));
    let running = start(&dispatcher(store.clone(), settings, vec![route]));
    until("the other key flows on", || log.delivered_texts().contains(&"9999".to_owned())).await;
    refuses.store(false, Ordering::SeqCst);
    until("the line follows", || log.delivered_texts().len() as u64 == BEHIND + 2).await;
    log.assert_order();
    assert!(store.largest.load(Ordering::SeqCst) <= 700, "what waits to be written is bounded");
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_was_announced_is_found_without_waiting_for_a_poll_although_the_first_look_fails() {
    let outbox = MemoryOutbox::new();
    let log = Recorder::accepting();
    let store = Bent::new(outbox.clone());
    let hour = Duration::from_secs(3600);
    let settings = Settings { poll_min: hour, poll_max: hour, ..quick() };
    let route = Route::topic("orders", InBatches(log.clone()));
    let running = start(&dispatcher(store.clone(), settings, vec![route]));
    until("it has looked", || store.claims.load(Ordering::SeqCst) == 1).await;
    store.claim_fails.store(true, Ordering::SeqCst);
    commit(&outbox, &[message("orders", None, 0)]).await;
    log.wait_for(1).await;
    assert!(!store.claim_fails.load(Ordering::SeqCst), "the look that was asked for failed");
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_settlement_that_failed_is_not_followed_at_once_by_a_claim() {
    const MESSAGES: usize = 100;
    let outbox = MemoryOutbox::new();
    commit(&outbox, &(0..MESSAGES).map(|n| message("orders", None, n)).collect::<Vec<_>>()).await;
    let log = Recorder::accepting();
    let store = Bent::new(outbox.clone());
    store.settlements_fail.store(5, Ordering::SeqCst);
    // Polls once an hour, and the first claim brings everything.
    let hour = Duration::from_secs(3600);
    let settings = Settings { batch: 2 * MESSAGES, poll_min: hour, poll_max: hour, ..quick() };
    let route = Route::topic("orders", InBatches(log.clone()));
    let running = start(&dispatcher(store.clone(), settings, vec![route]));
    until("five settlements fail", || store.settlements_fail.load(Ordering::SeqCst) == 0).await;
    assert_eq!(store.claims.load(Ordering::SeqCst), 1, "claims while settlements failed");
    running.stop().await.unwrap();
    assert_eq!(log.seen().len(), MESSAGES);
    assert_eq!(outbox.counts().await.unwrap(), [], "what had failed was written in the end");
}
