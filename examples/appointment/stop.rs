//! [`StopSignals`]: Ctrl-C, and the polite signal of a process manager.

use anyhow::{Context, Result};

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
#[cfg(windows)]
use tokio::signal::windows::{CtrlC, CtrlShutdown, ctrl_c, ctrl_shutdown};

/// What asks this process to stop.
#[derive(Debug)]
pub struct StopSignals {
    #[cfg(unix)]
    interrupt: Signal,
    #[cfg(unix)]
    terminate: Signal,
    #[cfg(windows)]
    interrupt: CtrlC,
    #[cfg(windows)]
    terminate: CtrlShutdown,
}

impl StopSignals {
    /// Listens from now on: a signal no longer ends the process by itself, but is kept for [`next`](Self::next).
    pub fn listen() -> Result<Self> {
        #[cfg(unix)]
        let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
        #[cfg(windows)]
        let (interrupt, terminate) = (ctrl_c(), ctrl_shutdown());
        Ok(Self {
            interrupt: interrupt.context("cannot listen to Ctrl-C")?,
            terminate: terminate.context("cannot listen to the signal of process managers")?,
        })
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
