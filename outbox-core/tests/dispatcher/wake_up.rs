use std::time::Duration;

use outbox_core::*;

use crate::support::*;

/// Polls once an hour: whatever is delivered in a test was woken.
fn sleepy() -> Settings {
    Settings { poll_min: Duration::from_secs(3600), poll_max: Duration::from_secs(3600), ..quick() }
}

#[tokio::test]
async fn a_commit_wakes_the_dispatcher_without_waiting_for_a_poll() {
    let outbox = MemoryOutbox::new();
    let recorder = Recorder::accepting();
    let running =
        start(&dispatcher(outbox.clone(), sleepy(), vec![Route::topic("o", InBatches(recorder.clone()))]));
    tokio::time::sleep(Duration::from_millis(100)).await;
    for n in 0..20 {
        commit(&outbox, &[message("o", None, n)]).await;
        recorder.wait_for(n + 1).await;
    }
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_retry_goes_out_when_it_is_due_and_not_when_the_next_poll_is() {
    let outbox = MemoryOutbox::new();
    let recorder = Recorder::new(|delivery| match delivery.attempt {
        1 => Outcome::transient("not now"),
        _ => Outcome::delivered(),
    });
    let route =
        Route::topic("o", InBatches(recorder.clone())).retry(FixedDelays::new([Duration::from_millis(50)]));
    let running = start(&dispatcher(outbox.clone(), sleepy(), vec![route]));
    commit(&outbox, &[message("o", Some("k"), 0), message("o", Some("k"), 1)]).await;
    recorder.wait_for(2).await;
    running.stop().await.unwrap();
    recorder.assert_order();
}

#[tokio::test]
async fn messages_behind_a_long_key_follow_without_waiting_for_a_poll() {
    let outbox = MemoryOutbox::new();
    commit(&outbox, &(0..1000).map(|n| message("o", Some("k"), n)).collect::<Vec<_>>()).await;
    let recorder = Recorder::new(|delivery| match (text_of(&delivery.message).as_str(), delivery.attempt) {
        ("0", 1) => Outcome::transient("not now"),
        _ => Outcome::delivered(),
    });
    let route =
        Route::topic("o", InBatches(recorder.clone())).retry(FixedDelays::new([Duration::from_millis(20)]));
    let settings = Settings { batch: 50, max_held: 100, ..sleepy() };
    let running = start(&dispatcher(outbox.clone(), settings, vec![route]));
    recorder.wait_for(1000).await;
    running.stop().await.unwrap();
    recorder.assert_order();
}

#[tokio::test]
async fn an_idle_dispatcher_asks_the_store_rarely() {
    let outbox = MemoryOutbox::new();
    let store = Flaky::new(outbox);
    let settings = Settings {
        lease: Duration::from_secs(30),
        poll_min: Duration::from_millis(50),
        poll_max: Duration::from_secs(2),
        ..quick()
    };
    let running = start(&dispatcher(
        store.clone(),
        settings,
        vec![Route::topic("o", InBatches(Recorder::accepting()))],
    ));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let calls = store.calls.load(std::sync::atomic::Ordering::SeqCst);
    running.stop().await.unwrap();
    assert!(calls < 12, "{calls} calls in the first two seconds, while the poll still backs off");
}
