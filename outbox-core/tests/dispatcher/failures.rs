use std::time::Duration;

use outbox_core::*;

use crate::support::*;

fn refusing(text: &'static str, outcome: Outcome) -> Recorder {
    Recorder::new(move |delivery| match text_of(&delivery.message) == text {
        true => outcome.clone(),
        false => Outcome::delivered(),
    })
}

fn hourly() -> FixedDelays {
    FixedDelays::new(vec![Duration::from_secs(3600); 3])
}

#[tokio::test]
async fn a_failure_blocks_only_its_key() {
    let outbox = MemoryOutbox::new();
    let mut messages: Vec<_> = (0..5).map(|n| message("orders", Some("bad"), n)).collect();
    messages.extend((5..100).map(|n| message("orders", Some(&format!("good-{}", n % 9)), n)));
    messages.extend((100..110).map(|n| message("orders", None, n)));
    commit(&outbox, &messages).await;
    let recorder = refusing("0", Outcome::transient("not now"));
    let route = Route::topic("orders", InBatches(recorder.clone())).retry(hourly());
    let summary = dispatcher(outbox.clone(), quick(), vec![route]).drain().await.unwrap();
    assert_eq!((summary.delivered, summary.retried, summary.dead), (105, 1, 0));
    assert_eq!(count(&outbox, MessageState::Retrying).await, 1);
    assert_eq!(count(&outbox, MessageState::Behind).await, 4);
    assert!(recorder.delivered().iter().all(|seen| seen.key.as_deref() != Some("bad")));
}

#[tokio::test]
async fn a_skipped_dead_letter_lets_its_key_go_on() {
    let outbox = MemoryOutbox::new();
    commit(&outbox, &(0..4).map(|n| message("orders", Some("k"), n)).collect::<Vec<_>>()).await;
    let recorder = refusing("1", Outcome::permanent("never"));
    let route = Route::topic("orders", InBatches(recorder.clone()));
    let summary = dispatcher(outbox.clone(), quick(), vec![route]).drain().await.unwrap();
    assert_eq!((summary.delivered, summary.dead), (3, 1));
    assert_eq!(recorder.delivered_texts(), ["0", "2", "3"]);
    assert_eq!(count(&outbox, MessageState::Dead).await, 1);
}

#[tokio::test]
async fn a_parked_dead_letter_holds_its_key_until_it_is_redriven_and_then_order_holds() {
    let outbox = MemoryOutbox::new();
    commit(&outbox, &(0..250).map(|n| message("orders", Some("k"), n)).collect::<Vec<_>>()).await;
    let mended = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_mended = std::sync::Arc::clone(&mended);
    let recorder = Recorder::new(move |delivery| {
        let mended = is_mended.load(std::sync::atomic::Ordering::SeqCst);
        if !mended && text_of(&delivery.message) == "1" {
            Outcome::permanent("never")
        } else {
            Outcome::delivered()
        }
    });
    let route = Route::topic("orders", InBatches(recorder.clone())).on_dead(OnDead::Park);
    let dispatcher = dispatcher(outbox.clone(), quick(), vec![route]);
    let summary = dispatcher.drain().await.unwrap();
    assert_eq!((summary.delivered, summary.dead), (1, 1));
    commit(&outbox, &[message("orders", Some("k"), 250), message("orders", Some("free"), 251)]).await;
    dispatcher.drain().await.unwrap();
    assert_eq!(recorder.delivered_texts(), ["0", "251"], "the key is held");

    mended.store(true, std::sync::atomic::Ordering::SeqCst);
    let parked = Selection::All { topic: None, state: Some(MessageState::Parked) };
    assert_eq!(outbox.redrive(&parked, &Act::new("on call", "mended")).await.unwrap(), 1);
    dispatcher.drain().await.unwrap();
    assert_eq!(recorder.delivered().len(), 252);
    recorder.assert_order();
}

#[tokio::test]
async fn attempts_are_counted_and_end_in_a_dead_letter() {
    let outbox = MemoryOutbox::new();
    commit(&outbox, &[message("orders", Some("k"), "bad")]).await;
    let recorder = refusing("bad", Outcome::transient("not now"));
    let retry = FixedDelays::new(vec![Duration::ZERO; 2]);
    let route = Route::topic("orders", InBatches(recorder.clone())).retry(retry);
    let summary = dispatcher(outbox.clone(), quick(), vec![route]).drain().await.unwrap();
    assert_eq!((summary.retried, summary.dead), (2, 1));
    let attempts: Vec<_> = recorder.seen().iter().map(|seen| seen.attempt).collect();
    assert_eq!(attempts, [1, 2, 3]);
    let detail = outbox.show(recorder.seen()[0].id).await.unwrap().expect("kept");
    assert_eq!(detail.failures.len(), 3);
    assert_eq!(detail.summary.state, MessageState::Dead);
}

#[tokio::test]
async fn an_ambiguous_outcome_is_redelivered_in_doubt() {
    let outbox = MemoryOutbox::new();
    commit(&outbox, &[message("orders", None, "x")]).await;
    let recorder = Recorder::new(|delivery| match delivery.attempt {
        1 => Outcome::ambiguous("lost the answer"),
        _ => Outcome::delivered(),
    });
    let route = Route::topic("orders", InBatches(recorder.clone())).retry(FixedDelays::new([Duration::ZERO]));
    let summary = dispatcher(outbox, quick(), vec![route]).drain().await.unwrap();
    assert_eq!((summary.delivered, summary.redelivered_in_doubt), (1, 1));
    let seen = recorder.seen();
    assert_eq!((seen[0].in_doubt, seen[1].in_doubt), (false, true));
}

