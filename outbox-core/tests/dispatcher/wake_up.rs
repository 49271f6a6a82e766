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

#[tokio::test(start_paused = true)]
async fn a_commit_while_the_dispatcher_looks_makes_it_look_again() {
    let outbox = MemoryOutbox::new();
    let store = Flaky::new(outbox.clone());
    store.slow.store(50, std::sync::atomic::Ordering::SeqCst);
    let recorder = Recorder::accepting();
    let running = start(&dispatcher(store, sleepy(), vec![Route::topic("o", InBatches(recorder.clone()))]));
    for n in 0..30 {
        let mut tx = outbox.begin();
        outbox.enqueue(&mut tx, &[message("o", None, n)]).await.unwrap();
        // The looks that an enqueue starts are over.
        tokio::time::sleep(Duration::from_secs(2)).await;
        outbox.wake_up().committed();
        tokio::time::sleep(Duration::from_millis(n * 3)).await;
        outbox.commit(tx);
        recorder.wait_for(n as usize + 1).await;
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

/// How often a dispatcher with nothing to do calls the store in a minute.
async fn calls_in_a_minute(bell_hears_elsewhere: bool) -> u64 {
    let outbox = MemoryOutbox::new();
    outbox.wake_up().hears_elsewhere(bell_hears_elsewhere);
    let store = Flaky::new(outbox);
    let route = Route::topic("o", InBatches(Recorder::accepting()));
    let running = start(&dispatcher(store.clone(), Settings::default(), vec![route]));
    let calls = || store.calls.load(std::sync::atomic::Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let before = calls();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let calls = calls() - before;
    running.stop().await.unwrap();
    calls
}

#[tokio::test(start_paused = true)]
async fn an_idle_dispatcher_asks_the_store_rarely() {
    // Two statements for each of six renewals, and one or two for each look: at most 60 statements.
    let calls = calls_in_a_minute(true).await;
    assert!((12..=22).contains(&calls), "{calls} calls while other processes are heard");
    let calls = calls_in_a_minute(false).await;
    assert!((30..=48).contains(&calls), "{calls} calls while only polling finds what others commit");
}

#[tokio::test(start_paused = true)]
async fn a_bell_that_no_longer_hears_others_brings_the_usual_polls_back() {
    let outbox = MemoryOutbox::new();
    let bell = outbox.wake_up();
    let store = Flaky::new(outbox);
    let settings = Settings {
        poll_max: Duration::from_secs(60),
        lease: Duration::from_secs(3600),
        ..Settings::default()
    };
    let route = Route::topic("o", InBatches(Recorder::accepting()));
    let running = start(&dispatcher(store.clone(), settings, vec![route]));
    bell.hears_elsewhere(true);
    tokio::time::sleep(Duration::from_secs(600)).await;
    let calls = || store.calls.load(std::sync::atomic::Ordering::SeqCst);
    let before = calls();
    bell.hears_elsewhere(false);
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert!(calls() > before, "not after the three minutes that it might have waited");
    running.stop().await.unwrap();
    assert!(!bell.has_listeners());
    bell.unheard().await;
}
