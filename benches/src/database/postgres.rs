//! PostgreSQL: a schema of its own on the server that `TEST_POSTGRES_URL` names.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use outbox::{Enqueue, NewMessage, OutboxStore, PostgresOutbox, async_trait};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};

use super::{Bed, left};
use crate::arguments::refuse;
use crate::by_hand::postgres::Loop;
use crate::load::{Load, PAYLOAD, TOPIC};
use crate::machine;
use crate::receiver::Receiver;

/// Numbers the schemas of this process.
static SCHEMAS: AtomicU32 = AtomicU32::new(0);

pub(crate) struct PostgresBed {
    pub(crate) outbox: PostgresOutbox,
    pub(crate) pool: PgPool,
    pub(crate) schema: String,
    history: bool,
}

impl PostgresBed {
    pub(crate) async fn new(history: bool) -> Self {
        let schema = format!("bench_{}_{}", std::process::id(), SCHEMAS.fetch_add(1, Ordering::Relaxed));
        let mut conn = server().connect().await.expect("a server");
        let create = AssertSqlSafe(format!("CREATE SCHEMA {schema}"));
        sqlx::raw_sql(create).execute(&mut conn).await.expect("a schema");
        let pool = pool(&schema);
        let outbox = open(pool.clone(), history);
        outbox.migrate().await.expect("the tables");
        let bed = Self { outbox, pool, schema, history };
        bed.run(
            "CREATE TABLE business (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL)",
        )
        .await;
        bed
    }

    /// The outbox in a schema that exists.
    pub(crate) fn store_in(schema: &str) -> Arc<dyn OutboxStore> {
        Arc::new(open(pool(schema), false))
    }

    /// A connection of its own.
    pub(crate) async fn connect(&self) -> PgConnection {
        options(&self.schema).disable_statement_logging().connect().await.expect("a connection")
    }

    /// Runs SQL of ours, never data.
    pub(crate) async fn run(&self, sql: impl Into<String>) {
        sqlx::raw_sql(AssertSqlSafe(sql.into())).execute(&self.pool).await.expect("our SQL is right");
    }

    /// Fills `table`, which has the columns that an insert gives. A checkpoint comes first, and none is due soon; the
    /// statistics are those that the server would have made by itself before long.
    pub(crate) async fn fill_table(&self, table: &str, load: Load) {
        self.run("CHECKPOINT").await;
        for part in load.parts(50_000) {
            self.run(insert(table, part)).await;
            if part.from > load.from && (part.to - load.from).is_multiple_of(1_000_000) {
                eprintln!("      {} of {} messages loaded", part.to - load.from, load.len());
            }
        }
        self.run(format!("ANALYZE {table}")).await;
    }

    /// Loads messages in one transaction.
    pub(crate) async fn fill_at_once(&self, load: Load) {
        self.run(insert("outbox_messages", load)).await;
    }

    /// One text.
    pub(crate) async fn text(&self, sql: impl Into<String>) -> String {
        sqlx::query_scalar(AssertSqlSafe(sql.into())).fetch_one(&self.pool).await.expect("our SQL is right")
    }

    /// One number.
    pub(crate) async fn number(&self, sql: impl Into<String>) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(sql.into())).fetch_one(&self.pool).await.expect("our SQL is right")
    }
}

impl Drop for PostgresBed {
    /// The schema goes, on a thread of its own, since a destructor cannot wait.
    fn drop(&mut self) {
        let drop = format!("DROP SCHEMA {} CASCADE", self.schema);
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut conn = server().connect().await.map_err(std::io::Error::other)?;
                sqlx::raw_sql("SET lock_timeout = '10s'")
                    .execute(&mut conn)
                    .await
                    .map_err(std::io::Error::other)?;
                sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut conn).await.map_err(std::io::Error::other)?;
                conn.close().await.map_err(std::io::Error::other)
            })
        });
        if !matches!(dropped.join(), Ok(Ok(()))) {
            eprintln!("the schema {} stays behind", self.schema);
        }
    }
}

/// The statement that makes up the messages of `load` and inserts them.
fn insert(table: &str, load: Load) -> String {
    let key = match load.keys {
        0 => "NULL".to_owned(),
        keys => format!("'key-' || (n % {keys})"),
    };
    format!(
        "INSERT INTO {table} (topic, message_key, payload)
         SELECT '{TOPIC}', {key}, int8send(n) || convert_to(repeat('x', {}), 'UTF8')
         FROM generate_series({}::bigint, {}::bigint) AS n",
        PAYLOAD - 8,
        load.from,
        load.to - 1
    )
}

/// The server that is measured.
pub(crate) fn server() -> PgConnectOptions {
    let url = std::env::var("TEST_POSTGRES_URL").unwrap_or_else(|_| {
        refuse("TEST_POSTGRES_URL names no server; run eval \"$(scripts/services up postgres)\"")
    });
    url.parse().unwrap_or_else(|_| refuse("TEST_POSTGRES_URL is not a URL of a PostgreSQL server"))
}

fn options(schema: &str) -> PgConnectOptions {
    server().options([("search_path", schema)])
}

fn pool(schema: &str) -> PgPool {
    PgPoolOptions::new().max_connections(40).connect_lazy_with(options(schema))
}

fn open(pool: PgPool, history: bool) -> PostgresOutbox {
    PostgresOutbox::builder(pool).history(history).build().expect("the default prefix is right")
}

#[async_trait]
impl Bed for PostgresBed {
    fn store(&self) -> Arc<dyn OutboxStore> {
        Arc::new(self.outbox.clone())
    }

    fn elsewhere(&self) -> Arc<dyn OutboxStore> {
        Arc::new(open(pool(&self.schema), self.history))
    }

    async fn fill(&self, load: Load) {
        self.fill_table("outbox_messages", load).await;
    }

    async fn drain_by_hand(&self, receiver: &Receiver) {
        Loop::Library.drain(self, 500, receiver).await;
    }

    async fn left(&self) -> usize {
        left(&self.outbox).await
    }

    async fn fresh(&self) -> usize {
        let count = self.number("SELECT count(*) FROM outbox_messages").await;
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

    async fn server_time(&self) -> f64 {
        let backend = self.number("SELECT pg_backend_pid()::bigint").await;
        machine::server_time(i32::try_from(backend).unwrap_or(-1))
    }

    /// Transactions of the whole database, without our question.
    async fn asked(&self) -> Option<i64> {
        let count =
            "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()";
        Some(self.number(count).await)
    }

    async fn describe(&self) -> Vec<(String, String)> {
        let mut settings = Vec::new();
        for name in [
            "server_version",
            "fsync",
            "synchronous_commit",
            "full_page_writes",
            "shared_buffers",
            "max_wal_size",
        ] {
            let value: String = sqlx::query_scalar("SELECT current_setting($1)")
                .bind(name)
                .fetch_one(&self.pool)
                .await
                .expect("a setting");
            settings.push((name.to_owned(), value));
        }
        settings
    }
}
