//! The conformance suites.

use outbox_core::async_trait;
use outbox_core::conformance::{CorruptFixture, StoreFixture};
use outbox_sqlx::MySqlOutbox;
use sqlx::{MySql, MySqlConnection, Transaction};

use crate::fixture::Database;

/// An outbox with a history or without: the two settle in different ways.
struct Suite<const HISTORY: bool>(Database);

#[async_trait]
impl<const HISTORY: bool> StoreFixture for Suite<HISTORY> {
    type Outbox = MySqlOutbox;
    type Conn = MySqlConnection;
    type Transaction = Transaction<'static, MySql>;

    async fn fresh() -> Self {
        Self(Database::with(|builder| builder.history(HISTORY)).await)
    }
    fn outbox(&self) -> &MySqlOutbox {
        &self.0.outbox
    }
    async fn begin(&self) -> Self::Transaction {
        self.0.outbox.begin().await.unwrap()
    }
    fn conn(tx: &mut Self::Transaction) -> &mut MySqlConnection {
        tx
    }
    async fn commit(&self, tx: Self::Transaction) {
        self.0.outbox.commit(tx).await.unwrap();
    }
    async fn rollback(&self, tx: Self::Transaction) {
        tx.rollback().await.unwrap();
    }
}

#[async_trait]
impl<const HISTORY: bool> CorruptFixture for Suite<HISTORY> {
    async fn insert_corrupt(&self, topic: &str, key: Option<&str>) {
        sqlx::query(
            "INSERT INTO outbox_messages (topic, message_key, payload, headers) VALUES (?, ?, 'x', '[1]')",
        )
        .bind(topic)
        .bind(key)
        .execute(&self.0.pool)
        .await
        .unwrap();
    }
}

mod with_a_history {
    type Suite = super::Suite<true>;

    outbox_core::store_conformance!(Suite, needs "needs TEST_MYSQL_URL; scripts/test starts a server");
    outbox_core::admin_conformance!(Suite, needs "needs TEST_MYSQL_URL; scripts/test starts a server");
}

mod without_a_history {
    type Suite = super::Suite<false>;

    outbox_core::store_conformance!(Suite, needs "needs TEST_MYSQL_URL; scripts/test starts a server");
    outbox_core::corrupt_conformance!(Suite, needs "needs TEST_MYSQL_URL; scripts/test starts a server");
    outbox_core::enqueued_in_conformance!(Suite, needs "needs TEST_MYSQL_URL; scripts/test starts a server");
    outbox_core::inbox_conformance!(Suite, needs "needs TEST_MYSQL_URL; scripts/test starts a server");
}
