//! The consumer's side.

use async_trait::async_trait;
use outbox_core::{Inbox, MessageId, StoreError};
use sqlx::PgConnection;

use super::PostgresOutbox;
use super::error::store_error;

#[async_trait]
impl Inbox<PgConnection> for PostgresOutbox {
    async fn first_time(
        &self,
        conn: &mut PgConnection,
        consumer: &str,
        message: MessageId,
    ) -> Result<bool, StoreError> {
        let insert = self.inner.sql_of_pool.first_time.query().bind(consumer).bind(*message.as_uuid());
        let noted =
            insert.execute(conn).await.map_err(|error| store_error("note the message as handled", error))?;
        Ok(noted.rows_affected() == 1)
    }
}
