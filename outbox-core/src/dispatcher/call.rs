//! One call of a transport, guarded by its deadline and by the lease.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::poll_fn;
use tokio::sync::watch;

use super::lease_keeper::{Lease, lapsed};
use crate::{Delivery, DeliveryReport, Epoch, Transport};

/// How a call ended; says what an unrecorded message means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallEnd {
    Returned,
    Panicked,
    DeadlinePassed(Duration),
    LeaseLapsed,
    /// The lease had lapsed before the transport was asked for anything.
    NotStarted,
}

/// Runs `deliver` to its end, its deadline, or the end of the lease, whichever comes first. Wherever the transport
/// panics, when it is called, polled or dropped: the call has an end.
pub(super) async fn call(
    transport: Arc<dyn Transport>,
    batch: Vec<Delivery>,
    report: DeliveryReport,
    deadline: Duration,
    lease: watch::Receiver<Lease>,
    epoch: Epoch,
) -> CallEnd {
    let deliver = deliver(transport, batch, report, deadline, lease, epoch);
    AssertUnwindSafe(deliver).catch_unwind().await.unwrap_or(CallEnd::Panicked)
}

/// The transport is polled only while the lease surely holds: a process that wakes from a long sleep drops its sends
/// instead of going on.
async fn deliver(
    transport: Arc<dyn Transport>,
    batch: Vec<Delivery>,
    report: DeliveryReport,
    deadline: Duration,
    mut lease: watch::Receiver<Lease>,
    epoch: Epoch,
) -> CallEnd {
    if !lease.borrow().holds(epoch) {
        return CallEnd::NotStarted;
    }
    let guard = lease.clone();
    let mut deliver = pin!(transport.deliver(&batch, &report));
    let guarded = poll_fn(|cx| {
        if !guard.borrow().holds(epoch) {
            return Poll::Ready(CallEnd::LeaseLapsed);
        }
        deliver.as_mut().poll(cx).map(|()| CallEnd::Returned)
    });
    tokio::select! {
        biased;
        end = guarded => end,
        () = lapsed(&mut lease, epoch) => CallEnd::LeaseLapsed,
        () = tokio::time::sleep(deadline) => CallEnd::DeadlinePassed(deadline),
    }
}
