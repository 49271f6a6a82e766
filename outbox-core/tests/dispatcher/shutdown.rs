use std::sync::atomic::Ordering;
use std::time::Duration;

use outbox_core::*;

use crate::support::*;

#[tokio::test]
async fn shutdown_waits_for_what_is_in_flight_and_gives_back_the_rest() {
    let outbox = MemoryOutbox::new();
    commit(&outbox, &(0..10).map(|n| message("orders", Some("k"), n)).collect::<Vec<_>>()).await;
    let (transport, log, gate, waiting) = gated();
    let settings = Settings { lease: Duration::from_secs(60), ..quick() };
    let route = Route::topic("orders", transport).batch(2).parallel(1);
    let running = start(&dispatcher(outbox.clone(), settings.clone(), vec![route]));
    waiting.notified().await;
    let stopping = tokio::spawn(running.stop());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!stopping.is_finished(), "two messages are in flight");
    gate.add_permits(10);
    let summary = stopping.await.unwrap().unwrap();
    assert_eq!(summary.delivered, 2);

    let rest = Recorder::accepting();
    let route = Route::topic("orders", InBatches(rest.clone()));
    // The lease was given back: no waiting for its end.
    let summary = dispatcher(outbox, settings, vec![route]).drain().await.unwrap();
    assert_eq!((summary.delivered, summary.redelivered_in_doubt), (8, 0));
    assert_eq!(
        [log.delivered_texts(), rest.delivered_texts()].concat(),
        ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
    );
}

#[tokio::test]
async fn shutdown_has_a_limit_and_says_what_is_left_in_doubt() {
    let outbox = MemoryOutbox::new();
    commit(&outbox, &[message("orders", None, "stuck")]).await;
    let (transport, _log, _gate, waiting) = gated();
    let settings =
        Settings { lease: Duration::from_secs(60), shutdown_within: Duration::from_millis(50), ..quick() };
    let running =
        start(&dispatcher(outbox.clone(), settings.clone(), vec![Route::topic("orders", transport)]));
    waiting.notified().await;
    match running.stop().await {
        Err(DispatchError::Unfinished { in_flight: 1, .. }) => {}
        other => panic!("{other:?}"),
    }
    let second = Recorder::accepting();
    dispatcher(outbox, settings, vec![Route::topic("orders", InBatches(second.clone()))])
        .drain()
        .await
        .unwrap();
    assert!(second.seen()[0].in_doubt, "a successor may start at once and knows the doubt");
}

#[tokio::test]
async fn a_dispatcher_runs_once_at_a_time_and_again_after_it_ended() {
    let outbox = MemoryOutbox::new();
    let recorder = Recorder::accepting();
    let dispatcher =
        dispatcher(outbox.clone(), quick(), vec![Route::topic("orders", InBatches(recorder.clone()))]);
    let running = start(&dispatcher);
    commit(&outbox, &[message("orders", None, 0)]).await;
    recorder.wait_for(1).await;
    assert!(matches!(dispatcher.drain().await, Err(DispatchError::AlreadyRunning)));
    running.stop().await.unwrap();
    commit(&outbox, &[message("orders", None, 1)]).await;
    assert_eq!(dispatcher.drain().await.unwrap().delivered, 1);
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
