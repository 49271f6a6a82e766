//! [`OwnConnection`]: the outbox's own connections, so that it never waits for the application's pool.

use std::time::{Duration, Instant};

use outbox_core::{StoreError, StoreErrorKind};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, SqliteConnection};
use tokio::sync::{Mutex, MutexGuard};

use super::error::store_error;
use super::migrate;
use super::statements::Statements;

/// How long a connection waits for another one that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Rows that the driver's thread may read ahead. With the driver's own 50 it stops so often to wait for the reader that
/// a drain takes a third longer; with more, large payloads would fill the memory.
const ROW_BUFFER: usize = 128;

/// A connection that is opened when it is first needed, and used by one call at a time.
#[derive(Debug)]
pub(super) struct OwnConnection {
    options: SqliteConnectOptions,
    idle: Mutex<Option<SqliteConnection>>,
}

/// The connection in use. Unless it is given back with [`keep`](Self::keep), as after an error or when the call is
/// dropped half-way, it is closed: SQLite rolls back what was open, and the next call opens a new one.
#[derive(Debug)]
pub(super) struct InUse<'a> {
    pub(super) connection: SqliteConnection,
    idle: MutexGuard<'a, Option<SqliteConnection>>,
}

impl OwnConnection {
    /// A connection to the database that `pool_options` name: WAL, and durable when a commit returns.
    pub(super) fn new(pool_options: &SqliteConnectOptions) -> Self {
        let options = pool_options
            .clone()
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .row_buffer_size(ROW_BUFFER)
            .disable_statement_logging();
        Self { options, idle: Mutex::new(None) }
    }

    /// The connection, opened and its schema checked if it is not open yet; waits while another call uses it.
    pub(super) async fn take(&self, sql: &Statements) -> Result<InUse<'_>, StoreError> {
        let mut idle = self.idle.lock().await;
        let connection = match idle.take() {
            Some(connection) => connection,
            None => {
                let mut connection = self.open().await?;
                migrate::check(&mut connection, sql).await?;
                connection
            }
        };
        Ok(InUse { connection, idle })
    }

    /// A new connection, whatever tables there are.
    pub(super) async fn open(&self) -> Result<SqliteConnection, StoreError> {
        let started = Instant::now();
        let mut connection = loop {
            match self.options.connect().await {
                Ok(connection) => break connection,
                // The busy timeout does not cover the change to WAL, which two processes may ask for at once.
                Err(sqlx::Error::Database(error))
                    if error.message().contains("locked") && started.elapsed() < BUSY_TIMEOUT =>
                {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => return Err(store_error("open the database", error)),
            }
        };
        let mode: String = sqlx::query_scalar("PRAGMA journal_mode")
            .fetch_one(&mut connection)
            .await
            .map_err(|error| store_error("open the database", error))?;
        if !mode.eq_ignore_ascii_case("wal") {
            return Err(StoreError::new(
                StoreErrorKind::Invalid,
                format!(
                    "the outbox needs an SQLite file in WAL mode, this database is in mode {mode:?}; use a file on \
                     a local disk, and MemoryOutbox for tests without one"
                ),
            ));
        }
        Ok(connection)
    }
}

impl InUse<'_> {
    /// Gives the connection back for the next call.
    pub(super) fn keep(self) {
        let Self { connection, mut idle } = self;
        *idle = Some(connection);
    }
}