#[tokio::test]
async fn an_ambiguous_outcome_is_parked_where_the_route_says_so() {
    let outbox = MemoryOutbox::new();
    commit(&outbox, &[message("mail", Some("k"), 0), message("mail", Some("k"), 1)]).await;
    let recorder = refusing("0", Outcome::ambiguous("lost the answer"));
    let route = Route::topic("mail", InBatches(recorder.clone())).on_ambiguous(OnAmbiguous::Park);
    dispatcher(outbox.clone(), quick(), vec![route]).drain().await.unwrap();
    assert_eq!(recorder.seen().len(), 1, "its key waits with it");
    assert_eq!(count(&outbox, MessageState::Parked).await, 1);
    assert_eq!(count(&outbox, MessageState::Behind).await, 1);
}

#[tokio::test]
async fn what_a_transport_leaves_unrecorded_is_ambiguous() {
    struct Silent;
    #[async_trait]
    impl Transport for Silent {
        async fn deliver(&self, _batch: &[Delivery], _report: &DeliveryReport) {}
    }
    let outbox = MemoryOutbox::new();
    let message = message("orders", None, "x");
    commit(&outbox, std::slice::from_ref(&message)).await;
    let route = Route::topic("orders", Silent).retry(NeverRetry);
    let summary = dispatcher(outbox.clone(), quick(), vec![route]).drain().await.unwrap();
    assert_eq!(summary.dead, 1);
    let detail = outbox.show(message.id()).await.unwrap().unwrap();
    assert_eq!(detail.failures[0].class, "ambiguous");
    assert!(detail.summary.tally.in_doubt);
}

#[tokio::test]
async fn a_delivery_past_its_deadline_is_dropped_and_ambiguous() {
    struct Hanging;
    #[async_trait]
    impl Transport for Hanging {
        async fn deliver(&self, batch: &[Delivery], report: &DeliveryReport) {
            report.record(&batch[0], Outcome::delivered());
            std::future::pending::<()>().await;
        }
    }
    let outbox = MemoryOutbox::new();
    let messages = [message("orders", None, "accepted"), message("orders", None, "hanging")];
    commit(&outbox, &messages).await;
    let route = Route::topic("orders", Hanging).retry(NeverRetry).deadline(Duration::from_millis(50));
    let summary = dispatcher(outbox.clone(), quick(), vec![route]).drain().await.unwrap();
    assert_eq!((summary.delivered, summary.dead), (1, 1), "a recorded outcome survives the deadline");
    let detail = outbox.show(messages[1].id()).await.unwrap().unwrap();
    assert!(detail.failures[0].text.contains("deadline"), "{:?}", detail.failures);
}

#[tokio::test]
async fn topics_without_a_route_are_visible_and_untouched() {
    let outbox = MemoryOutbox::new();
    let mut messages: Vec<_> = (0..300).map(|n| message("unknown", Some(&format!("{}", n % 3)), n)).collect();
    messages.push(message("orders", None, "known"));
    commit(&outbox, &messages).await;
    let recorder = Recorder::accepting();
    let route = Route::topic("orders", InBatches(recorder.clone()));
    dispatcher(outbox.clone(), Settings { batch: 10, max_held: 20, ..quick() }, vec![route])
        .drain()
        .await
        .unwrap();
    assert_eq!(recorder.delivered_texts(), ["known"]);
    let counts = outbox.counts().await.unwrap();
    let unknown = counts.iter().find(|counts| counts.topic == "unknown").expect("visible");
    assert_eq!(unknown.states.iter().map(|(_, n)| n).sum::<u64>(), 300);
    assert_eq!(unknown.of(MessageState::Dead), 0);

    let late = Recorder::accepting();
    let route = Route::prefix("unk", InBatches(late.clone()));
    dispatcher(outbox, quick(), vec![route]).drain().await.unwrap();
    assert_eq!(late.delivered().len(), 300, "a dispatcher with the route delivers them");
    late.assert_order();
}

#[tokio::test]
async fn a_topic_without_a_route_is_named_in_the_log_once() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let outbox = MemoryOutbox::new();
    commit(&outbox, &["orders", "oders", "oders", "bills"].map(|topic| message(topic, None, topic))).await;
    let route = Route::topic("orders", InBatches(Recorder::accepting()));
    dispatcher(outbox, quick(), vec![route]).drain().await.unwrap();
    let named = |topic: &str| log.text().matches(&format!("topic=\"{topic}\"")).count();
    assert_eq!((named("oders"), named("bills"), named("orders")), (1, 1, 0), "{}", log.text());
}

#[tokio::test]
async fn an_exact_route_wins_over_the_longest_prefix() {
    let outbox = MemoryOutbox::new();
    let topics = ["orders", "orders.eu", "orders.eu.paid", "other"];
    commit(&outbox, &topics.map(|topic| message(topic, None, topic))).await;
    let (exact, long, short) = (Recorder::accepting(), Recorder::accepting(), Recorder::accepting());
    let routes = vec![
        Route::prefix("orders", InBatches(short.clone())),
        Route::prefix("orders.eu", InBatches(long.clone())),
        Route::topic("orders.eu", InBatches(exact.clone())),
    ];
    dispatcher(outbox, quick(), routes).drain().await.unwrap();
    assert_eq!(exact.delivered_texts(), ["orders.eu"]);
    assert_eq!(long.delivered_texts(), ["orders.eu.paid"]);
    assert_eq!(short.delivered_texts(), ["orders"]);
}
