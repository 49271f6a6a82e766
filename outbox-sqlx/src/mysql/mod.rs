//! [`MySqlOutbox`]: an outbox in a MySQL or MariaDB database.

mod acts;
mod admin;
mod claim;
mod config;
mod connection;
mod decode;
mod durability;
mod enqueue;
mod error;
mod fresh;
mod gaps;
mod inbox;
mod look;
mod migrate;
#[cfg(test)]
mod model;
mod place;
mod reading;
mod retry;
mod script;
mod session;
mod set_aside;
mod settle;
mod statements;
mod tidy;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use outbox_core::{
    Claim, ClaimRequest, DispatcherId, Epoch, Fence, OutboxStore, Ownership, Settlement, Slot, StoreError,
    WakeUp,
};
use serde::Serialize;
use sqlx::mysql::MySqlPool;
use sqlx::{MySql, Transaction};

pub use config::MySqlOutboxBuilder;

use crate::Migration;
use crate::by::By;
use crate::deadline::{self, within};
use crate::idle::IdleLimit;
use crate::retention::Retention;
use crate::statement::{DEFAULT_PREFIX, check_prefix};
use crate::unanswered::Unanswered;

use claim::Cursor;
use connection::OwnConnection;
use error::{is_lost, store_error};
use retry::Tries;
use statements::Statements;

/// An outbox in a MySQL database, version 8.0.17 or later, or a MariaDB one, version 10.6 or later: enqueues in the
/// caller's transaction, and is the store of any number of dispatchers, which share the keys among them.
///
/// Cheap to clone; all clones share their connections and their bell.
///
/// The pool is the application's own. For itself the outbox opens up to four more connections with the pool's
/// options, each when it is first needed: one to read messages, one to settle, one to keep the lease, and one for
/// retention and the acts of people. So a dispatcher never waits for the pool. A warning is logged when the server does
/// not make commits durable (`innodb_flush_log_at_trx_commit`).
///
/// Any client may insert into `<prefix>messages` directly; `topic` and `payload` are enough. An insert that carries an
/// `idempotency_key` already known for its topic fails with error 1062, and the transaction lives on. Never insert a
/// `seq`.
///
/// Transactions of every isolation level may enqueue.
#[derive(Debug, Clone)]
pub struct MySqlOutbox {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pool: MySqlPool,
    prefix: String,
    retention: Retention,
    sql: Statements,
    /// Settles; the claims read beside it.
    writer: OwnConnection,
    reader: OwnConnection,
    /// Renews, whatever the others are busy with.
    keeper: OwnConnection,
    /// Retention, migrations and the acts of people.
    helper: OwnConnection,
    cursors: Mutex<HashMap<Epoch, Cursor>>,
    unanswered: Unanswered,
    /// Of our own connections.
    idle: Arc<IdleLimit>,
    wake_up: WakeUp,
}

impl MySqlOutbox {
    /// The outbox in the database of `pool`, with the defaults of [`MySqlOutboxBuilder`]. Opens nothing yet.
    #[must_use]
    pub fn new(pool: MySqlPool) -> Self {
        Self::with(pool, DEFAULT_PREFIX.to_owned(), Retention::default())
    }

    /// An outbox with settings of the caller's own.
    pub fn builder(pool: MySqlPool) -> MySqlOutboxBuilder {
        MySqlOutboxBuilder::new(pool)
    }

