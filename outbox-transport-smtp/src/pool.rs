//! [`Pool`]: idle connections, and how many may be in use.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::connection::Connection;

/// Keeps connections between mails. One that is taken belongs to the taker alone and comes back only by
/// [`put_back`](Self::put_back), after a complete conversation: a dropped future drops it, which closes it.
pub(crate) struct Pool {
    permits: Semaphore,
    idle: Mutex<Vec<Idle>>,
    size: usize,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

/// Relays close idle connections after a while, often after a minute or five.
const IDLE_FOR: Duration = Duration::from_secs(30);
/// Relays refuse mails after so many on one connection; 100 is a common limit.
const MAILS: u32 = 100;
const QUIT_WITHIN: Duration = Duration::from_secs(1);

impl Pool {
    pub(crate) fn new(size: usize) -> Self {
        Self { permits: Semaphore::new(size), idle: Mutex::new(Vec::new()), size }
    }

    /// The right to use one connection.
    pub(crate) async fn permit(&self) -> Option<SemaphorePermit<'_>> {
        self.permits.acquire().await.ok()
    }

    /// An idle connection that can take a mail, the most recently used one first. Ends those that are not to be
    /// used again.
    pub(crate) async fn take_idle(&self, until: Instant) -> Option<Connection> {
        loop {
            let Idle { mut connection, since } = self.lock().pop()?;
            connection.set_until(until);
            if !connection.is_ready().await {
                continue;
            }
            if since.elapsed() < IDLE_FOR && connection.mails < MAILS {
                return Some(connection);
            }
            connection.quit(QUIT_WITHIN).await;
        }
    }

    /// Keeps `connection`, whose last conversation is complete, for the next mail. Does not wait, so that it
    /// cannot come between an outcome and its record.
    pub(crate) fn put_back(&self, connection: Connection) {
        let mut idle = self.lock();
        if idle.len() < self.size {
            idle.push(Idle { connection, since: Instant::now() });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
