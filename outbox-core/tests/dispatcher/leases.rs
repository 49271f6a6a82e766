use std::sync::atomic::Ordering;
use std::time::Duration;

use outbox_core::*;

use crate::bent::*;
use crate::support::*;

#[tokio::test]
async fn a_successor_delivers_what_a_killed_dispatcher_left_and_marks_it_in_doubt() {
    let outbox = MemoryOutbox::new();
    commit(&outbox, &(0..5).map(|n| message("orders", Some("k"), n)).collect::<Vec<_>>()).await;
    struct Stuck(Recorder, std::sync::Arc<tokio::sync::Notify>);
    #[async_trait]
    impl Transport for Stuck {
        async fn deliver(&self, batch: &[Delivery], _report: &DeliveryReport) {
            for delivery in batch {
                let _ = self.0.send(delivery).await;
            }
            self.1.notify_one();
            std::future::pending::<()>().await;
        }
        fn keeps_order(&self) -> bool {
            true
        }
    }
    let (first, sent) = (Recorder::accepting(), std::sync::Arc::new(tokio::sync::Notify::new()));
    let settings = Settings { lease: Duration::from_secs(30), ..quick() };
    let stuck = Stuck(first.clone(), std::sync::Arc::clone(&sent));
    let running = start(&dispatcher(outbox.clone(), settings.clone(), vec![Route::topic("orders", stuck)]));
    sent.notified().await;
    running.kill().await;
    commit(&outbox, &[message("orders", Some("k"), 5)]).await;

    let second = Recorder::accepting();
    let successor =
        dispatcher(outbox.clone(), settings, vec![Route::topic("orders", InBatches(second.clone()))]);
    assert!(
        matches!(successor.drain().await, Err(DispatchError::NotOwner)),
        "the lease of the dead one still runs"
    );
    outbox.advance(Duration::from_secs(31));
    successor.drain().await.unwrap();
    assert_eq!(second.delivered_texts(), ["0", "1", "2", "3", "4", "5"]);
    let in_doubt: Vec<_> = second.seen().iter().map(|seen| seen.in_doubt).collect();
    assert_eq!(in_doubt, [true, true, true, true, true, false], "only what was in flight is in doubt");
    assert!(second.seen().iter().all(|seen| seen.attempt == 1), "a crash spends no attempt");
}