    fn with(pool: MySqlPool, prefix: String, retention: Retention) -> Self {
        const SECONDS: fn(u64) -> Duration = Duration::from_secs;
        let options = pool.connect_options();
        let idle = Arc::<IdleLimit>::default();
        let inner = Inner {
            sql: Statements::new(&prefix),
            writer: OwnConnection::new(&options, SECONDS(10), &idle).that_writes_deliveries(),
            reader: OwnConnection::new(&options, SECONDS(10), &idle),
            keeper: OwnConnection::new(&options, SECONDS(10), &idle),
            helper: OwnConnection::new(&options, SECONDS(60), &idle),
            idle,
            pool,
            prefix,
            retention,
            cursors: Mutex::default(),
            unanswered: Unanswered::default(),
            wake_up: WakeUp::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Creates the tables of the outbox, or brings them up to date. Safe to call at every start, also by several
    /// processes at once. The migrations of the application are left alone: their version table is another one.
    /// Gives up after five minutes.
    ///
    /// # Errors
    /// [`StoreError`]; what was done until then is kept, since every such statement commits, and done again next time.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let migrate = migrate::migrate(&self.inner.helper, &self.inner.sql, &self.inner.prefix);
        within(deadline::ADMIN, "migrate the outbox tables", migrate).await
    }

    /// The SQL that [`migrate`](Self::migrate) runs, to copy into migrations of the application's own instead.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`](outbox_core::StoreErrorKind) when `prefix` is refused.
    pub fn migrations(prefix: &str) -> Result<Vec<Migration>, StoreError> {
        check_prefix(prefix)?;
        Ok(migrate::migrations(prefix))
    }

    /// Begins a transaction on the application's pool; any other transaction of the same database does as well. Gives
    /// up ten seconds after the pool's `acquire_timeout`. The statements in the transaction, those of enqueue too, have
    /// no deadline but the caller's own, such as `tokio::time::timeout`.
    ///
    /// # Errors
    /// [`StoreError`] when no connection is free or the server cannot be reached.
    pub async fn begin(&self) -> Result<Transaction<'static, MySql>, StoreError> {
        let what = "begin a transaction";
        let begin = async { self.inner.pool.begin().await.map_err(|error| store_error(what, error)) };
        let acquire = self.inner.pool.options().get_acquire_timeout();
        within(acquire.saturating_add(deadline::BEGIN), what, begin).await
    }

    /// Commits `tx` and wakes the dispatcher of this process at once.
    ///
    /// # Errors
    /// [`StoreError`]; when the connection broke, or no answer came within a minute, it is unknown whether the
    /// transaction was committed, and the error says so.
    pub async fn commit(&self, tx: Transaction<'_, MySql>) -> Result<(), StoreError> {
        deadline::commit(tx.commit(), is_lost, |error| store_error("commit", error)).await?;
        self.wake();
        Ok(())
    }

    /// Wakes the dispatcher of this process, for callers that commit by other means than [`commit`](Self::commit).
    pub fn wake(&self) {
        self.inner.wake_up.committed();
    }
}

impl Inner {
    fn cursors(&self) -> MutexGuard<'_, HashMap<Epoch, Cursor>> {
        self.cursors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session itself has raised the count of a person's acts, which was `known`.
    fn raised(&self, epoch: Epoch, known: Option<i64>) {
        if let Some(cursor) = self.cursors().get_mut(&epoch).filter(|cursor| cursor.changes == known) {
            cursor.changes = known.map(|changes| changes + 1);
        }
    }

    /// Session `epoch` is over.
    fn forget(&self, epoch: Epoch) {
        self.cursors().remove(&epoch);
        self.unanswered.answered(epoch);
    }

    /// Whether what session `epoch` claimed is surely still there. Behind a new connection, the one numbered `writer`,
    /// may be a server that lost commits, in a crash or since it took over from another one; but then the connection
    /// that read them is broken too. If not, the batch is not begun, as if a person had acted.
    async fn vouches(&self, epoch: Epoch, writer: u64) -> bool {
        let Some((known, since)) = self.cursors().get(&epoch).map(|cursor| (cursor.writer, cursor.since))
        else {
            return true;
        };
        if known == writer {
            return true;
        }
        let lives = self.reader.lives(since).await;
        if let Some(cursor) = self.cursors().get_mut(&epoch).filter(|cursor| lives && cursor.since == since) {
            cursor.writer = writer;
        }
        lives
    }
}

