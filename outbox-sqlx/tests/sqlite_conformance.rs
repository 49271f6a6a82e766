//! What every store promises, of `SqliteOutbox`.
#![cfg(feature = "sqlite")]

use outbox_core::async_trait;
use outbox_core::conformance::StoreFixture;
use outbox_sqlx::SqliteOutbox;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{Sqlite, SqliteConnection, Transaction};
use tempfile::TempDir;

/// An outbox in a file of its own.
struct File {
    outbox: SqliteOutbox,
    _folder: TempDir,
}

async fn open(history: bool) -> File {
    let folder = tempfile::tempdir().unwrap();
    let options =
        SqliteConnectOptions::new().filename(folder.path().join("outbox.db")).create_if_missing(true);
    let pool = SqlitePoolOptions::new().max_connections(8).connect_with(options).await.unwrap();
    let outbox = SqliteOutbox::builder(pool).history(history).build().unwrap();
    outbox.migrate().await.unwrap();
    File { outbox, _folder: folder }
}

#[async_trait]
impl StoreFixture for File {
    type Outbox = SqliteOutbox;
    type Conn = SqliteConnection;
    type Transaction = Transaction<'static, Sqlite>;

    async fn fresh() -> Self {
        open(true).await
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

outbox_core::store_conformance!(File);
outbox_core::admin_conformance!(File);
