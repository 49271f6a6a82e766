//! [`OwnConnection`]: the outbox's own connections, so that it never waits for the application's pool.

use std::sync::Arc;
use std::time::{Duration, Instant};

use outbox_core::{StoreError, StoreErrorKind};
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, MySqlConnection};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

use super::error::store_error;
use super::statements::Statements;
use super::{durability, migrate};
use crate::idle::IdleLimit;

/// How long opening a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that was not used for so long is replaced: the server closes it after a minute.
const IDLE: Duration = Duration::from_secs(30);

/// What holds for every connection of our own.
///
/// The timeouts end what a dispatcher that was cut off left behind, before its locks are in a successor's way: MariaDB
/// ends a transaction that idles ([`IdleLimit`]), MySQL only a connection, so that connections may not idle for long. At
/// READ COMMITTED a statement locks only the rows that it changes, and no gaps, where producers insert.
const SETTINGS: &str = include_str!("sql/settings.sql");

/// A connection that is opened when it is first needed, and used by one call at a time.
#[derive(Debug)]
pub(super) struct OwnConnection {
    options: MySqlConnectOptions,
    statement_timeout: Duration,
    idle: Arc<IdleLimit>,
    writes_deliveries: bool,
    slot: Mutex<Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    idle: Option<(MySqlConnection, Instant)>,
    opened: u64,
}

/// The connection in use. Unless it is given back with [`keep`](Self::keep), as after an error or when the call is
/// dropped half-way, it is closed: the server rolls back what was open, and the next call opens a new one.
#[derive(Debug)]
pub(super) struct InUse<'a> {
    pub(super) connection: MySqlConnection,
    slot: MutexGuard<'a, Slot>,
}

impl OwnConnection {
    /// A connection to the database that `pool_options` name.
    pub(super) fn new(
        pool_options: &MySqlConnectOptions,
        statement_timeout: Duration,
        idle: &Arc<IdleLimit>,
    ) -> Self {
        let options = pool_options.clone().disable_statement_logging();
        let idle = Arc::clone(idle);
        Self { options, statement_timeout, idle, writes_deliveries: false, slot: Mutex::default() }
    }

    /// The same, by which it is written what was delivered: warns where a commit is not durable.
    pub(super) fn that_writes_deliveries(self) -> Self {
        Self { writes_deliveries: true, ..self }
    }

    /// The connection, opened and its schema checked if it is not open yet; waits while another call uses it.
    pub(super) async fn take(&self, sql: &Statements) -> Result<InUse<'_>, StoreError> {
        let mut slot = self.slot.lock().await;
        let connection = match slot.idle.take() {
            Some((connection, since)) if since.elapsed() < IDLE => connection,
            _ => {
                let mut connection = self.open().await?;
                migrate::check(&mut connection, sql).await?;
                if self.writes_deliveries && slot.opened == 0 {
                    durability::check(&mut connection, sql).await;
                }
                slot.opened += 1;
                connection
            }
        };
        Ok(InUse { connection, slot })
    }

    /// Whether connection `number` is open still, and its server answers; waits while a call uses it.
    pub(super) async fn lives(&self, number: u64) -> bool {
        let mut slot = self.slot.lock().await;
        let Some((mut connection, since)) = slot.idle.take().filter(|_| slot.opened == number) else {
            return false;
        };
        let lives = connection.ping().await.is_ok();
        slot.idle = Some((connection, since)).filter(|_| lives);
        lives
    }

    /// A new connection, whatever tables there are.
    pub(super) async fn open(&self) -> Result<MySqlConnection, StoreError> {
        let seconds = self.statement_timeout.as_secs().to_string();
        // In whole seconds, and none is without limit.
        let idle = self.idle.get().as_millis().div_ceil(1_000).to_string();
        let settings = SETTINGS.replace("{seconds}", &seconds).replace("{idle}", &idle);
        let open = async {
            let mut connection = self.options.connect().await?;
            // Our own file and two numbers.
            sqlx::raw_sql(AssertSqlSafe(settings)).execute(&mut connection).await?;
            Ok(connection)
        };
        match timeout(CONNECT_TIMEOUT, open).await {
            Ok(opened) => opened.map_err(|error| store_error("connect to the database", error)),
            Err(_) => Err(StoreError::new(
                StoreErrorKind::Unavailable,
                format!(
                    "could not connect to the database within {CONNECT_TIMEOUT:?}; check it and try again"
                ),
            )),
        }
    }
}

impl InUse<'_> {
    /// The number of this connection among those that were opened here.
    pub(super) fn number(&self) -> u64 {
        self.slot.opened
    }

    /// Gives the connection back for the next call.
    pub(super) fn keep(self) {
        let Self { connection, mut slot } = self;
        slot.idle = Some((connection, Instant::now()));
    }
}