/// Dropping one of these futures half-way closes the connection it used, and the server rolls back what was not
/// committed.
#[async_trait]
impl OutboxStore for MySqlOutbox {
    async fn renew(
        &self,
        me: &DispatcherId,
        epoch: Option<Epoch>,
        lease_for: Duration,
    ) -> Result<Ownership, StoreError> {
        let Inner { sql, keeper, idle, .. } = &*self.inner;
        idle.suit(lease_for);
        let mut tries = Tries::default();
        let ownership = loop {
            let mut keeper = keeper.take(sql).await?;
            match session::renew(&mut keeper.connection, sql, me, epoch, lease_for).await {
                Ok(ownership) => {
                    keeper.keep();
                    break ownership;
                }
                Err(error) => tries.again(keeper, "renew the lease", error).await?,
            }
        };
        if let Some(old) = epoch.filter(|old| *old != ownership.epoch) {
            self.inner.forget(old);
        }
        Ok(ownership)
    }

    async fn claim(&self, request: &ClaimRequest<'_>) -> Result<Claim, StoreError> {
        if request.slots.is_empty() {
            return Ok(Claim::default());
        }
        let Inner { sql, reader, .. } = &*self.inner;
        let mut reader = reader.take(sql).await?;
        let number = reader.number();
        let cursor = self.inner.cursors().get(&request.epoch).cloned();
        let (claim, cursor) = claim::claim(&mut reader.connection, sql, number, cursor, request)
            .await
            .map_err(|error| store_error("read messages", error))?;
        reader.keep();
        // Only now: what a dropped or failed claim read is read again.
        self.inner.cursors().insert(request.epoch, cursor);
        Ok(claim)
    }

    async fn settle(&self, epoch: Epoch, settlement: &Settlement<'_>) -> Result<Fence, StoreError> {
        let Inner { sql, writer, retention, unanswered, .. } = &*self.inner;
        let begins = settlement.begin.is_some();
        let (mut tries, mut late) = (Tries::default(), None);
        loop {
            let mut writer = writer.take(sql).await?;
            let known = self.inner.cursors().get(&epoch).and_then(|cursor| cursor.changes);
            // What is tried again in here was answered.
            let late = *late.get_or_insert_with(|| begins && unanswered.sent(epoch));
            let vouched = !begins || self.inner.vouches(epoch, writer.number()).await;
            let changes = if vouched { known } else { Some(By::NEVER) };
            let by = By { epoch, changes, late, history: retention.keeps_history };
            match settle::settle(&mut writer.connection, sql, by, settlement).await {
                Ok(fence) => {
                    writer.keep();
                    if begins {
                        unanswered.answered(epoch);
                    }
                    if late && fence == Fence::Held {
                        self.inner.raised(epoch, known);
                    }
                    return Ok(fence);
                }
                Err(error) => tries.again(writer, "settle", error).await?,
            }
        }
    }

    async fn release(&self, epoch: Epoch, slots: &[Slot]) -> Result<(), StoreError> {
        if let Some(cursor) = self.inner.cursors().get_mut(&epoch) {
            cursor.forget(slots);
        }
        let Inner { sql, writer, .. } = &*self.inner;
        let mut tries = Tries::default();
        let ended = loop {
            let mut writer = writer.take(sql).await?;
            match session::release(&mut writer.connection, sql, epoch, slots).await {
                Ok(ended) => {
                    writer.keep();
                    break ended;
                }
                Err(error) => tries.again(writer, "give the lease back", error).await?,
            }
        };
        if ended {
            self.inner.forget(epoch);
        }
        Ok(())
    }

    async fn tidy(&self, limit: u32) -> Result<u64, StoreError> {
        let Inner { sql, helper, retention, .. } = &*self.inner;
        let mut helper = helper.take(sql).await?;
        let removed = tidy::tidy(&mut helper.connection, sql, retention, limit)
            .await
            .map_err(|error| store_error("remove what retention no longer keeps", error))?;
        helper.keep();
        Ok(removed)
    }

    fn wake_up(&self) -> WakeUp {
        self.inner.wake_up.clone()
    }
}

/// How lists that are not of numbers alone get to the server.
fn to_json<T: Serialize>(list: &[T]) -> Result<String, sqlx::Error> {
    serde_json::to_string(list).map_err(|error| sqlx::Error::Encode(error.into()))
}
