//! [`Pool`]: idle connections, and how many may be in use.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::connection::Connection;

/// Keeps connections between mails. One that is taken belongs to the taker alone and comes back only by
/// [`put_back`](Self::put_back), after a complete conversation: a dropped future drops it, which closes it.
/// Nothing runs in the background: a connection that is idle for too long ends when the next mail comes.
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::time::advance;

    use super::*;

    fn connection() -> (Connection, DuplexStream) {
        let (ours, relay) = tokio::io::duplex(1_024);
        (Connection::over(ours), relay)
    }

    async fn taken(pool: &Pool) -> bool {
        pool.take_idle(Instant::now() + Duration::from_secs(60)).await.is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_was_put_back_is_taken_once() {
        let pool = Pool::new(2);
        let (connection, _relay) = connection();
        pool.put_back(connection);
        advance(IDLE_FOR / 2).await;
        assert!(taken(&pool).await);
        assert!(!taken(&pool).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_relay_that_said_goodbye_hears_none() {
        let pool = Pool::new(2);
        let (connection, mut relay) = connection();
        pool.put_back(connection);
        relay.write_all(b"421 4.4.2 idle for too long\r\n").await.expect("an open connection");
        assert!(!taken(&pool).await);
        let mut heard = String::new();
        relay.read_to_string(&mut heard).await.expect("the end of the connection");
        assert_eq!(heard, "");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_was_idle_for_too_long_ends_politely_and_soon() {
        let pool = Pool::new(2);
        let (connection, mut relay) = connection();
        pool.put_back(connection);
        advance(IDLE_FOR).await;
        let started = Instant::now();
        assert!(!taken(&pool).await);
        assert_eq!(started.elapsed().as_secs(), QUIT_WITHIN.as_secs());
        let mut heard = String::new();
        relay.read_to_string(&mut heard).await.expect("the end of the connection");
        assert_eq!(heard, "QUIT\r\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_the_relay_closed_is_not_taken() {
        let pool = Pool::new(2);
        let (connection, relay) = connection();
        pool.put_back(connection);
        drop(relay);
        assert!(!taken(&pool).await);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_are_kept_than_may_be_used() {
        let pool = Pool::new(1);
        let (first, _relay) = connection();
        let (second, _other_relay) = connection();
        pool.put_back(first);
        pool.put_back(second);
        assert!(taken(&pool).await);
        assert!(!taken(&pool).await);
    }
}
