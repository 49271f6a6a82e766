//! The server on which the race takes place: a database of its own for every run of a program.

use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tokio::sync::Mutex;

use crate::database::server;

/// A connection to the server, outside of the databases that the programs use; one query at a time.
pub(super) struct Server {
    conn: Mutex<PgConnection>,
    next: AtomicU32,
}

/// An empty database.
pub(super) struct Course {
    name: String,
    pub(super) url: String,
}

impl Server {
    pub(super) async fn connect() -> Self {
        let conn = server().connect().await.expect("a server");
        Self { conn: Mutex::new(conn), next: AtomicU32::new(0) }
    }

    /// A new database.
    pub(super) async fn course(&self) -> Course {
        let name = format!("race_{}_{}", std::process::id(), self.next.fetch_add(1, Ordering::Relaxed));
        self.run(&format!("CREATE DATABASE {name}")).await;
        // Whole pages that the server logs after a checkpoint are on nobody's account.
        self.run("CHECKPOINT").await;
        let mut url = options(&name).to_url_lossy();
        // Settings of our driver that another may refuse.
        url.set_query(None);
        Course { url: url.to_string(), name }
    }

    /// Drops it, whoever is connected.
    pub(super) async fn close(&self, course: Course) {
        self.run(&format!("DROP DATABASE {} WITH (FORCE)", course.name)).await;
    }

    /// Bytes of write-ahead log so far, of the whole server.
    pub(super) async fn log_bytes(&self) -> f64 {
        self.number("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint").await
    }

    /// Transactions that ended so far.
    pub(super) async fn transactions(&self, course: &Course) -> f64 {
        let sql = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = ";
        self.number(&format!("{sql}'{}'", course.name)).await
    }

    async fn run(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .execute(&mut *self.conn.lock().await)
            .await
            .expect("our SQL is right");
    }

    async fn number(&self, sql: &str) -> f64 {
        let number: i64 = sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
            .fetch_one(&mut *self.conn.lock().await)
            .await
            .expect("our SQL is right");
        number as f64
    }
}

impl Course {
    /// Runs SQL in this database; a program's own SQL may be wrong.
    pub(super) async fn run(&self, sql: &str) -> Result<(), String> {
        let mut conn = options(&self.name).connect().await.map_err(|error| error.to_string())?;
        let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut conn).await;
        let _ = conn.close().await;
        done.map(|_| ()).map_err(|error| error.to_string())
    }

    /// One number.
    pub(super) async fn number(&self, sql: &str) -> Result<i64, String> {
        let mut conn = options(&self.name).connect().await.map_err(|error| error.to_string())?;
        let number = sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut conn).await;
        let _ = conn.close().await;
        number.map_err(|error| error.to_string())
    }

    /// What the server would do by itself before long, done now.
    pub(super) async fn settle(&self) -> Result<(), String> {
        self.run("ANALYZE").await
    }
}

fn options(database: &str) -> PgConnectOptions {
    server().database(database).disable_statement_logging()
}
