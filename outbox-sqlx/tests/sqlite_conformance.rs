//! What every store promises, of `SqliteOutbox`.
#![cfg(feature = "sqlite")]

use outbox_core::async_trait;
use outbox_core::conformance::{CorruptFixture, StoreFixture};
use outbox_sqlx::SqliteOutbox;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{Sqlite, SqliteConnection, Transaction};
use tempfile::TempDir;

/// An outbox in a file of its own, with a history or without: the two settle in different ways.
struct File<const HISTORY: bool> {
    outbox: SqliteOutbox,
    _folder: TempDir,
}

#[async_trait]
impl<const HISTORY: bool> StoreFixture for File<HISTORY> {
    type Outbox = SqliteOutbox;
    type Conn = SqliteConnection;
    type Transaction = Transaction<'static, Sqlite>;

    async fn fresh() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new().filename(folder.path().join("outbox.db"));
        let pool = SqlitePoolOptions::new().connect_with(options.create_if_missing(true)).await.unwrap();
        let outbox = SqliteOutbox::builder(pool).history(HISTORY).build().unwrap();
        outbox.migrate().await.unwrap();
        Self { outbox, _folder: folder }
    }
    fn outbox(&self) -> &SqliteOutbox {
        &self.outbox
    }
    async fn begin(&self) -> Self::Transaction {
        self.outbox.begin().await.unwrap()
    }
    fn conn(tx: &mut Self::Transaction) -> &mut SqliteConnection {
        tx
    }
    async fn commit(&self, tx: Self::Transaction) {
        self.outbox.commit(tx).await.unwrap();
    }
    async fn rollback(&self, tx: Self::Transaction) {
        tx.rollback().await.unwrap();
    }
}

#[async_trait]
impl<const HISTORY: bool> CorruptFixture for File<HISTORY> {
    async fn insert_corrupt(&self, topic: &str, key: Option<&str>) {
        let sql =
            "INSERT INTO outbox_messages (topic, message_key, payload, id) VALUES (?, ?, 'x', 'no uuid')";
        let mut tx = self.outbox.begin().await.unwrap();
        sqlx::query(sql).bind(topic).bind(key).execute(&mut *tx).await.unwrap();
        self.outbox.commit(tx).await.unwrap();
    }
}

mod with_a_history {
    type File = super::File<true>;

    outbox_core::store_conformance!(File);
    outbox_core::admin_conformance!(File);
}

mod without_a_history {
    type File = super::File<false>;

    outbox_core::store_conformance!(File);
    outbox_core::corrupt_conformance!(File);
    outbox_core::inbox_conformance!(File);
    outbox_core::enqueued_in_conformance!(File);
}
