//! Outboxes that differ by their prefix: PgBouncer's clients share the connections, and so the schema.

use std::str::FromStr;
use std::time::Duration;

use outbox_core::{MessageId, NewMessage};
use outbox_sqlx::{PostgresOutbox, PostgresOutboxBuilder};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions};

pub(crate) struct Pooled {
    pub(crate) outbox: PostgresOutbox,
    pub(crate) pool: PgPool,
    pub(crate) prefix: String,
}

fn options(variable: &str) -> PgConnectOptions {
    let url =
        std::env::var(variable).unwrap_or_else(|_| panic!("{variable} names a server; see scripts/services"));
    PgConnectOptions::from_str(&url).unwrap()
}

/// The way through PgBouncer.
pub(crate) fn pooled() -> PgConnectOptions {
    options("TEST_PGBOUNCER_URL")
}

/// The server itself.
pub(crate) fn direct() -> PgConnectOptions {
    options("TEST_POSTGRES_URL")
}

pub(crate) fn pool() -> PgPool {
    PgPoolOptions::new()
        .max_connections(8)
        .acquire_timeout(Duration::from_secs(60))
        .connect_lazy_with(pooled())
}

impl Pooled {
    pub(crate) async fn with(settings: impl FnOnce(PostgresOutboxBuilder) -> PostgresOutboxBuilder) -> Self {
        let id = MessageId::generate().as_uuid().simple().to_string();
        let (pool, prefix) = (pool(), format!("pooled_{}_", &id[8..]));
        let builder = PostgresOutbox::builder(pool.clone()).table_prefix(&prefix).behind_pooler(true);
        let outbox = settings(builder).build().unwrap();
        outbox.migrate().await.unwrap();
        Self { outbox, pool, prefix }
    }

    pub(crate) async fn new() -> Self {
        Self::with(|builder| builder).await
    }

    /// The outbox as another process sees it.
    pub(crate) fn elsewhere(&self) -> PostgresOutbox {
        PostgresOutbox::builder(pool()).table_prefix(&self.prefix).behind_pooler(true).build().unwrap()
    }

    /// How many dispatchers own something.
    pub(crate) async fn owners(&self) -> i64 {
        let mut conn = direct().connect().await.unwrap();
        let sql = format!("SELECT count(DISTINCT epoch) FROM {}leases", self.prefix);
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut conn).await.unwrap()
    }

    /// As another process whose own connections lead to the server itself.
    pub(crate) fn elsewhere_directly(&self) -> PostgresOutbox {
        PostgresOutbox::builder(pool())
            .table_prefix(&self.prefix)
            .behind_pooler(true)
            .own_connections(direct())
            .build()
            .unwrap()
    }
}

impl Drop for Pooled {
    /// On a thread of its own, since a destructor cannot wait.
    fn drop(&mut self) {
        let prefix = &self.prefix;
        let tables = [
            "messages",
            "deferred",
            "idempotency",
            "inbox",
            "history",
            "sessions",
            "leases",
            "journal",
            "acts",
            "schema",
        ];
        let tables = tables.map(|table| format!("{prefix}{table}")).join(", ");
        let drop = format!(
            "SET lock_timeout = '10s'; DROP TABLE {tables} CASCADE;
             DROP FUNCTION {prefix}once, {prefix}send"
        );
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut conn = direct().connect().await.unwrap();
                sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut conn).await
            })
        });
        // Tables that stay behind are no reason to fail a test.
        let _ = dropped.join();
    }
}

pub(crate) fn message(key: &str, text: &str) -> NewMessage {
    NewMessage::builder("t").key(key).payload(text.to_owned(), "text/plain").build().unwrap()
}
