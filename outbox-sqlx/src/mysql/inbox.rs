//! The consumer's side.

use async_trait::async_trait;
use outbox_core::{Inbox, MessageId, StoreError};
use sqlx::MySqlConnection;

use super::MySqlOutbox;
use super::enqueue::check_length;
use super::error::{is_duplicate, store_error};
use super::script::{Script, Value};

#[async_trait]
impl Inbox<MySqlConnection> for MySqlOutbox {
    async fn first_time(
        &self,
        conn: &mut MySqlConnection,
        consumer: &str,
        message: MessageId,
    ) -> Result<bool, StoreError> {
        check_length("the name of the consumer", consumer)?;
        let row = [Value::Text(Some(consumer)), Value::Id(message)];
        let insert = Script::new(&self.inner.sql.first_time).rows("row", [row]);
        // A duplicate ends the statement, not the transaction.
        match insert.execute(conn).await {
            Ok(()) => Ok(true),
            Err(error) if is_duplicate(&error) => Ok(false),
            Err(error) => Err(store_error("note the message as handled", error)),
        }
    }
}
