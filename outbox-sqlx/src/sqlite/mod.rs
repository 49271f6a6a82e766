//! [`SqliteOutbox`]: an outbox in an SQLite file.

mod acts;
mod admin;
mod claim;
mod config;
mod connection;
mod decode;
mod enqueue;
mod error;
mod inbox;
mod migrate;
#[cfg(test)]
mod plans;
mod session;
mod set_aside;
mod settle;
mod statements;
mod tidy;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use outbox_core::{
    Claim, ClaimRequest, DispatcherId, Epoch, Fence, OutboxStore, Ownership, Settlement, Slot, StoreError,
    WakeUp,
};
use serde::Serialize;
use sqlx::sqlite::SqlitePool;
use sqlx::{Sqlite, Transaction};

pub use config::SqliteOutboxBuilder;

use crate::Migration;
use crate::retention::Retention;
use crate::statement::DEFAULT_PREFIX;

use claim::Cursor;
use connection::OwnConnection;
use error::store_error;
use statements::Statements;

/// An outbox in an SQLite file: enqueues in the caller's transaction, and is the store of a dispatcher.
///
/// Cheap to clone; all clones share their connections and their bell.
///
/// The pool is the application's own. For itself the outbox opens up to two more connections to the same file: in
/// WAL mode with `synchronous = FULL` and a busy timeout of 5 s, so a dispatcher never waits for the pool, and
/// nothing is delivered before it is as durable as SQLite makes it. WAL is a property of the file: set no
/// journal mode on the pool, [`migrate`](Self::migrate) switches the file for all. In-memory databases are refused,
/// since no second connection sees them.
///
/// SQLite has one writer at a time. Begin transactions that write with [`begin`](Self::begin) (`BEGIN IMMEDIATE`):
/// one that begins with a read and writes later can fail with "database is locked" when another wrote in between.
///
/// Times come from SQLite's clock, the wall clock of the machine, in milliseconds. A clock that is set back lets the
/// lease of a dead dispatcher last that much longer; one that is set forward ends leases early, which is safe.
///
/// Any client may insert into `<prefix>messages` directly; `topic` and `payload` (text or bytes) are enough. An
/// insert that carries an `idempotency_key` already known for its topic is left out silently. Never insert a `seq`.
/// The view `<prefix>overview` shows every message with its state.
#[derive(Debug, Clone)]
pub struct SqliteOutbox {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pool: SqlitePool,
    prefix: String,
    retention: Retention,
    sql: Statements,
    /// Settles and renews; the claims read beside it.
    writer: OwnConnection,
    reader: OwnConnection,
    cursors: Mutex<HashMap<Epoch, Cursor>>,
    wake_up: WakeUp,
}

impl SqliteOutbox {
    /// The outbox in the database of `pool`, with the defaults of [`SqliteOutboxBuilder`]. Opens nothing yet.
    #[must_use]
    pub fn new(pool: SqlitePool) -> Self {
        Self::with(pool, DEFAULT_PREFIX.to_owned(), Retention::default())
    }

    /// An outbox with settings of the caller's own.
    pub fn builder(pool: SqlitePool) -> SqliteOutboxBuilder {
        SqliteOutboxBuilder::new(pool)
    }

    fn with(pool: SqlitePool, prefix: String, retention: Retention) -> Self {
        let options = pool.connect_options();
        let inner = Inner {
            sql: Statements::new(&prefix),
            writer: OwnConnection::new(&options),
            reader: OwnConnection::new(&options),
            pool,
            prefix,
            retention,
            cursors: Mutex::default(),
            wake_up: WakeUp::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Creates the tables of the outbox, or brings them up to date. Safe to call at every start, also by several
    /// processes at once. The migrations of the application are left alone: their version table is another one.
    ///
    /// # Errors
    /// [`StoreError`]; the tables are as they were before.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        migrate::migrate(&self.inner.writer, &self.inner.sql, &self.inner.prefix).await
    }

    /// The SQL that [`migrate`](Self::migrate) runs, to copy into migrations of the application's own instead.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`](outbox_core::StoreErrorKind) when `prefix` is refused.
    pub fn migrations(prefix: &str) -> Result<Vec<Migration>, StoreError> {
        statements::check_prefix(prefix)?;
        Ok(migrate::migrations(prefix))
    }

    /// Begins a transaction that may write, on the application's pool.
    ///
    /// # Errors
    /// [`StoreError`] when no connection is free or another one writes for longer than the pool's busy timeout.
    pub async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        let begun = self.inner.pool.begin_with("BEGIN IMMEDIATE").await;
        begun.map_err(|error| store_error("begin a transaction", error))
    }

