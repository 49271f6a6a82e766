//! A store that fails or is too slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use outbox_core::*;

use crate::bent::*;
use crate::support::*;

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

#[tokio::test(start_paused = true)]
async fn draining_ends_with_the_error_of_a_store_that_stays_unreachable() {
    let outbox = MemoryOutbox::new();
    let recorder = Recorder::accepting();
    let route = || Route::topic("o", InBatches(recorder.clone()));
    // The claims alone, while the session is renewed; and everything at once, but for the first renewal: then
    // the claims end with their deadline, and the lease before they have failed often.
    for everything in [false, true] {
        let store = Bent::new(outbox.clone());
        match everything {
            false => store.fails.store(true, Ordering::SeqCst),
            true => store.claims_wait.store(true, Ordering::SeqCst),
        }
        let (claims, renewals_fail) = (Arc::clone(&store.claims), Arc::clone(&store.renewals_fail));
        let dispatcher = dispatcher(store, quick(), vec![route()]);
        let drain = tokio::spawn(async move { dispatcher.drain().await });
        until("a claim begins", || claims.load(Ordering::SeqCst) > 0).await;
        renewals_fail.store(everything, Ordering::SeqCst);
        let end = tokio::time::timeout(PATIENCE, drain).await.map(Result::unwrap);
        assert!(matches!(end, Ok(Err(DispatchError::Store(_)))), "{everything}: {end:?}");
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
async fn a_backlog_is_read_in_parts_that_the_store_can_send_within_its_deadline() {
    let outbox = MemoryOutbox::new();
    commit(&outbox, &(0..1_500).map(|n| message("orders", Some("k"), n)).collect::<Vec<_>>()).await;
    let store = Bent { most_claimed: 7, ..Bent::new(outbox.clone()) };
    let log = Recorder::accepting();
    let route = || Route::topic("orders", InBatches(log.clone()));
    let summary = dispatcher(store, quick(), vec![route()]).drain().await.unwrap();
    assert_eq!(summary.delivered, 1_500);
    log.assert_order();
}
