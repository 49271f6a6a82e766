use std::time::Duration;

use outbox_core::*;

use crate::support::*;

#[tokio::test]
async fn what_a_person_discards_is_not_sent_although_the_dispatcher_holds_it_in_memory() {
    let outbox = MemoryOutbox::new();
    commit(&outbox, &(0..10).map(|n| message("orders", Some("k"), n)).collect::<Vec<_>>()).await;
    let (transport, log, gate, waiting) = gated();
    let route = Route::topic("orders", transport).batch(1).parallel(1);
    let running = start(&dispatcher(outbox.clone(), quick(), vec![route]));
    waiting.notified().await;
    let waiting_ones = Selection::All { topic: None, state: Some(MessageState::Waiting) };
    let act = Act::new("on call", "wrong customer");
    assert_eq!(outbox.discard(&waiting_ones, &act).await.unwrap(), 9, "all but the one in flight");
    commit(&outbox, &[message("orders", Some("k"), 10)]).await;
    gate.add_permits(100);
    log.wait_for(2).await;
    running.stop().await.unwrap();
    assert_eq!(log.delivered_texts(), ["0", "10"]);
    assert_eq!(outbox.counts().await.unwrap(), []);
}

#[tokio::test]
async fn a_message_in_flight_cannot_be_discarded() {
    let outbox = MemoryOutbox::new();
    let message = message("orders", None, "x");
    commit(&outbox, std::slice::from_ref(&message)).await;
    let (transport, log, gate, waiting) = gated();
    let running = start(&dispatcher(outbox.clone(), quick(), vec![Route::topic("orders", transport)]));
    waiting.notified().await;
    let refused =
        outbox.discard(&Selection::Ids(vec![message.id()]), &Act::new("on call", "no")).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::InFlight);
    gate.add_permits(1);
    log.wait_for(1).await;
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_redrive_brings_a_retry_forward() {
    let outbox = MemoryOutbox::new();
    let recorder = Recorder::new(|delivery| match (text_of(&delivery.message).as_str(), delivery.attempt) {
        ("0", 1) => Outcome::transient("not now"),
        _ => Outcome::delivered(),
    });
    let route =
        Route::topic("o", InBatches(recorder.clone())).retry(FixedDelays::new([Duration::from_secs(3600)]));
    let running = start(&dispatcher(outbox.clone(), quick(), vec![route]));
    commit(&outbox, &[message("o", Some("k"), 0), message("o", Some("k"), 1)]).await;
    tokio::time::timeout(PATIENCE, async {
        while count(&outbox, MessageState::Retrying).await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("it fails first");
    let retrying = Selection::All { topic: Some("o".to_owned()), state: Some(MessageState::Retrying) };
    assert_eq!(outbox.redrive(&retrying, &Act::new("on call", "the destination is back")).await.unwrap(), 1);
    recorder.wait_for(2).await;
    running.stop().await.unwrap();
    recorder.assert_order();
}
