//! When the store is asked for more: never in a tight loop, and without waiting for a poll once there may be something.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use outbox_core::*;
use tokio::sync::{Notify, Semaphore};

use crate::bent::*;
use crate::support::*;

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
    let claims = rises_in(Duration::from_millis(300), &store.claims).await;
    assert!(claims < 40.0, "{claims} claims in 300 ms");
    store.ignores_held.store(false, Ordering::SeqCst);
    gate.add_permits(100);
    log.wait_for(40).await;
    running.stop().await.unwrap();
    log.assert_order();
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

/// Fails each message of the key `k` once.
fn fails_once() -> Recorder {
    Recorder::new(|delivery| match (delivery.message.key.as_deref(), delivery.attempt) {
        (Some("k"), 1) => Outcome::transient("not now"),
        _ => Outcome::delivered(),
    })
}

/// Polls once an hour.
fn patient() -> Settings {
    let hour = Duration::from_secs(3600);
    Settings { poll_min: hour, poll_max: hour, ..quick() }
}

#[tokio::test(start_paused = true)]
async fn what_a_settlement_frees_is_found_without_waiting_for_a_poll_although_a_claim_ran_meanwhile() {
    let outbox = MemoryOutbox::new();
    let store = Bent::new(outbox.clone());
    let log = fails_once();
    let (gate, waiting) = (Arc::new(Semaphore::new(0)), Arc::new(Notify::new()));
    let transport = Gated { log: log.clone(), gate: Arc::clone(&gate), waiting: Arc::clone(&waiting) };
    let route =
        Route::topic("orders", PerMessage::new(1, transport)).retry(FixedDelays::new([Duration::ZERO]));
    let running = start(&dispatcher(store.clone(), patient(), vec![route]));
    commit(&outbox, &[message("orders", Some("k"), 0)]).await;
    waiting.notified().await;
    store.claims_wait.store(true, Ordering::SeqCst);
    let seen = store.claims.load(Ordering::SeqCst);
    outbox.advance(Duration::ZERO);
    until("a claim starts", || store.claims.load(Ordering::SeqCst) > seen).await;
    gate.add_permits(2);
    let aside = async {
        while count(&outbox, MessageState::Retrying).await == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, aside).await.expect("it is set aside");
    store.claims_wait.store(false, Ordering::SeqCst);
    log.wait_for(1).await;
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_settlement_frees_is_found_without_waiting_for_a_poll_although_more_was_in_flight() {
    let outbox = MemoryOutbox::new();
    let (slow, slow_log, gate, waiting) = gated();
    let log = fails_once();
    let routes = vec![
        Route::topic("slow", slow),
        Route::topic("orders", InBatches(log.clone())).retry(FixedDelays::new([Duration::ZERO])),
    ];
    let running = start(&dispatcher(outbox.clone(), patient(), routes));
    commit(&outbox, &[message("slow", None, 0)]).await;
    waiting.notified().await;
    commit(&outbox, &[message("orders", Some("k"), 1)]).await;
    until("it fails once", || log.seen().len() == 1).await;
    gate.add_permits(1);
    slow_log.wait_for(1).await;
    log.wait_for(1).await;
    running.stop().await.unwrap();
}
