//! An outbox in a schema of its own.

use std::str::FromStr;
use std::time::Duration;

use outbox_core::MessageId;
use outbox_sqlx::{PostgresOutbox, PostgresOutboxBuilder};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};

/// An outbox and its schema, which goes with it.
pub(crate) struct Schema {
    pub(crate) outbox: PostgresOutbox,
    pub(crate) pool: PgPool,
    pub(crate) name: String,
}

impl Schema {
    pub(crate) async fn with(settings: impl FnOnce(PostgresOutboxBuilder) -> PostgresOutboxBuilder) -> Self {
        let name = format!("outbox_test_{}", MessageId::generate().as_uuid().simple());
        let mut conn = server().connect().await.unwrap();
        conn.execute(AssertSqlSafe(format!("CREATE SCHEMA {name}"))).await.unwrap();
        let pool = pool(&name).await;
        let outbox = settings(PostgresOutbox::builder(pool.clone())).build().unwrap();
        outbox.migrate().await.unwrap();
        Self { outbox, pool, name }
    }
}

/// The server that the tests use.
pub(crate) fn server() -> PgConnectOptions {
    let url = std::env::var("TEST_POSTGRES_URL").expect("TEST_POSTGRES_URL names a server; see scripts/services");
    PgConnectOptions::from_str(&url).unwrap()
}

/// Connections to one schema.
pub(crate) async fn pool(schema: &str) -> PgPool {
    let options = server().options([("search_path", schema)]);
    PgPoolOptions::new()
        .max_connections(8)
        .acquire_timeout(Duration::from_secs(60))
        .connect_with(options)
        .await
        .unwrap()
}

impl Drop for Schema {
    /// On a thread of its own, since a destructor cannot wait.
    fn drop(&mut self) {
        let drop = format!("SET lock_timeout = '10s'; DROP SCHEMA {} CASCADE", self.name);
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut conn = server().connect().await.unwrap();
                sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut conn).await
            })
        });
        // A schema that stays behind is no reason to fail a test.
        let _ = dropped.join();
    }
}
