//! [`OwnConnection`]: the outbox's own connections, so that it never waits for the application's pool.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use outbox_core::{StoreError, StoreErrorKind};
use sqlx::postgres::PgConnectOptions;
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgConnection, Postgres, Row, SqlSafeStr, SqlStr, Transaction,
};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

use super::error::store_error;
use super::migrate;
use super::statements::Statements;
use crate::idle::IdleLimit;

/// How long opening a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What holds for every connection of our own.
///
/// The timeouts end what a dispatcher that was cut off left behind, before its locks are in a successor's way; the idle
/// one becomes shorter where the lease is ([`IdleLimit`]).
/// Every statement finds its rows by an index, in the order in which it wants them. Planned while a table was empty,
/// PostgreSQL would keep a hash join over a sequential scan, or a sort of all that is waiting, for good; so these plans
/// are switched off where there is another. What has none looks enormously dear then, and would start the just-in-time
/// compiler.
const SETTINGS: &str = include_str!("sql/settings.sql");

/// Whether the settings that came as parameters hold; and commits are made durable, if the role's are not.
const SETTINGS_HOLD: &str = "
    SELECT current_setting('plan_cache_mode') = 'force_generic_plan' AND coalesce(
        (SELECT set_config('synchronous_commit', 'on', false) = 'on'
         WHERE current_setting('plan_cache_mode') = 'force_generic_plan'
             AND current_setting('synchronous_commit') IN ('off', 'local')), true)";

const BEHIND_POOLER: &str = "could not connect to the database: the settings of the outbox's own connections were not \
    taken, as a pooler does; give the outbox `own_connections` to the server, or say `behind_pooler(true)`";

/// How our own connections are opened and set up.
#[derive(Debug, Clone)]
pub(super) struct OwnOptions {
    options: PgConnectOptions,
    /// A pooler in transaction mode lies in between: whatever lasts longer than a transaction, settings as well as
    /// prepared statements, would be lost or get to others. So everything runs in transactions with settings of their
    /// own, and no statement has a name.
    behind_pooler: bool,
    idle: Arc<IdleLimit>,
}

impl OwnOptions {
    /// To the database that `options` name.
    pub(super) fn new(options: &PgConnectOptions, behind_pooler: bool, idle: Arc<IdleLimit>) -> Self {
        let mut options = options.clone().disable_statement_logging();
        if options.get_application_name().is_none() {
            options = options.application_name("outbox");
        }
        Self { options, behind_pooler, idle }
    }

    /// For a connection that only notifies: it needs no settings.
    pub(super) fn plain(&self) -> PgConnectOptions {
        self.options.clone()
    }

    /// For a connection that listens, where one can. A pooler would give what is heard to whoever uses the connection
    /// next, who may not expect it: with the settings as parameters, none takes it by mistake.
    pub(super) fn listening(&self) -> Option<PgConnectOptions> {
        (!self.behind_pooler).then(|| self.with_settings("10s"))
    }

    /// The settings as parameters of a new connection: a pooler in transaction mode refuses them or leaves them out,
    /// instead of passing them on to other clients, as it does with SET.
    fn with_settings(&self, statement_timeout: &str) -> PgConnectOptions {
        let settings = SETTINGS.lines().filter_map(|line| line.strip_prefix("SET ")?.split_once(" = "));
        let plain = |value: &str| value.trim_end_matches(';').trim_matches('\'').to_owned();
        let settings = settings.map(|(name, value)| (name.to_owned(), plain(value)));
        self.options.clone().options(settings).options([("statement_timeout", statement_timeout)])
    }
}

/// Begins a transaction with the settings.
fn begin_with_settings(statement_timeout: &str) -> SqlStr {
    let code: Vec<&str> = SETTINGS.lines().filter(|line| !line.starts_with("--")).collect();
    let settings = code.join("\n").replace("SET ", "SET LOCAL ").replace("false)", "true)");
    let begin = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
    // Our own file and constants, no data.
    AssertSqlSafe(format!("{begin}; SET LOCAL statement_timeout = '{statement_timeout}'; {settings}"))
        .into_sql_str()
}

/// A connection that is opened when it is first needed, and used by one call at a time.
#[derive(Debug)]
pub(super) struct OwnConnection {
    options: PgConnectOptions,
    /// What each transaction begins with, behind a pooler.
    begin: Option<SqlStr>,
    idle: Arc<IdleLimit>,
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
    connection: PgConnection,
    begin: Option<&'a SqlStr>,
    is_new: bool,
    slot: MutexGuard<'a, Slot>,
}

impl OwnConnection {
    /// A connection whose statements take at most `statement_timeout`.
    pub(super) fn new(own: &OwnOptions, statement_timeout: &'static str) -> Self {
        let (options, begin) = match own.behind_pooler {
            true => (own.options.clone(), Some(begin_with_settings(statement_timeout))),
            false => (own.with_settings(statement_timeout), None),
        };
        Self { options, begin, idle: Arc::clone(&own.idle), slot: Mutex::default() }
    }

