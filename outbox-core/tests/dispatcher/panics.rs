//! Stores and transports that panic: the dispatcher goes on.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use outbox_core::*;

use crate::bent::*;
use crate::support::*;

#[tokio::test]
async fn a_store_that_panics_in_a_renewal_is_asked_again() {
    let outbox = MemoryOutbox::new();
    let store = Bent::new(outbox.clone());
    let recorder = Recorder::accepting();
    let running =
        start(&dispatcher(store.clone(), quick(), vec![Route::topic("o", InBatches(recorder.clone()))]));
    commit(&outbox, &[message("o", None, 0)]).await;
    recorder.wait_for(1).await;
    store.renew_panics.store(true, Ordering::SeqCst);
    until("a renewal panics", || !store.renew_panics.load(Ordering::SeqCst)).await;
    // Longer than the lease.
    tokio::time::sleep(Duration::from_millis(700)).await;
    commit(&outbox, &[message("o", None, 1)]).await;
    recorder.wait_for(2).await;
    running.stop().await.unwrap();
}

/// Panics before there is a future to be polled, and then when its future is dropped.
struct Explosive {
    calls: AtomicU64,
    log: Recorder,
}

impl Transport for Explosive {
    fn deliver<'a, 'b, 'c, 'd>(
        &'a self,
        batch: &'b [Delivery],
        report: &'c DeliveryReport,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'd>>
    where
        'a: 'd,
        'b: 'd,
        'c: 'd,
        Self: 'd,
    {
        match self.calls.fetch_add(1, Ordering::SeqCst) {
            0 => panic!("before the first poll"),
            1 => Box::pin(async {
                let _bomb = PanicsOnDrop;
                std::future::pending::<()>().await;
            }),
            _ => Box::pin(async move {
                for delivery in batch {
                    report.record(delivery, self.log.send(delivery).await);
                }
            }),
        }
    }
}

#[tokio::test]
async fn a_transport_that_panics_outside_its_future_is_called_again() {
    let outbox = MemoryOutbox::new();
    commit(&outbox, &[message("o", Some("k"), 0), message("o", Some("k"), 1)]).await;
    let recorder = Recorder::accepting();
    let explosive = Explosive { calls: AtomicU64::new(0), log: recorder.clone() };
    let route = Route::topic("o", explosive)
        .retry(FixedDelays::new(vec![Duration::ZERO; 5]))
        .deadline(Duration::from_millis(50));
    let running = start(&dispatcher(outbox.clone(), quick(), vec![route]));
    recorder.wait_for(2).await;
    running.stop().await.unwrap();
    recorder.assert_order();
}

#[tokio::test]
async fn a_store_that_panics_in_a_settlement_is_asked_again() {
    let outbox = MemoryOutbox::new();
    let store = Bent::new(outbox.clone());
    let recorder = Recorder::accepting();
    // The one that begins, and the one that writes what became of it.
    for n in 0..2 {
        let running =
            start(&dispatcher(store.clone(), quick(), vec![Route::topic("o", InBatches(recorder.clone()))]));
        if n == 0 {
            *store.settles.lock().unwrap() = Some(Instead::Panics);
        }
        commit(&outbox, &[message("o", None, n)]).await;
        recorder.wait_for(n + 1).await;
        *store.settles.lock().unwrap() = Some(Instead::Panics).filter(|_| n == 1);
        running.stop().await.unwrap();
    }
    assert!(recorder.seen().iter().all(|seen| !seen.in_doubt));
    assert_eq!(outbox.counts().await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_settlement_that_panics_when_it_is_given_up_ends_no_dispatcher() {
    let outbox = MemoryOutbox::new();
    let store = Bent::new(outbox.clone());
    let recorder = Recorder::accepting();
    let settings = Settings { lease: Duration::from_secs(30), ..quick() };
    let route = Route::topic("o", InBatches(recorder.clone()));
    let running = start(&dispatcher(store.clone(), settings, vec![route]));
    *store.settles.lock().unwrap() = Some(Instead::PanicsWhenDropped);
    commit(&outbox, &[message("o", None, 0)]).await;
    until("it settles", || store.settles.lock().unwrap().is_none()).await;
    // Another session takes over, and is gone again.
    outbox.advance(Duration::from_secs(31));
    let other = outbox.renew(&DispatcherId::new("other"), None, Duration::from_secs(600)).await.unwrap();
    assert_eq!(other.slots.len(), 1);
    tokio::time::sleep(Duration::from_secs(11)).await;
    outbox.release(other.epoch, &other.slots).await.unwrap();
    recorder.wait_for(1).await;
    // And one that is given up at the end.
    *store.settles.lock().unwrap() = Some(Instead::PanicsWhenDropped);
    commit(&outbox, &[message("o", None, 1)]).await;
    until("it settles", || store.settles.lock().unwrap().is_none()).await;
    match running.stop().await {
        Err(DispatchError::Unfinished { .. }) => {}
        other => panic!("{other:?}"),
    }
}
