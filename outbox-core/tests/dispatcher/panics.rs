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

struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("dropped half-way");
        }
    }
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