    /// The connection, opened and its schema checked if it is not open yet; waits while another call uses it.
    pub(super) async fn take(&self, sql: &Statements) -> Result<InUse<'_>, StoreError> {
        let mut in_use = self.take_any().await?;
        if std::mem::take(&mut in_use.is_new) {
            migrate::check(&mut in_use, sql).await?;
        }
        Ok(in_use)
    }

    /// Whether connection `number` is open still, and its server answers; waits while a call uses it. Behind a pooler,
    /// whether `number` is that of the server, which is `now`.
    pub(super) async fn lives(&self, number: u64, now: u64) -> bool {
        if self.begin.is_some() {
            return number == now;
        }
        let mut slot = self.slot.lock().await;
        let Some(mut connection) = slot.idle.take().filter(|_| slot.opened == number) else { return false };
        let lives = connection.ping().await.is_ok();
        slot.idle = Some(connection).filter(|_| lives);
        lives
    }

    /// The connection, whatever tables there are.
    pub(super) async fn take_any(&self) -> Result<InUse<'_>, StoreError> {
        let mut slot = self.slot.lock().await;
        let idle = slot.idle.take();
        let is_new = idle.is_none();
        let connection = match idle {
            Some(connection) => connection,
            None => self.open().await?,
        };
        slot.opened += u64::from(is_new);
        Ok(InUse { connection, begin: self.begin.as_ref(), is_new, slot })
    }

    /// The options of a connection that is opened now.
    fn options(&self) -> PgConnectOptions {
        // A pooler would refuse the setting, as it does the others.
        if self.begin.is_some() {
            return self.options.clone();
        }
        let idle = format!("{}ms", self.idle.get().as_millis());
        self.options.clone().options([("idle_in_transaction_session_timeout", idle)])
    }

    async fn open(&self) -> Result<PgConnection, StoreError> {
        let open = async {
            let mut connection = self.options().connect().await?;
            if self.begin.is_none() {
                // As text: it has no parameters, and leaves no statement behind where settings do not hold.
                let held = sqlx::raw_sql(SETTINGS_HOLD).fetch_one(&mut connection).await?;
                if !held.try_get::<bool, _>(0)? {
                    return Err(sqlx::Error::Protocol("the settings do not hold".to_owned()));
                }
            } else {
                // sqlx looks up a type that it does not know while it prepares, and loses an unnamed statement over it:
                // this one, and none after it.
                let mut tx = connection.begin().await?;
                let _ = sqlx::query("SELECT NULL::tid[]").persistent(false).fetch_one(&mut *tx).await;
                tx.rollback().await?;
            }
            Ok(connection)
        };
        match timeout(CONNECT_TIMEOUT, open).await {
            // PgBouncer refuses the settings with a protocol violation; others leave them out.
            Ok(Err(error)) if is_protocol_violation(&error) => {
                Err(StoreError::new(StoreErrorKind::Invalid, BEHIND_POOLER).with_source(error))
            }
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

fn is_protocol_violation(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => error.code().as_deref() == Some("08P01"),
        sqlx::Error::Protocol(_) => true,
        _ => false,
    }
}

impl InUse<'_> {
    /// The number of this connection among those that were opened here. Behind a pooler, where a connection outlives
    /// its server, a number of the server since it last started or recovered from a crash.
    pub(super) async fn number(&mut self, sql: &Statements) -> Result<u64, sqlx::Error> {
        if self.begin.is_none() {
            return Ok(self.slot.opened);
        }
        let mut tx = self.transaction().await?;
        let server: i64 = sql.server.scalar().fetch_one(&mut *tx).await?;
        tx.commit().await?;
        Ok(server.cast_unsigned())
    }

    /// For statements that each stand alone.
    pub(super) async fn statements(&mut self) -> Result<Work<'_>, sqlx::Error> {
        match self.begin {
            Some(_) => self.transaction().await.map(Work::Transaction),
            None => Ok(Work::Connection(&mut self.connection)),
        }
    }

    /// For statements that stand together.
    pub(super) async fn transaction(&mut self) -> Result<Transaction<'_, Postgres>, sqlx::Error> {
        match self.begin {
            Some(begin) => self.connection.begin_with(begin.clone()).await,
            None => self.connection.begin().await,
        }
    }

    /// Gives the connection back for the next call.
    pub(super) fn keep(self) {
        let Self { connection, mut slot, .. } = self;
        slot.idle = Some(connection);
    }
}

/// What statements run on that each stand alone; behind a pooler a transaction all the same.
#[derive(Debug)]
pub(super) enum Work<'c> {
    Connection(&'c mut PgConnection),
    Transaction(Transaction<'c, Postgres>),
}

impl Work<'_> {
    /// Only now what was written stands for sure.
    pub(super) async fn done(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Connection(_) => Ok(()),
            Self::Transaction(tx) => tx.commit().await,
        }
    }
}

impl Deref for Work<'_> {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        match self {
            Self::Connection(connection) => connection,
            Self::Transaction(tx) => tx,
        }
    }
}

impl DerefMut for Work<'_> {
    fn deref_mut(&mut self) -> &mut PgConnection {
        match self {
            Self::Connection(connection) => connection,
            Self::Transaction(tx) => tx,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_holds_for_a_connection_and_for_a_transaction_alike() {
        let own = OwnOptions::new(&PgConnectOptions::new_without_pgpass(), false, Arc::default());
        let options = own.with_settings("7s");
        let parameters = options.get_options().unwrap();
        for setting in ["jit=off", r"default_transaction_isolation=read\ committed", "lock_timeout=5s"] {
            assert!(parameters.contains(&format!("-c {setting}")), "{parameters}");
        }
        let begin = begin_with_settings("7s");
        assert_eq!(begin.as_str().matches("SET LOCAL ").count(), parameters.matches("-c ").count());
        assert!(
            begin.as_str().contains("set_config('synchronous_commit', 'on', true)"),
            "{}",
            begin.as_str()
        );
    }
}
