use std::time::Duration;

use outbox_core::*;

use crate::support::*;

fn numbered(keys: usize, each: usize) -> Vec<NewMessage> {
    (0..keys * each).map(|n| message("orders", Some(&format!("key-{}", n % keys)), n)).collect()
}

/// Fails one delivery in three, always the same ones.
fn failing_now_and_then() -> Recorder {
    Recorder::new(|delivery| {
        let id = delivery.message.id.as_uuid().as_u128() as u64;
        if ((id ^ u64::from(delivery.attempt)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40).is_multiple_of(3) {
            Outcome::transient("not now")
        } else {
            Outcome::delivered()
        }
    })
}

fn soon() -> FixedDelays {
    FixedDelays::new(vec![Duration::from_millis(1); 100])
}

async fn keeps_order_through_retries(transport: impl Transport, recorder: Recorder) {
    let outbox = MemoryOutbox::new();
    commit_each(&outbox, &numbered(7, 40)).await;
    let dispatcher =
        dispatcher(outbox.clone(), quick(), vec![Route::topic("orders", transport).retry(soon()).batch(16)]);
    let running = start(&dispatcher);
    commit_each(&outbox, &(280..400).map(|n| message("orders", Some("key-3"), n)).collect::<Vec<_>>()).await;
    recorder.wait_for(400).await;
    let summary = running.stop().await.expect("a clean end");
    recorder.assert_order();
    assert_eq!(summary.delivered, 400);
    assert!(summary.retried > 0, "the script fails some");
    assert_eq!(recorder.delivered().len(), 400, "nothing is delivered twice without a crash");
}

#[tokio::test]
async fn order_per_key_holds_through_retries_one_message_at_a_time() {
    let recorder = failing_now_and_then();
    keeps_order_through_retries(PerMessage::new(8, recorder.clone()), recorder).await;
}

#[tokio::test]
async fn order_per_key_holds_through_retries_in_batches_that_keep_order() {
    let mut recorder = failing_now_and_then();
    recorder.keeps_order = true;
    keeps_order_through_retries(InBatches(recorder.clone()), recorder).await;
}

#[tokio::test]
async fn order_per_key_holds_with_a_transport_that_does_not_keep_it() {
    let recorder = failing_now_and_then();
    keeps_order_through_retries(InBatches(recorder.clone()), recorder).await;
}

#[tokio::test]
async fn what_was_rolled_back_is_never_delivered() {
    let outbox = MemoryOutbox::new();
    let recorder = Recorder::accepting();
    let mut tx = outbox.begin();
    outbox.enqueue(&mut tx, &[message("orders", None, "never")]).await.unwrap();
    drop(tx);
    commit(&outbox, &[message("orders", None, "committed")]).await;
    let route = Route::topic("orders", InBatches(recorder.clone()));
    let summary = dispatcher(outbox, quick(), vec![route]).drain().await.unwrap();
    assert_eq!(summary.delivered, 1);
    assert_eq!(recorder.delivered_texts(), ["committed"]);
}

#[tokio::test]
async fn a_slow_message_holds_only_its_own_key() {
    let outbox = MemoryOutbox::new();
    let (slow, log) = (std::sync::Arc::new(tokio::sync::Notify::new()), Recorder::accepting());
    struct Slow(std::sync::Arc<tokio::sync::Notify>, Recorder);
    #[async_trait]
    impl SendOne for Slow {
        async fn send(&self, delivery: &Delivery) -> Outcome {
            if text_of(&delivery.message) == "0" {
                self.0.notified().await;
            }
            self.1.send(delivery).await
        }
    }
    let mut messages = vec![message("orders", Some("slow"), 0), message("orders", Some("slow"), 1)];
    messages.extend((2..50).map(|n| message("orders", Some(&format!("other-{}", n % 5)), n)));
    commit(&outbox, &messages).await;
    let transport = PerMessage::new(4, Slow(std::sync::Arc::clone(&slow), log.clone()));
    let dispatcher = dispatcher(outbox.clone(), quick(), vec![Route::topic("orders", transport)]);
    let running = start(&dispatcher);
    log.wait_for(48).await;
    assert!(log.delivered().iter().all(|seen| seen.key.as_deref() != Some("slow")));
    slow.notify_one();
    log.wait_for(50).await;
    running.stop().await.unwrap();
    log.assert_order();
}

#[tokio::test]
async fn a_scheduled_message_blocks_nothing_and_goes_when_it_is_due() {
    let outbox = MemoryOutbox::new();
    let later = std::time::SystemTime::now() + Duration::from_secs(3600);
    let scheduled = NewMessage::builder("orders")
        .key("k")
        .payload("scheduled", "text/plain")
        .not_before(later)
        .build()
        .unwrap();
    commit(&outbox, &[scheduled, message("orders", Some("k"), "now")]).await;
    let recorder = Recorder::accepting();
    let route = Route::topic("orders", InBatches(recorder.clone()));
    let dispatcher = dispatcher(outbox.clone(), quick(), vec![route]);
    dispatcher.drain().await.unwrap();
    assert_eq!(recorder.delivered_texts(), ["now"]);
    outbox.advance(Duration::from_secs(3601));
    dispatcher.drain().await.unwrap();
    assert_eq!(recorder.delivered_texts(), ["now", "scheduled"]);
}
