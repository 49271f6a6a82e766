//! The conformance suites, with every connection through PgBouncer in transaction mode.

use outbox_core::async_trait;
use outbox_core::conformance::{CorruptFixture, StoreFixture};
use outbox_sqlx::PostgresOutbox;
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Transaction};

use crate::fixture::Pooled;

/// An outbox with a history or without: the two settle in different ways.
struct Suite<const HISTORY: bool>(Pooled);

#[async_trait]
impl<const HISTORY: bool> StoreFixture for Suite<HISTORY> {
    type Outbox = PostgresOutbox;
    type Conn = PgConnection;
    type Transaction = Transaction<'static, Postgres>;

    async fn fresh() -> Self {
        Self(Pooled::with(|builder| builder.history(HISTORY)).await)
    }
    fn outbox(&self) -> &PostgresOutbox {
        &self.0.outbox
    }
    async fn begin(&self) -> Self::Transaction {
        self.0.outbox.begin().await.unwrap()
    }
    fn conn(tx: &mut Self::Transaction) -> &mut PgConnection {
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
        let mut tx = self.0.pool.begin().await.unwrap();
        let table = format!("{}messages", self.0.prefix);
        let insert =
            format!("INSERT INTO {table} (topic, message_key, payload, headers) VALUES ($1, $2, 'x', '[1]')");
        sqlx::query(AssertSqlSafe(insert))
            .persistent(false)
            .bind(topic)
            .bind(key)
            .execute(&mut *tx)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }
}

mod with_a_history {
    type Suite = super::Suite<true>;

    outbox_core::store_conformance!(Suite, needs "needs TEST_PGBOUNCER_URL; scripts/test starts a server");
    outbox_core::admin_conformance!(Suite, needs "needs TEST_PGBOUNCER_URL; scripts/test starts a server");
}

mod without_a_history {
    type Suite = super::Suite<false>;

    outbox_core::store_conformance!(Suite, needs "needs TEST_PGBOUNCER_URL; scripts/test starts a server");
    outbox_core::corrupt_conformance!(Suite, needs "needs TEST_PGBOUNCER_URL; scripts/test starts a server");
    outbox_core::enqueued_in_conformance!(Suite, needs "needs TEST_PGBOUNCER_URL; scripts/test starts a server");
    outbox_core::inbox_conformance!(Suite, needs "needs TEST_PGBOUNCER_URL; scripts/test starts a server");
}
