//! The consumer's side: at-least-once delivery made idempotent.

use async_trait::async_trait;

use crate::{MessageId, StoreError};

/// Remembers which messages a consumer has handled, in the consumer's own transaction.
#[async_trait]
pub trait Inbox<Conn: ?Sized + Send>: Send + Sync {
    /// True when `consumer` sees `message` for the first time; then it is remembered, together with whatever else
    /// the transaction on `conn` does. False: skip the message, its effects are already committed.
    ///
    /// Remembered for the store's retention, which must be longer than a redelivery can take.
    ///
    /// # Errors
    /// [`StoreError`], after which the transaction should be rolled back.
    async fn first_time(
        &self,
        conn: &mut Conn,
        consumer: &str,
        message: MessageId,
    ) -> Result<bool, StoreError>;
}
