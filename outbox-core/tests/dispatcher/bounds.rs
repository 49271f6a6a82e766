use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use outbox_core::*;

use crate::support::*;

/// Counts how much is handed over at a time.
#[derive(Clone, Default)]
struct Gauge {
    messages: Arc<AtomicUsize>,
    bytes: Arc<AtomicUsize>,
    calls: Arc<AtomicUsize>,
    most_messages: Arc<AtomicUsize>,
    most_bytes: Arc<AtomicUsize>,
    most_calls: Arc<AtomicUsize>,
    most_in_a_call: Arc<AtomicUsize>,
}

struct Gauged(Gauge, Recorder);

#[async_trait]
impl Transport for Gauged {
    async fn deliver(&self, batch: &[Delivery], report: &DeliveryReport) {
        let Self(gauge, recorder) = self;
        let bytes: usize = batch.iter().map(|delivery| delivery.message.payload.len()).sum();
        let rise = |now: &AtomicUsize, most: &AtomicUsize, by: usize| {
            most.fetch_max(now.fetch_add(by, Ordering::SeqCst) + by, Ordering::SeqCst);
        };
        rise(&gauge.messages, &gauge.most_messages, batch.len());
        rise(&gauge.bytes, &gauge.most_bytes, bytes);
        rise(&gauge.calls, &gauge.most_calls, 1);
        gauge.most_in_a_call.fetch_max(batch.len(), Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(3)).await;
        gauge.messages.fetch_sub(batch.len(), Ordering::SeqCst);
        gauge.bytes.fetch_sub(bytes, Ordering::SeqCst);
        gauge.calls.fetch_sub(1, Ordering::SeqCst);
        InBatches(recorder.clone()).deliver(batch, report).await;
    }
}

#[tokio::test]
async fn messages_bytes_and_calls_in_flight_stay_within_their_bounds() {
    let outbox = MemoryOutbox::new();
    commit(&outbox, &(0..400).map(|n| message("o", None, format!("{n:0>100}"))).collect::<Vec<_>>()).await;
    let (gauge, recorder) = (Gauge::default(), Recorder::accepting());
    let route = Route::topic("o", Gauged(gauge.clone(), recorder.clone()))
        .batch(7)
        .parallel(3)
        .max_in_flight(15, 2_500);
    dispatcher(outbox, quick(), vec![route]).drain().await.unwrap();
    assert_eq!(recorder.delivered().len(), 400);
    let most = |most: &AtomicUsize| most.load(Ordering::SeqCst);
    assert!(most(&gauge.most_messages) <= 15, "{gauge:?}", gauge = most(&gauge.most_messages));
    assert!(most(&gauge.most_bytes) <= 2_500);
    assert!((2..=3).contains(&most(&gauge.most_calls)));
    assert!(most(&gauge.most_in_a_call) <= 7);
}

#[tokio::test]
async fn a_message_larger_than_the_bound_goes_by_itself() {
    let outbox = MemoryOutbox::new();
    commit(&outbox, &(0..3).map(|_| message("o", None, "x".repeat(5_000))).collect::<Vec<_>>()).await;
    let (gauge, recorder) = (Gauge::default(), Recorder::accepting());
    let route = Route::topic("o", Gauged(gauge.clone(), recorder.clone())).max_in_flight(10, 100);
    let settings = Settings { max_held_bytes: 1, ..quick() };
    dispatcher(outbox, settings, vec![route]).drain().await.unwrap();
    assert_eq!(recorder.delivered().len(), 3);
    assert_eq!(gauge.most_messages.load(Ordering::SeqCst), 1);
}

#[test]
fn settings_that_make_no_sense_are_refused_by_name() {
    let refused = |settings: Settings| {
        let route = Route::topic("o", InBatches(Recorder::accepting()));
        let built = LeasedDispatcher::builder(MemoryOutbox::new()).settings(settings).route(route).build();
        match built {
            Err(BuildError::Setting { setting, .. }) => setting,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(Settings { lease: Duration::from_millis(1), ..Settings::default() }), "lease");
    assert_eq!(refused(Settings { batch: 0, ..Settings::default() }), "max_held");
    assert_eq!(refused(Settings { poll_min: Duration::ZERO, ..Settings::default() }), "poll_max");
    let built = LeasedDispatcher::builder(MemoryOutbox::new()).build();
    assert!(matches!(built, Err(BuildError::NoRoute)));
    let nameless = Route::topic("", InBatches(Recorder::accepting()));
    let built = LeasedDispatcher::builder(MemoryOutbox::new()).route(nameless).build();
    assert!(matches!(built, Err(BuildError::Setting { setting: "Route::topic", .. })));
}
