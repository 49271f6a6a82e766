//! SQLite in WAL mode with `synchronous = FULL`, in a file of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use outbox::{Enqueue, NewMessage, OutboxStore, SqliteOutbox, async_trait};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqliteSynchronous};

use super::{Bed, left};
use crate::load::Load;

pub(crate) struct SqliteBed {
    outbox: SqliteOutbox,
    pool: SqlitePool,
    history: bool,
    pub(crate) path: PathBuf,
    _folder: tempfile::TempDir,
}

impl SqliteBed {
    pub(crate) async fn new(history: bool) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("outbox.sqlite");
        let pool = pool(&path);
        let outbox = open(pool.clone(), history);
        outbox.migrate().await.expect("the tables");
        let business = "CREATE TABLE business (id INTEGER PRIMARY KEY, name TEXT NOT NULL)";
        sqlx::query(business).execute(&pool).await.expect("a table");
        Self { outbox, pool, history, path, _folder: folder }
    }

    /// The outbox in a file that exists.
    pub(crate) fn store_at(path: &Path) -> Arc<dyn OutboxStore> {
        Arc::new(open(pool(path), false))
    }
}

fn pool(path: &Path) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    SqlitePool::connect_lazy_with(options)
}

fn open(pool: SqlitePool, history: bool) -> SqliteOutbox {
    SqliteOutbox::builder(pool).history(history).build().expect("the default prefix is right")
}

#[async_trait]
impl Bed for SqliteBed {
    fn store(&self) -> Arc<dyn OutboxStore> {
        Arc::new(self.outbox.clone())
    }

    fn elsewhere(&self) -> Arc<dyn OutboxStore> {
        Arc::new(open(pool(&self.path), self.history))
    }

    async fn fill(&self, load: Load) {
        for part in load.parts(1_000) {
            self.enqueue(&part.messages()).await;
        }
    }

    async fn left(&self) -> usize {
        left(&self.outbox).await
    }

    async fn fresh(&self) -> usize {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM outbox_messages")
            .fetch_one(&self.pool)
            .await
            .expect("a count");
        usize::try_from(count).expect("a small number")
    }

    async fn enqueue(&self, messages: &[NewMessage]) {
        let mut tx = self.outbox.begin().await.expect("begin");
        self.outbox.enqueue(&mut tx, messages).await.expect("enqueue");
        self.outbox.commit(tx).await.expect("commit");
    }

    async fn business(&self, message: Option<&NewMessage>) {
        let mut tx = self.outbox.begin().await.expect("begin");
        let insert = sqlx::query("INSERT INTO business (name) VALUES ('a booking')");
        insert.execute(&mut *tx).await.expect("insert");
        if let Some(message) = message {
            self.outbox.enqueue(&mut tx, std::slice::from_ref(message)).await.expect("enqueue");
            return self.outbox.commit(tx).await.expect("commit");
        }
        tx.commit().await.expect("commit");
    }

    async fn describe(&self) -> Vec<(String, String)> {
        let version: String =
            sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&self.pool).await.expect("a version");
        vec![("SQLite".to_owned(), version), ("synchronous".to_owned(), "FULL".to_owned())]
    }
}
