//! [`OwnConnection`]: the outbox's own connections, so that it never waits for the application's pool.

use std::time::Duration;

use outbox_core::{StoreError, StoreErrorKind};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

use super::error::store_error;
use super::migrate;
use super::statements::Statements;

/// How long opening a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What holds for every connection of our own.
///
/// The timeouts end what a dispatcher that was cut off left behind, before its locks are in a successor's way.
/// Every statement finds its rows by an index, in the order in which it wants them. Planned while a table was empty,
/// PostgreSQL would keep a hash join over a sequential scan, or a sort of all that is waiting, for good; so these plans
/// are switched off where there is another. What has none looks enormously dear then, and would start the just-in-time
/// compiler.
const SETTINGS: &str = include_str!("sql/settings.sql");

/// The options of our own connections to the database that `pool_options` name.
pub(super) fn own_options(pool_options: &PgConnectOptions) -> PgConnectOptions {
    let options = pool_options.clone().disable_statement_logging();
    match options.get_application_name() {
        Some(_) => options,
        None => options.application_name("outbox"),
    }
}

/// A connection that is opened when it is first needed, and used by one call at a time.
#[derive(Debug)]
pub(super) struct OwnConnection {
    options: PgConnectOptions,
    statement_timeout: &'static str,
    slot: Mutex<Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    idle: Option<PgConnection>,
    opened: u64,
}

/// The connection in use. Unless it is given back with [`keep`](Self::keep), as after an error or when the call is
/// dropped half-way, it is closed: the server rolls back what was open, and the next call opens a new one.
#[derive(Debug)]
pub(super) struct InUse<'a> {
    pub(super) connection: PgConnection,
    slot: MutexGuard<'a, Slot>,
}

impl OwnConnection {
    /// A connection with `options`, those of [`own_options`].
    pub(super) fn new(options: &PgConnectOptions, statement_timeout: &'static str) -> Self {
        Self { options: options.clone(), statement_timeout, slot: Mutex::default() }
    }

    /// The connection, opened and its schema checked if it is not open yet; waits while another call uses it.
    pub(super) async fn take(&self, sql: &Statements) -> Result<InUse<'_>, StoreError> {
        let mut slot = self.slot.lock().await;
        let connection = match slot.idle.take() {
            Some(connection) => connection,
            None => {
                let mut connection = self.open().await?;
                migrate::check(&mut connection, sql).await?;
                slot.opened += 1;
                connection
            }
        };
        Ok(InUse { connection, slot })
    }

    /// Whether connection `number` is open still, and its server answers; waits while a call uses it.
    pub(super) async fn lives(&self, number: u64) -> bool {
        let mut slot = self.slot.lock().await;
        let Some(mut connection) = slot.idle.take().filter(|_| slot.opened == number) else { return false };
        let lives = connection.ping().await.is_ok();
        slot.idle = Some(connection).filter(|_| lives);
        lives
    }

    /// A new connection, whatever tables there are.
    pub(super) async fn open(&self) -> Result<PgConnection, StoreError> {
        let open = async {
            let mut connection = self.options.connect().await?;
            sqlx::raw_sql(SETTINGS).execute(&mut connection).await?;
            sqlx::query("SELECT set_config('statement_timeout', $1, false)")
                .bind(self.statement_timeout)
                .execute(&mut connection)
                .await?;
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
        slot.idle = Some(connection);
    }
}
