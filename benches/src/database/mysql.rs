//! MySQL and MariaDB: a database of its own on the server that `TEST_MYSQL_URL` names.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use outbox::{Enqueue, MySqlOutbox, NewMessage, OutboxStore, async_trait};
use sqlx::mysql::{MySqlConnectOptions, MySqlPool, MySqlPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, MySqlConnection};

use super::{Bed, left};
use crate::arguments::refuse;
use crate::load::{Load, PAYLOAD, TOPIC};
use crate::machine;

/// Numbers the databases of this process.
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// Rows of one statement that loads. The server takes places for it in steps of 1, 2, 4 … 65,536, so that none of those
/// it takes is left over: gaps are for another benchmark.
const PART: usize = 65_535;

pub(crate) struct MySqlBed {
    outbox: MySqlOutbox,
    pool: MySqlPool,
    pub(crate) database: String,
    history: bool,
}

impl MySqlBed {
    pub(crate) async fn new(history: bool) -> Self {
        let database = format!("bench_{}_{}", std::process::id(), DATABASES.fetch_add(1, Ordering::Relaxed));
        let mut conn = server().connect().await.expect("a server");
        let create = AssertSqlSafe(format!("CREATE DATABASE {database}"));
        sqlx::raw_sql(create).execute(&mut conn).await.expect("a database");
        let pool = pool(&database);
        let outbox = open(pool.clone(), history);
        outbox.migrate().await.expect("the tables");
        let bed = Self { outbox, pool, database, history };
        bed.run("CREATE TABLE business (id bigint AUTO_INCREMENT PRIMARY KEY, name varchar(255) NOT NULL)")
            .await;
        bed
    }

    /// The outbox in a database that exists.
    pub(crate) fn store_in(database: &str) -> Arc<dyn OutboxStore> {
        Arc::new(open(pool(database), false))
    }

    /// A connection of its own.
    pub(crate) async fn connect(&self) -> MySqlConnection {
        server().database(&self.database).disable_statement_logging().connect().await.expect("a connection")
    }

    /// Runs SQL of ours, never data.
    pub(crate) async fn run(&self, sql: impl Into<String>) {
        sqlx::raw_sql(AssertSqlSafe(sql.into())).execute(&self.pool).await.expect("our SQL is right");
    }

    /// Fills `table`, which has the columns that an insert gives. The statistics are those that the server would have
    /// made by itself before long.
    pub(crate) async fn fill_table(&self, table: &str, load: Load) {
        for part in load.parts(PART) {
            self.run(insert(table, part)).await;
            if (part.to - load.from) / 1_000_000 > (part.from - load.from) / 1_000_000 {
                eprintln!("      {} of {} messages loaded", part.to - load.from, load.len());
            }
        }
        self.run(format!("ANALYZE TABLE {table}")).await;
    }

    /// One number.
    pub(crate) async fn number(&self, sql: impl Into<String>) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(sql.into())).fetch_one(&self.pool).await.expect("our SQL is right")
    }

    /// One text.
    async fn text(&self, sql: impl Into<String>) -> String {
        sqlx::query_scalar(AssertSqlSafe(sql.into())).fetch_one(&self.pool).await.expect("our SQL is right")
    }
}

impl Drop for MySqlBed {
    /// The database goes, on a thread of its own, since a destructor cannot wait.
    fn drop(&mut self) {
        let drop = format!("SET SESSION lock_wait_timeout = 10; DROP DATABASE {}", self.database);
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut conn = server().connect().await.map_err(std::io::Error::other)?;
                sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut conn).await.map_err(std::io::Error::other)?;
                conn.close().await.map_err(std::io::Error::other)
            })
        });
        if !matches!(dropped.join(), Ok(Ok(()))) {
            eprintln!("the database {} stays behind", self.database);
        }
    }
}

/// The statement that makes up the messages of `load`, at most 100,000, and inserts them in their order.
fn insert(table: &str, load: Load) -> String {
    let key = match load.keys {
        0 => "NULL".to_owned(),
        keys => format!("CONCAT('key-', n % {keys})"),
    };
    let digits = "SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4
        UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9";
    format!(
        "INSERT INTO {table} (topic, message_key, payload)
         WITH digits AS ({digits}),
         numbers AS (
            SELECT {} + a.d + 10 * b.d + 100 * c.d + 1000 * d.d + 10000 * e.d AS n
            FROM digits AS a, digits AS b, digits AS c, digits AS d, digits AS e)
         SELECT '{TOPIC}', {key}, CONCAT(UNHEX(LPAD(HEX(n), 16, '0')), REPEAT('x', {}))
         FROM numbers WHERE n < {} ORDER BY n",
        load.from,
        PAYLOAD - 8,
        load.to
    )
}

/// The server that is measured.
fn server() -> MySqlConnectOptions {
    let url = std::env::var("TEST_MYSQL_URL").unwrap_or_else(|_| {
        refuse("TEST_MYSQL_URL names no server; run eval \"$(scripts/services up mariadb)\"")
    });
    url.parse().unwrap_or_else(|_| refuse("TEST_MYSQL_URL is not a URL of a MySQL or MariaDB server"))
}

fn pool(database: &str) -> MySqlPool {
    MySqlPoolOptions::new().max_connections(40).connect_lazy_with(server().database(database))
}

fn open(pool: MySqlPool, history: bool) -> MySqlOutbox {
    MySqlOutbox::builder(pool).history(history).build().expect("the default prefix is right")
}

#[async_trait]
impl Bed for MySqlBed {
    fn store(&self) -> Arc<dyn OutboxStore> {
        Arc::new(self.outbox.clone())
    }

    fn elsewhere(&self) -> Arc<dyn OutboxStore> {
        Arc::new(open(pool(&self.database), self.history))
    }

    async fn fill(&self, load: Load) {
        self.fill_table("outbox_messages", load).await;
    }

    async fn left(&self) -> usize {
        left(&self.outbox).await
    }

    async fn fresh(&self) -> usize {
        let count = self.number("SELECT COUNT(*) FROM outbox_messages").await;
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
        let folder = self.text("SELECT @@datadir").await;
        let file = self.text("SELECT @@pid_file").await;
        let process = std::fs::read_to_string(Path::new(&folder).join(file)).unwrap_or_default();
        machine::process_time(process.trim())
    }

    /// The statements of all clients, each of a script or a transaction by itself.
    async fn asked(&self) -> Option<i64> {
        let questions = sqlx::query_as("SHOW GLOBAL STATUS LIKE 'Questions'").fetch_one(&self.pool);
        let (_, count): (String, String) = questions.await.expect("a count");
        count.parse().ok()
    }

    async fn describe(&self) -> Vec<(String, String)> {
        let mut settings = Vec::new();
        for name in [
            "version",
            "innodb_flush_log_at_trx_commit",
            "innodb_flush_method",
            "innodb_doublewrite",
            "innodb_buffer_pool_size",
            "innodb_autoinc_lock_mode",
            "log_bin",
        ] {
            settings.push((name.to_owned(), self.text(format!("SELECT CAST(@@{name} AS CHAR)")).await));
        }
        settings
    }
}
