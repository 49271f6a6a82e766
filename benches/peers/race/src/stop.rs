//! Starting and stopping a library's worker.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::{Peer, Receiver};

/// Tells a worker when to end. Clones tell the same.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Whether to end now.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is time to end.
    pub async fn asked(mut self) {
        // A sender that is gone asks, too.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

/// A worker that runs.
pub(crate) struct Running {
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<()>>,
}

impl Running {
    pub(crate) fn start<P: Peer>(peer: Arc<P>, receiver: Receiver) -> Self {
        let (stop, stopped) = watch::channel(false);
        Self { stop, task: tokio::spawn(peer.deliver(receiver, Stop(stopped))) }
    }

    /// Whether the worker ended by itself.
    pub(crate) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Asks the worker to end, and waits for it, ten seconds at most.
    pub(crate) async fn stop(self) -> Result<()> {
        self.stop.send_replace(true);
        match tokio::time::timeout(Duration::from_secs(10), self.task).await {
            Ok(ended) => ended?.context("the worker failed"),
            Err(_) => {
                eprintln!("the worker did not end within ten seconds");
                Ok(())
            }
        }
    }
}
