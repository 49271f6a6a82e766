//! Dispatchers of the library, run for a while.

use std::sync::Arc;

use outbox::{DispatcherExt, LeasedDispatcher, OutboxStore, Route, Settings, Transport};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::load::TOPIC;
use crate::receiver::Receiver;

/// A dispatcher that runs until it is stopped.
pub(crate) struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// The shipped settings with another batch size; `None` leaves them as they are.
pub(crate) fn settings(batch: Option<usize>) -> Settings {
    let shipped = Settings::default();
    Settings { batch: batch.unwrap_or(shipped.batch), ..shipped }
}

impl Running {
    /// Starts a dispatcher.
    pub(crate) fn start(store: Arc<dyn OutboxStore>, settings: Settings, transport: impl Transport) -> Self {
        let route = Route::topic(TOPIC, transport).batch(settings.batch);
        let dispatcher = LeasedDispatcher::builder(store).settings(settings).route(route).build();
        let dispatcher = dispatcher.expect("a dispatcher");
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            dispatcher.run_until(stopped).await.expect("a clean end");
        });
        Self { stop, task }
    }

    /// Stops it and waits until what was in flight is settled.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        self.task.await.expect("no panic");
    }
}

/// Drains with the library until `receiver` has reached its target.
pub(crate) async fn drain(store: Arc<dyn OutboxStore>, settings: Settings, receiver: &Receiver) {
    let running = Running::start(store, settings, receiver.clone());
    receiver.wait().await;
    running.stop().await;
}
