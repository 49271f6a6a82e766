//! [`Dispatcher`]: what delivers, and [`LeasedDispatcher`], the one that does.

mod call;
mod engine;
mod lease_keeper;
mod leased;
mod ledger;
mod poll;
mod route;
mod route_state;
mod settings;
mod store_call;

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use thiserror::Error;
use tokio::time::Instant;

use crate::StoreError;

pub use leased::{LeasedDispatcher, LeasedDispatcherBuilder};
pub use route::{OnAmbiguous, Route};
pub use settings::{BuildError, Settings};

/// Delivers what an outbox holds.
#[async_trait]
pub trait Dispatcher: Send + Sync + 'static {
    /// Delivers until `shutdown` resolves; then waits for what is in flight, with a limit, settles it and gives
    /// the rest back. Store errors do not end it: it logs, backs off and goes on.
    ///
    /// Dropping the future stops at once: deliveries are dropped, and what was in flight is in doubt for a successor.
    ///
    /// # Errors
    /// [`DispatchError::AlreadyRunning`], and [`DispatchError::Unfinished`] when the limit passed on shutdown.
    async fn run(&self, shutdown: BoxFuture<'static, ()>) -> Result<DispatchSummary, DispatchError>;

    /// Delivers what is due now, through the same stages, and returns when nothing that could go out is left:
    /// for tests, cron jobs and wrappers. A route whose destination turns out to be unavailable is left
    /// for another time.
    ///
    /// # Errors
    /// As [`run`](Self::run), and [`DispatchError::Store`] when the store stays unreachable, or another session
    /// owns the outbox.
    async fn drain(&self) -> Result<DispatchSummary, DispatchError>;
}

/// Convenience over [`Dispatcher`]; implemented for every dispatcher, not to be implemented by hand.
pub trait DispatcherExt: Dispatcher {
    /// [`Dispatcher::run`] with any future, such as `tokio::signal::ctrl_c()`, whatever it resolves to.
    fn run_until<F>(&self, shutdown: F) -> BoxFuture<'_, Result<DispatchSummary, DispatchError>>
    where
        F: Future + Send + 'static,
    {
        self.run(shutdown.map(|_| ()).boxed())
    }
}

impl<D: Dispatcher + ?Sized> DispatcherExt for D {}

/// What a run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DispatchSummary {
    /// Messages delivered.
    pub delivered: u64,
    /// Failed attempts that will be made again.
    pub retried: u64,
    /// Messages that became dead letters.
    pub dead: u64,
    /// Deliveries of messages that may have been delivered before.
    pub redelivered_in_doubt: u64,
    /// Messages set aside without an attempt: scheduled, behind their key, or without a route with room.
    pub set_aside: u64,
}

/// Why a dispatcher stopped.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DispatchError {
    /// This dispatcher is running; build another one to run two.
    #[error("this dispatcher is already running; build a second one to run two side by side")]
    AlreadyRunning,
    /// The limit on shutdown passed; what was in flight is in doubt and a successor will deliver it.
    #[error(
        "{in_flight} messages were still in flight {limit:?} after shutdown was asked for; they are in doubt now"
    )]
    Unfinished {
        /// How many.
        in_flight: usize,
        /// The limit, [`Settings::shutdown_within`].
        limit: Duration,
    },
    /// The store could not be used; says what the store's error says, and has its source.
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// Another session owns every slot of the outbox.
    #[error("another dispatcher owns this outbox; stop it, or wait until its lease has run out")]
    NotOwner,
}

/// Longer than any process runs.
const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// `length` from `start`. Settings, stores and destinations may name any length; an instant cannot lie that far.
fn after(start: Instant, length: Duration) -> Instant {
    start + length.min(NEVER)
}

/// An error and its sources, for a log line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
