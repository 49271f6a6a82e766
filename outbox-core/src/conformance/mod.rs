//! Suites that show whether a store or a transport of your own keeps its part; feature `conformance`.
//!
//! One line in a test file gives one named test per check; the names are the promises:
//!
//! ```
//! use outbox_core::conformance::StoreFixture;
//! use outbox_core::{MemoryOutbox, MemoryTransaction, async_trait};
//!
//! struct Memory(MemoryOutbox);
//!
//! #[async_trait]
//! impl StoreFixture for Memory {
//!     type Outbox = MemoryOutbox;
//!     type Conn = MemoryTransaction;
//!     type Transaction = MemoryTransaction;
//!
//!     async fn fresh() -> Self {
//!         Self(MemoryOutbox::new())
//!     }
//!     fn outbox(&self) -> &MemoryOutbox {
//!         &self.0
//!     }
//!     async fn begin(&self) -> MemoryTransaction {
//!         self.0.begin()
//!     }
//!     fn conn(tx: &mut MemoryTransaction) -> &mut MemoryTransaction {
//!         tx
//!     }
//!     async fn commit(&self, tx: MemoryTransaction) {
//!         self.0.commit(tx);
//!     }
//!     async fn rollback(&self, tx: MemoryTransaction) {
//!         drop(tx);
//!     }
//! }
//!
//! outbox_core::store_conformance!(Memory);
//! # fn main() {}
//! ```
//!
//! A check that cannot apply is named with its reason, and shows as ignored:
//! `store_conformance!(Memory, except an_empty_payload_is_claimed = "this database has no empty values");`
//! A suite that needs a server says so, and is ignored unless asked for with `--ignored`:
//! `store_conformance!(Served, needs "a server; start one and set TEST_URL");`
//!
//! | Macro | What it wants |
//! | --- | --- |
//! | [`store_conformance!`](crate::store_conformance) | a [`StoreFixture`] |
//! | [`admin_conformance!`](crate::admin_conformance) | one whose outbox is an [`OutboxAdmin`](crate::OutboxAdmin) and keeps a history |
//! | [`inbox_conformance!`](crate::inbox_conformance) | one whose outbox is an [`Inbox`](crate::Inbox) |
//! | [`enqueued_in_conformance!`](crate::enqueued_in_conformance) | one whose outbox is an [`EnqueuedIn`](crate::EnqueuedIn) |
//! | [`corrupt_conformance!`](crate::corrupt_conformance) | a [`CorruptFixture`] |
//! | [`transport_conformance!`](crate::transport_conformance) | a [`TransportFixture`] |
//!
//! The checks are functions too, one per promise, so that a test can call a single one. They panic with a sentence
//! when the promise is broken. Nothing sleeps: an expired lease is a lease of zero. New checks may come with any
//! release.

mod admin;
mod corrupt;
mod enqueued_in;
mod inbox;
mod probe;
mod store;
mod transport;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

pub use corrupt::CorruptFixture;
pub use store::{StoreFixture, run_by_chance};
pub use transport::TransportFixture;

/// The checks of stores, one function each.
pub mod checks {
    pub use super::admin::checks as admin;
    pub use super::corrupt::checks as corrupt;
    pub use super::enqueued_in::checks as enqueued_in;
    pub use super::inbox::checks as inbox;
    pub use super::store::checks as store;
    pub use super::transport::checks as transport;
}

/// How long a check may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs one check on a runtime of its own, to its end or for two minutes at most.
///
/// # Panics
/// When the check fails or hangs.
pub fn run<F: Future<Output = ()>>(check: F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a tokio runtime can be started");
    runtime.block_on(async {
        tokio::time::timeout(PATIENCE, check)
            .await
            .expect("the check ends within two minutes; something hangs");
    });
    // What a failed check left behind must not hold up the test.
    runtime.shutdown_background();
}

/// Polls `future` up to `polls` times, with time for what it waits for in between, and drops it unless it has answered.
async fn drop_after<T>(polls: u32, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..polls {
        if let Poll::Ready(answer) = poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await {
            return Some(answer);
        }
        tokio::time::sleep(Duration::from_micros(100)).await;
    }
    None
}

/// Expands to one `#[test]` per check; those that are excepted, or all that need something, are
/// ignored, for the reason given.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    (
        ($d:tt) $suite:ident, $fixture:ty, $open:expr, [$($needs:literal)?], [$($except:ident = $why:literal),*],
        [$($check:ident,)*]
    ) => {
        // One arm per exception; all others fall through to the last.
        macro_rules! conformance_test {
            $(($except, $d test:item) => { #[ignore = $why] $d test };)*
            ($d other:ident, $d test:item) => { $(#[ignore = $needs])? $d test };
        }
        $(conformance_test!($check, #[test] fn $check() {
            $crate::conformance::run(async {
                let fixture = $open.await;
                $crate::conformance::checks::$suite::$check::<$fixture>(fixture).await;
            });
        });)*
        // An exception that names no check must not go unnoticed.
        $(const _: () = {
            #[allow(unused_imports)]
            use $crate::conformance::checks::$suite::$except as _;
        };)*
    };
}