    /// Commits `tx` and wakes the dispatcher of this process at once.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was committed then, unless the error is that of a broken disk.
    pub async fn commit(&self, tx: Transaction<'_, Sqlite>) -> Result<(), StoreError> {
        tx.commit().await.map_err(|error| store_error("commit", error))?;
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
}

/// Dropping one of these futures half-way closes the connection it used, which rolls back what was not committed.
#[async_trait]
impl OutboxStore for SqliteOutbox {
    async fn renew(
        &self,
        me: &DispatcherId,
        epoch: Option<Epoch>,
        lease_for: Duration,
    ) -> Result<Ownership, StoreError> {
        let Inner { sql, writer, .. } = &*self.inner;
        let mut writer = writer.take(sql).await?;
        let ownership = session::renew(&mut writer.connection, sql, me, epoch, lease_for)
            .await
            .map_err(|error| store_error("renew the lease", error))?;
        writer.keep();
        if let Some(old) = epoch.filter(|old| *old != ownership.epoch) {
            self.inner.cursors().remove(&old);
        }
        Ok(ownership)
    }

    async fn claim(&self, request: &ClaimRequest<'_>) -> Result<Claim, StoreError> {
        if request.slots.is_empty() {
            return Ok(Claim::default());
        }
        let Inner { sql, reader, .. } = &*self.inner;
        let mut reader = reader.take(sql).await?;
        let cursor = self.inner.cursors().get(&request.epoch).copied().unwrap_or(Cursor::START);
        let (claim, cursor) = claim::claim(&mut reader.connection, sql, cursor, request)
            .await
            .map_err(|error| store_error("read messages", error))?;
        reader.keep();
        // Only now: what a dropped or failed claim read is read again.
        self.inner.cursors().insert(request.epoch, cursor);
        Ok(claim)
    }

    async fn settle(&self, epoch: Epoch, settlement: &Settlement<'_>) -> Result<Fence, StoreError> {
        let Inner { sql, writer, retention, .. } = &*self.inner;
        let mut writer = writer.take(sql).await?;
        let changes = self.inner.cursors().get(&epoch).and_then(|cursor| cursor.changes);
        let fence =
            settle::settle(&mut writer.connection, sql, retention.keeps_history, epoch, changes, settlement)
                .await
                .map_err(|error| store_error("settle", error))?;
        writer.keep();
        Ok(fence)
    }

    async fn release(&self, epoch: Epoch, slots: &[Slot]) -> Result<(), StoreError> {
        let Inner { sql, writer, .. } = &*self.inner;
        let mut writer = writer.take(sql).await?;
        session::release(&mut writer.connection, sql, epoch, slots)
            .await
            .map_err(|error| store_error("give the lease back", error))?;
        writer.keep();
        self.inner.cursors().remove(&epoch);
        Ok(())
    }

    async fn tidy(&self, limit: u32) -> Result<u64, StoreError> {
        let Inner { sql, writer, retention, .. } = &*self.inner;
        let mut writer = writer.take(sql).await?;
        let removed = tidy::tidy(&mut writer.connection, sql, retention, limit)
            .await
            .map_err(|error| store_error("remove what retention no longer keeps", error))?;
        writer.keep();
        Ok(removed)
    }

    fn wake_up(&self) -> WakeUp {
        self.inner.wake_up.clone()
    }
}

/// `numbers` as a JSON array, for `json_each`.
fn json_list(numbers: impl Iterator<Item = i64>) -> String {
    let mut list = String::from("[");
    for number in numbers {
        // Writing to a string cannot fail.
        let _ = write!(list, "{}{number}", if list.len() == 1 { "" } else { "," });
    }
    list.push(']');
    list
}

/// `list` as JSON, for `json_each`.
fn to_json<T: Serialize>(list: &[T]) -> Result<String, sqlx::Error> {
    serde_json::to_string(list).map_err(|error| sqlx::Error::Encode(error.into()))
}
