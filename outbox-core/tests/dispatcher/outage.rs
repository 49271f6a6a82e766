use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use outbox_core::*;

use crate::support::*;

/// A destination that can be down; counts how often it was tried.
fn destination() -> (Arc<AtomicBool>, Arc<AtomicU64>, Recorder) {
    let (down, tries) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
    let (is_down, tried) = (Arc::clone(&down), Arc::clone(&tries));
    let recorder = Recorder::new(move |_| {
        tried.fetch_add(1, Ordering::SeqCst);
        match is_down.load(Ordering::SeqCst) {
            true => Outcome::unavailable("connection refused"),
            false => Outcome::delivered(),
        }
    });
    (down, tries, recorder)
}

#[tokio::test]
async fn an_outage_costs_no_attempts_and_other_routes_flow_on() {
    let outbox = MemoryOutbox::new();
    let (down, tries, mail) = destination();
    let events = Recorder::accepting();
    let settings = Settings { batch: 10, max_held: 40, ..quick() };
    let routes = vec![
        // One attempt only: a single spent one would be a dead letter.
        Route::topic("mail", PerMessage::new(4, mail.clone()))
            .retry(NeverRetry)
            .pause(Duration::from_millis(5), Duration::from_millis(50)),
        Route::topic("events", InBatches(events.clone())),
    ];
    let dispatcher = dispatcher(outbox.clone(), settings, routes);
    let running = start(&dispatcher);
    // Far more than the paused route may hold in memory.
    let mails: Vec<_> = (0..300).map(|n| message("mail", Some(&format!("k{}", n % 4)), n)).collect();
    commit(&outbox, &mails).await;
    commit(&outbox, &(0..300).map(|n| message("events", Some("e"), n)).collect::<Vec<_>>()).await;
    events.wait_for(300).await;
    assert!(mail.delivered().is_empty());
    let probes = rises_in(Duration::from_millis(200), &tries).await;
    assert!(probes < 40.0, "a route that is down is probed, not hammered: {probes} tries");
    down.store(false, Ordering::SeqCst);
    mail.wait_for(300).await;
    let summary = running.stop().await.unwrap();
    assert_eq!((summary.delivered, summary.dead, summary.retried), (600, 0, 0));
    assert!(mail.seen().iter().all(|seen| seen.attempt == 1), "no attempt was spent");
    mail.assert_order();
    events.assert_order();
}

#[tokio::test]
async fn draining_does_not_wait_for_a_destination_that_is_down() {
    let outbox = MemoryOutbox::new();
    let (_down, _tries, mail) = destination();
    commit(&outbox, &[message("mail", None, "x")]).await;
    let dispatcher = dispatcher(outbox.clone(), quick(), vec![Route::topic("mail", InBatches(mail))]);
    let summary = tokio::time::timeout(PATIENCE, dispatcher.drain()).await.expect("it returns").unwrap();
    assert_eq!(summary.delivered, 0);
    assert_eq!(count(&outbox, MessageState::Waiting).await, 1, "it waits untouched");
}

#[tokio::test]
async fn draining_ends_although_more_waits_for_a_destination_that_is_down_than_may_be_held() {
    let outbox = MemoryOutbox::new();
    let (_down, _tries, mail) = destination();
    let waiting = Settings::default().max_held + 100;
    let messages: Vec<_> = (0..waiting).map(|_| message("mail", None, "x")).collect();
    commit(&outbox, &messages).await;
    let route = Route::topic("mail", InBatches(mail));
    let dispatcher = dispatcher(outbox.clone(), Settings::default(), vec![route]);
    let summary = tokio::time::timeout(PATIENCE, dispatcher.drain()).await.expect("it returns").unwrap();
    assert_eq!(summary.delivered, 0);
    assert_eq!(count(&outbox, MessageState::Waiting).await, waiting as u64, "all wait untouched");
}

#[tokio::test]
async fn a_transport_that_sends_nothing_is_not_called_in_a_tight_loop() {
    let outbox = MemoryOutbox::new();
    let calls = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&calls);
    let lazy = Recorder::new(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        Outcome::NotSent
    });
    commit(&outbox, &[message("mail", None, "x")]).await;
    let route =
        Route::topic("mail", InBatches(lazy)).pause(Duration::from_millis(20), Duration::from_millis(50));
    let dispatcher = dispatcher(outbox.clone(), quick(), vec![route]);
    let running = start(&dispatcher);
    let often = rises_in(Duration::from_millis(300), &calls).await;
    running.stop().await.unwrap();
    assert!(often < 40.0, "{often} calls in 300 ms");
    assert!(calls.load(Ordering::SeqCst) > 0, "it is called");
    assert_eq!(count(&outbox, MessageState::Waiting).await, 1);
}

#[tokio::test]
async fn draining_ends_although_the_pauses_of_a_destination_that_is_down_are_short() {
    let outbox = MemoryOutbox::new();
    let (_down, _tries, mail) = destination();
    commit(&outbox, &[message("mail", None, "x")]).await;
    let route =
        Route::topic("mail", InBatches(mail)).pause(Duration::from_millis(1), Duration::from_millis(1));
    let settings = Settings { poll_min: Duration::from_millis(25), ..Settings::default() };
    let drain = tokio::time::timeout(
        Duration::from_secs(5),
        dispatcher(outbox.clone(), settings, vec![route]).drain(),
    )
    .await;
    assert_eq!(drain.expect("it returns").unwrap().delivered, 0);
}