#[tokio::test]
async fn a_dispatcher_that_lost_its_session_starts_over_and_nothing_is_lost() {
    let outbox = MemoryOutbox::new();
    let recorder = Recorder::accepting();
    let route = || Route::topic("orders", PerMessage::new(3, recorder.clone())).batch(5);
    let first = start(&dispatcher(outbox.clone(), quick(), vec![route()]));
    let second = start(&dispatcher(outbox.clone(), quick(), vec![route()]));
    for n in 0..200_u64 {
        commit(&outbox, &[message("orders", Some(&format!("k{}", n % 6)), n)]).await;
        if n % 20 == 10 {
            // As if the owner had slept: its session is over, and whoever asks next takes the slot.
            outbox.advance(Duration::from_secs(5));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    recorder.wait_for(200).await;
    first.stop().await.unwrap();
    second.stop().await.unwrap();
    recorder.assert_order();
    let mut seen = std::collections::HashSet::new();
    for again in recorder.seen().iter().filter(|delivery| !seen.insert(delivery.id)) {
        assert!(again.in_doubt, "a second delivery that is not marked: {again:?}");
    }
    assert_eq!(outbox.counts().await.unwrap(), [], "nothing is left");
}

#[tokio::test]
async fn sends_are_dropped_when_the_lease_lapses_and_spend_no_attempt() {
    let outbox = MemoryOutbox::new();
    let store = Flaky::new(outbox.clone());
    let dropped = std::sync::Arc::new(tokio::sync::Notify::new());
    struct HangsOnce {
        hangs: std::sync::Arc<tokio::sync::Notify>,
        dropped: std::sync::Arc<tokio::sync::Notify>,
        log: Recorder,
    }
    struct OnDrop(std::sync::Arc<tokio::sync::Notify>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    #[async_trait]
    impl SendOne for HangsOnce {
        async fn send(&self, delivery: &Delivery) -> Outcome {
            if !delivery.in_doubt {
                let _guard = OnDrop(std::sync::Arc::clone(&self.dropped));
                self.hangs.notify_one();
                std::future::pending::<()>().await;
            }
            self.log.send(delivery).await
        }
    }
    let (hangs, recorder) = (std::sync::Arc::new(tokio::sync::Notify::new()), Recorder::accepting());
    let once = HangsOnce {
        hangs: std::sync::Arc::clone(&hangs),
        dropped: std::sync::Arc::clone(&dropped),
        log: recorder.clone(),
    };
    let route = Route::topic("orders", PerMessage::new(1, once));
    let running = start(&dispatcher(store.clone(), quick(), vec![route]));
    commit(&outbox, &[message("orders", Some("k"), 0)]).await;
    hangs.notified().await;
    store.renew_down.store(true, Ordering::SeqCst);
    tokio::time::timeout(PATIENCE, dropped.notified())
        .await
        .expect("the send is dropped when the lease lapses");
    assert!(recorder.seen().is_empty());
    store.renew_down.store(false, Ordering::SeqCst);
    recorder.wait_for(1).await;
    running.stop().await.unwrap();
    let seen = recorder.seen();
    assert_eq!((seen[0].attempt, seen[0].in_doubt), (1, true));
}

#[tokio::test]
async fn store_errors_end_nothing_and_repeat_nothing() {
    let outbox = MemoryOutbox::new();
    let store = Flaky::new(outbox.clone());
    store.one_in.store(3, Ordering::SeqCst);
    let recorder = Recorder::accepting();
    let settings = Settings { lease: Duration::from_secs(10), ..quick() };
    let route = Route::topic("orders", PerMessage::new(4, recorder.clone())).batch(7);
    let running = start(&dispatcher(store.clone(), settings, vec![route]));
    commit_each(
        &outbox,
        &(0..150).map(|n| message("orders", Some(&format!("{}", n % 8)), n)).collect::<Vec<_>>(),
    )
    .await;
    recorder.wait_for(150).await;
    store.one_in.store(0, Ordering::SeqCst);
    running.stop().await.unwrap();
    recorder.assert_order();
    assert_eq!(recorder.seen().len(), 150, "an answer of the store that got lost delivers nothing twice");
    assert_eq!(outbox.counts().await.unwrap(), []);
}

#[tokio::test]
async fn a_store_that_is_down_is_not_hammered() {
    let outbox = MemoryOutbox::new();
    let store = Flaky::new(outbox.clone());
    let recorder = Recorder::accepting();
    let settings =
        Settings { poll_min: Duration::from_millis(20), poll_max: Duration::from_millis(200), ..quick() };
    let running = start(&dispatcher(
        store.clone(),
        settings,
        vec![Route::topic("orders", InBatches(recorder.clone()))],
    ));
    tokio::time::sleep(Duration::from_millis(50)).await;
    store.down.store(true, Ordering::SeqCst);
    commit(&outbox, &[message("orders", None, "x")]).await;
    let calls = rises_in(Duration::from_millis(400), &store.calls).await;
    assert!(calls < 60.0, "{calls} calls in 400 ms");
    store.down.store(false, Ordering::SeqCst);
    recorder.wait_for(1).await;
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_slot_is_handed_over_without_doubt_and_without_waiting_for_the_lease() {
    let outbox = MemoryOutbox::new();
    commit(&outbox, &(0..20).map(|n| message("orders", Some("k"), n)).collect::<Vec<_>>()).await;
    let (transport, log, gate, waiting) = gated();
    let settings = Settings { lease: Duration::from_secs(60), ..quick() };
    let asking = Bent::new(outbox.clone());
    // Renewed every second, so that the wish is heard soon.
    let short = Settings { lease: Duration::from_secs(3), ..settings.clone() };
    let first = start(&dispatcher(
        asking.clone(),
        short,
        vec![Route::topic("orders", transport).batch(2).parallel(1)],
    ));
    waiting.notified().await;
    let rest = Recorder::accepting();
    let second = start(&dispatcher(outbox, settings, vec![Route::topic("orders", InBatches(rest.clone()))]));
    asking.hand_over.store(true, Ordering::SeqCst);
    let renewals = || asking.renewals.load(Ordering::SeqCst);
    let before = renewals();
    until("it has heard the wish", || renewals() > before + 1).await;
    assert!(rest.seen().is_empty(), "two messages are in flight: their slot is not given away");
    gate.add_permits(100);
    rest.wait_for(18).await;
    assert_eq!(log.delivered_texts(), ["0", "1"], "what was in line was left to the successor");
    rest.assert_order();
    assert!(rest.seen().iter().all(|seen| !seen.in_doubt));
    first.stop().await.unwrap();
    second.stop().await.unwrap();
}

#[tokio::test]
async fn a_session_that_is_said_to_be_lost_is_not_gone_on_with_although_it_lives() {
    let outbox = MemoryOutbox::new();
    let store = Bent::new(outbox.clone());
    let (transport, log, gate, waiting) = gated();
    let settings = Settings { lease: Duration::from_secs(60), ..quick() };
    let running = start(&dispatcher(store.clone(), settings, vec![Route::topic("orders", transport)]));
    commit(&outbox, &[message("orders", None, 0)]).await;
    waiting.notified().await;
    store.loses.store(true, Ordering::SeqCst);
    commit(&outbox, &[message("orders", None, 1)]).await;
    // It was in flight when its session ended, and goes out again.
    waiting.notified().await;
    gate.add_permits(2);
    log.wait_for(2).await;
    running.stop().await.unwrap();
    let in_doubt: Vec<_> = log.seen().into_iter().map(|seen| (seen.text, seen.in_doubt)).collect();
    assert!(in_doubt.contains(&("0".to_owned(), true)), "it may have arrived before: {in_doubt:?}");
    assert!(in_doubt.contains(&("1".to_owned(), false)), "it was never begun: {in_doubt:?}");
}
