//! Trying again when another transaction was in the way.
//!
//! InnoDB answers a deadlock (1213) by rolling a transaction back, and a lock that does not come (1205) by rolling back
//! the statement alone: <https://dev.mysql.com/doc/refman/8.0/en/innodb-error-handling.html>. Either way the whole is
//! rolled back and done again.

use std::time::Duration;

use outbox_core::StoreError;

use super::connection::InUse;
use super::error::{store_error, was_in_the_way};

/// The most times that one call is tried.
const TRIES: u32 = 5;

/// How often one call was tried.
#[derive(Debug, Default)]
pub(super) struct Tries(u32);

impl Tries {
    /// After an error on the connection `in_use`, whose transaction has not been committed: waits until the call may be
    /// made again.
    ///
    /// # Errors
    /// That of the call, when it must not.
    pub(super) async fn again(
        &mut self,
        mut in_use: InUse<'_>,
        what: &str,
        error: sqlx::Error,
    ) -> Result<(), StoreError> {
        self.0 += 1;
        if self.0 >= TRIES || !was_in_the_way(&error) {
            return Err(store_error(what, error));
        }
        tracing::debug!(tries = self.0, %error, "another transaction was in the way of a call to {what}");
        // Explicitly: the locks of a connection that is merely closed may live on for a while.
        if sqlx::raw_sql("ROLLBACK").execute(&mut in_use.connection).await.is_ok() {
            in_use.keep();
        }
        tokio::time::sleep(self.wait()).await;
        Ok(())
    }

    /// Longer each time, and not the same for two that met.
    fn wait(&self) -> Duration {
        let jitter = u64::from(uuid::Uuid::now_v7().as_bytes()[15]) * 40;
        Duration::from_micros((2_000 << self.0) + jitter)
    }
}
