//! A call to the store: every one has a deadline, and a panic of the store is an error like any other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::timeout;

use crate::{StoreError, StoreErrorKind};

/// The answer of `call`, within `deadline`. The call is made, polled and dropped in here: wherever it panics, the
/// dispatcher hears of it.
pub(super) async fn guarded<T>(
    what: &'static str,
    deadline: Duration,
    call: impl AsyncFnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let timed = async move { timeout(deadline, call()).await };
    match AssertUnwindSafe(timed).catch_unwind().await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_late)) => {
            let text = format!("{what} did not finish within {deadline:?}");
            Err(StoreError::new(StoreErrorKind::Unavailable, text))
        }
        Err(_panic) => Err(StoreError::new(StoreErrorKind::Other, format!("the store panicked in {what}"))),
    }
}

/// Drops a call half-way, which a store may take as badly as being polled.
pub(super) fn give_up<T>(call: Option<T>) {
    if catch_unwind(AssertUnwindSafe(|| drop(call))).is_err() {
        tracing::warn!("the store panicked when a call to it was given up");
    }
}
