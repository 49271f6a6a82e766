//! [`Mailbox`]: a real SMTP server on a free port of this machine. What it accepts lands in a folder, one `.eml`
//! per mail, and beside it the `.ics` of an invitation. For development: it takes every address and never relays.

mod folder;
mod session;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

pub use folder::Folder;

/// Connections served at a time; a client beyond that waits in the listener's queue.
const MAX_CONNECTIONS: usize = 64;

/// A running development mailbox; it ends when it is dropped.
#[derive(Debug)]
pub struct Mailbox {
    folder: Folder,
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl Mailbox {
    /// Opens the folder, creating it if need be, and starts the server.
    pub async fn start(path: PathBuf) -> Result<Self> {
        let folder = Folder::open(path).context("cannot open the folder of the mailbox")?;
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("cannot start the mailbox")?;
        let address = listener.local_addr().context("cannot start the mailbox")?;
        let server = tokio::spawn(serve(listener, folder.clone()));
        Ok(Self { folder, address, server })
    }

    /// What to set `SMTP_URL` to, to send here.
    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// Where the mails lie.
    pub const fn folder(&self) -> &Folder {
        &self.folder
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        // The connections live in the server's task and end with it.
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, folder: Folder) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let folder = folder.clone();
                connections.spawn(async move {
                    if let Err(error) = session::converse(stream, &folder).await {
                        tracing::debug!(%error, "a connection to the mailbox broke");
                    }
                    drop(permit);
                });
            }
            // Out of file handles, most likely: it passes.
            Err(error) => {
                tracing::warn!(%error, "the mailbox cannot take a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}
