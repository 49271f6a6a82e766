//! Waits and deadlines of any length.

use std::time::Duration;

use outbox_core::*;

use crate::bent::*;
use crate::support::*;

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

#[tokio::test(start_paused = true)]
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
