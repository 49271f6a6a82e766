use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use outbox_core::*;
use tokio::sync::{Notify, Semaphore};

use crate::bent::*;
use crate::support::*;

/// Panics whenever the poison is in the batch, before anything is recorded.
struct Exploding(Recorder);

#[async_trait]
impl Transport for Exploding {
    async fn deliver(&self, batch: &[Delivery], report: &DeliveryReport) {
        if batch.iter().any(|delivery| text_of(&delivery.message) == "poison") {
            panic!("poison");
        }
        InBatches(self.0.clone()).deliver(batch, report).await;
    }
}

#[tokio::test]
async fn a_message_that_panics_ends_as_a_dead_letter_and_its_neighbours_spend_no_attempt() {
    let outbox = MemoryOutbox::new();
    let poison = message("orders", Some("p"), "poison");
    let mut messages: Vec<_> = (0..10).map(|n| message("orders", Some(&format!("k{n}")), n)).collect();
    messages.insert(5, poison.clone());
    commit(&outbox, &messages).await;
    let recorder = Recorder::accepting();
    let dispatcher =
        dispatcher(outbox.clone(), quick(), vec![Route::topic("orders", Exploding(recorder.clone()))]);
    let running = start(&dispatcher);
    recorder.wait_for(10).await;
    tokio::time::timeout(PATIENCE, async {
        while count(&outbox, MessageState::Dead).await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the poison ends");
    running.stop().await.unwrap();
    assert!(recorder.delivered().iter().all(|seen| seen.attempt == 1));
    let detail = outbox.show(poison.id()).await.unwrap().unwrap();
    assert_eq!(detail.summary.tally.attempts, 0);
    assert_eq!(detail.summary.tally.crashes, Tally::DEAD_AT);
}

/// Hangs with the poison, as a process does that is about to be killed by it.
struct Deadly {
    log: Recorder,
    deaths: Arc<AtomicU64>,
    died: Arc<tokio::sync::Notify>,
}

#[async_trait]
impl Transport for Deadly {
    async fn deliver(&self, batch: &[Delivery], report: &DeliveryReport) {
        if batch.iter().any(|delivery| text_of(&delivery.message) == "poison") {
            self.deaths.fetch_add(1, Ordering::SeqCst);
            self.died.notify_one();
            std::future::pending::<()>().await;
        }
        InBatches(self.log.clone()).deliver(batch, report).await;
    }
}

#[tokio::test]
async fn a_message_that_kills_its_process_ends_as_a_dead_letter_after_five_deaths() {
    let outbox = MemoryOutbox::new();
    let log = Recorder::accepting();
    let (deaths, died) = (Arc::new(AtomicU64::new(0)), Arc::new(tokio::sync::Notify::new()));
    let mut messages: Vec<_> = (0..6).map(|n| message("orders", Some(&format!("k{n}")), n)).collect();
    messages.insert(3, message("orders", Some("p"), "poison"));
    commit(&outbox, &messages).await;
    let settings = Settings { lease: Duration::from_secs(30), ..quick() };
    for _ in 0..20 {
        let transport = Deadly { log: log.clone(), deaths: Arc::clone(&deaths), died: Arc::clone(&died) };
        let dispatcher =
            dispatcher(outbox.clone(), settings.clone(), vec![Route::topic("orders", transport)]);
        let running = start(&dispatcher);
        tokio::select! {
            () = died.notified() => {}
            () = log.wait_for(6) => if deaths.load(Ordering::SeqCst) == 5 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            } else {
                died.notified().await;
            }
        }
        running.kill().await;
        outbox.advance(Duration::from_secs(31));
        if count(&outbox, MessageState::Dead).await == 1 {
            break;
        }
    }
    assert_eq!(deaths.load(Ordering::SeqCst), 5, "two deaths in company, three alone");
    assert_eq!(count(&outbox, MessageState::Dead).await, 1);
    log.wait_for(6).await;
    assert!(log.delivered().iter().all(|seen| seen.attempt == 1), "the neighbours spent nothing");
}

/// Delivers with whatever session comes, and dies of it.
async fn die_of_all(outbox: &MemoryOutbox) {
    let owned = outbox.renew(&DispatcherId::new("dies"), None, Duration::ZERO).await.unwrap();
    let request = ClaimRequest {
        epoch: owned.epoch,
        slots: &owned.slots,
        wants: &|_| true,
        held: &HeldPlaces::default(),
        restart: true,
        limit: 100,
        max_bytes: 1_000,
    };
    let claim = outbox.claim(&request).await.unwrap();
    let places = claim.messages.iter().map(|claimed| claimed.place).collect();
    let batch = Batch { number: BatchNo(1), places, alone: false };
    let settlement = Settlement { begin: Some(&batch), ..Settlement::default() };
    assert_eq!(outbox.settle(owned.epoch, &settlement).await.unwrap(), Fence::Held);
}

#[tokio::test(start_paused = true)]
async fn nothing_goes_out_beside_a_suspect_although_a_claim_brings_more_while_it_is_begun() {
    let outbox = MemoryOutbox::new();
    commit(&outbox, &[message("orders", None, "suspect")]).await;
    for _ in 0..Tally::ALONE_FROM {
        die_of_all(&outbox).await;
    }
    let store = Bent::new(outbox.clone());
    store.alone_waits.store(true, Ordering::SeqCst);
    let log = Recorder::accepting();
    let (gate, waiting) = (Arc::new(Semaphore::new(0)), Arc::new(Notify::new()));
    let transport = Gated { log: log.clone(), gate: Arc::clone(&gate), waiting: Arc::clone(&waiting) };
    let settings = Settings { batch: 2, lease: Duration::from_secs(30), ..quick() };
    let other = Recorder::accepting();
    let routes = vec![
        Route::topic("orders", PerMessage::new(1, transport)),
        Route::topic("mail", InBatches(other.clone())),
    ];
    let running = start(&dispatcher(store.clone(), settings, routes));
    until("it looks", || store.claims.load(Ordering::SeqCst) > 0).await;
    // One is judged as soon as it is read, and the other could go.
    commit(&outbox, &[message("nowhere", None, "no route"), message("mail", None, "other")]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(count(&outbox, MessageState::Behind).await, 0, "the settlement has not come to an end");
    store.alone_waits.store(false, Ordering::SeqCst);
    waiting.notified().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(count(&outbox, MessageState::Behind).await, 1, "verdicts are written meanwhile");
    assert_eq!(other.seen(), [], "the suspect is still in flight");
    gate.add_permits(1);
    log.wait_for(1).await;
    other.wait_for(1).await;
    running.stop().await.unwrap();
}
