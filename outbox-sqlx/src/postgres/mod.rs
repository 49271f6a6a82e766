//! [`PostgresOutbox`]: an outbox in a PostgreSQL database.

mod acts;
mod admin;
mod claim;
mod config;
mod connection;
mod decode;
mod enqueue;
mod error;
mod inbox;
mod listen;
mod look;
mod micros;
mod migrate;
mod notify;
mod reading;
mod session;
mod set_aside;
mod settle;
mod snapshot;
mod statements;
mod tid;
mod tidy;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use outbox_core::{
    Claim, ClaimRequest, DispatcherId, Epoch, Fence, OutboxStore, Ownership, Settlement, Slot, StoreError,
    WakeUp,
};
use sqlx::postgres::PgPool;
use sqlx::{Postgres, Transaction};

pub use config::PostgresOutboxBuilder;

use crate::Migration;
use crate::by::By;
use crate::deadline::{self, within};
use crate::idle::IdleLimit;
use crate::retention::Retention;
use crate::statement::check_prefix;
use crate::unanswered::Unanswered;

use claim::Cursor;
use connection::{OwnConnection, OwnOptions};
use enqueue::without_nul;
use error::{is_lost, store_error};
use listen::Ear;
use notify::Notifier;
use statements::Statements;

/// An outbox in a PostgreSQL database, version 13 or later: enqueues in the caller's transaction, and is the store of
/// any number of dispatchers, which share the keys among them.
///
/// Cheap to clone; all clones share their connections and their bell.
///
/// The pool is the application's own. For itself the outbox opens up to six more connections with the pool's
/// options, each when it is first needed: one to notify other processes of commits, and for a dispatcher one to read
/// messages, one to settle, one to keep the lease, one to listen for notifications, and one for retention and the
/// acts of people. So a dispatcher never waits for the pool. On those that write `synchronous_commit` is at
/// least `on`: nothing is delivered before it is as durable as the server makes it, also if producers run with `off`.
///
/// Any client may insert into `<prefix>messages` directly; `topic` and `payload` are enough, and
/// `SELECT <prefix>send('topic', 'key', '{"any": "json"}')` spares it the literal of the bytes. An insert that carries
/// an `idempotency_key` already known for its topic is left out silently. Never insert a `seq` or a `xid`.
///
/// Transactions at `REPEATABLE READ` or `SERIALIZABLE` may enqueue too; two that carry the same idempotency key at the
/// same time then end with a serialization failure, as they would on any table.
#[derive(Debug, Clone)]
pub struct PostgresOutbox {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pool: PgPool,
    prefix: String,
    retention: Retention,
    /// For our own connections.
    sql: Statements,
    /// For those of the application.
    sql_of_pool: Statements,
    /// Settles; the claims read beside it.
    writer: OwnConnection,
    reader: OwnConnection,
    /// Renews, whatever the others are busy with.
    keeper: OwnConnection,
    /// Retention, migrations and the acts of people.
    helper: OwnConnection,
    cursors: Mutex<HashMap<Epoch, Cursor>>,
    unanswered: Unanswered,
    owns_all: Mutex<OwnsAll>,
    /// Of our own connections.
    idle: Arc<IdleLimit>,
    wake_up: WakeUp,
    /// Tells other processes of commits; none where that is switched off.
    notifier: Option<Arc<Notifier>>,
    /// Hears of theirs.
    ear: Ear,
}

/// Until when a dispatcher of this process owns every slot: until then nobody else need hear of commits.
#[derive(Debug, Default)]
struct OwnsAll {
    until: Option<Instant>,
    releases: u64,
}

impl OwnsAll {
    /// What a renewal answered that began after so many `releases`.
    fn renewed(&mut self, until: Option<Instant>, releases: u64) {
        self.until = until.filter(|_| releases == self.releases);
    }

    fn released(&mut self) {
        self.until = None;
        self.releases += 1;
    }
}

impl PostgresOutbox {
    /// The outbox in the database of `pool`, with the defaults of [`PostgresOutboxBuilder`]. Opens nothing yet.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self::with(PostgresOutboxBuilder::new(pool))
    }

    /// An outbox with settings of the caller's own.
    pub fn builder(pool: PgPool) -> PostgresOutboxBuilder {
        PostgresOutboxBuilder::new(pool)
    }

    /// The outbox of checked settings.
    fn with(settings: PostgresOutboxBuilder) -> Self {
        let PostgresOutboxBuilder { pool, own, prefix, retention, notifications, behind_pooler } = settings;
        let own_behind_pooler = behind_pooler && own.is_none();
        let options = own.unwrap_or_else(|| (*pool.connect_options()).clone());
        let idle = Arc::<IdleLimit>::default();
        let options = OwnOptions::new(&options, own_behind_pooler, Arc::clone(&idle));
        let channel = channel(&prefix);
        let ear = Ear::new(options.listening());
        let inner = Inner {
            sql: Statements::new(&prefix, !own_behind_pooler),
            sql_of_pool: Statements::new(&prefix, !behind_pooler),
            writer: OwnConnection::new(&options, "10s"),
            reader: OwnConnection::new(&options, "10s"),
            keeper: OwnConnection::new(&options, "10s"),
            helper: OwnConnection::new(&options, "60s"),
            pool,
            prefix,
            retention,
            cursors: Mutex::default(),
            unanswered: Unanswered::default(),
            owns_all: Mutex::default(),
            idle,
            wake_up: WakeUp::new(),
            notifier: notifications.then(|| Arc::new(Notifier::new(options.plain(), channel))),
            ear,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Creates the tables of the outbox, or brings them up to date. Safe to call at every start, also by several
    /// processes at once. The migrations of the application are left alone: their version table is another one.
    /// Gives up after five minutes.
    ///
    /// # Errors
    /// [`StoreError`]; the tables are as they were before.
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

    /// The SQL of enqueue, for producers on another client than sqlx 0.9: one statement for any number of messages,
    /// to run in a transaction of the producer's own. A public contract, as the plain `INSERT` is.
    ///
    /// It takes nine arrays of one length, an element per message, in this order. Where an element may be null, so may
    /// the message's value.
    ///
    /// | | Type | What it holds |
    /// | --- | --- | --- |
    /// | `$1` | `uuid[]` | ids, each new; version 7 is best |
    /// | `$2` | `text[]` | topics, not empty |
    /// | `$3` | `text[]` | message types; may be empty |
    /// | `$4` | `text[]` | ordering keys, or null |
    /// | `$5` | `text[]` | content types |
    /// | `$6` | `text[]` | headers as JSON objects of strings, or null |
    /// | `$7` | `text[]` | idempotency keys, or null |
    /// | `$8` | `timestamptz[]` | when each may go out at the earliest, or null |
    /// | `$9` | `bytea[]` | payloads |
    ///
    /// It answers the ids that were stored, in no particular order: a message whose idempotency key is known for its
    /// topic is left out. Places are given in the order of the arrays. After the commit, `NOTIFY` on the
    /// [`channel`](Self::channel) wakes the dispatchers.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`](outbox_core::StoreErrorKind) when `prefix` is refused.
    pub fn enqueue_sql(prefix: &str) -> Result<String, StoreError> {
        check_prefix(prefix)?;
        Ok(Statements::new(prefix, true).insert_messages_once.text().to_owned())
    }

    /// Begins a transaction on the application's pool; any other transaction of the same database does as well. Gives
    /// up ten seconds after the pool's `acquire_timeout`. The statements in the transaction, those of enqueue too, have
    /// no deadline but the caller's own, such as `tokio::time::timeout`.
    ///
    /// # Errors
    /// [`StoreError`] when no connection is free or the server cannot be reached.
    pub async fn begin(&self) -> Result<Transaction<'static, Postgres>, StoreError> {
        let what = "begin a transaction";
        let begin = async { self.inner.pool.begin().await.map_err(|error| store_error(what, error)) };
        let acquire = self.inner.pool.options().get_acquire_timeout();
        within(acquire.saturating_add(deadline::BEGIN), what, begin).await
    }

    /// Commits `tx` and wakes the dispatchers: that of this process at once, those of others by a notification that
    /// the caller does not wait for, and that is spared while the dispatcher of this outbox owns every slot.
    ///
    /// # Errors
    /// [`StoreError`]; when the connection broke, or no answer came within a minute, it is unknown whether the
    /// transaction was committed, and the error says so.
    pub async fn commit(&self, tx: Transaction<'_, Postgres>) -> Result<(), StoreError> {
        deadline::commit(tx.commit(), is_lost, |error| store_error("commit", error)).await?;
        self.wake();
        Ok(())
    }

    /// Wakes the dispatchers of this process and of others, for callers that commit by other means than
    /// [`commit`](Self::commit). Returns at once. Outside of a Tokio runtime it reaches this process only.
    pub fn wake(&self) {
        self.inner.wake();
    }

    /// The channel on which `NOTIFY`, sent after a commit, wakes the dispatchers of the outbox with `prefix`:
    /// `outbox_messages` for the default one. For producers that write by plain SQL. Any payload will do.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`](outbox_core::StoreErrorKind) when `prefix` is refused.
    pub fn channel(prefix: &str) -> Result<String, StoreError> {
        check_prefix(prefix)?;
        Ok(channel(prefix))
    }
}

/// Named like the table, so that `NOTIFY` without quotes finds it.
fn channel(prefix: &str) -> String {
    format!("{}messages", prefix.to_ascii_lowercase())
}

impl Inner {
    fn wake(&self) {
        self.wake_up.committed();
        if let Some(notifier) = &self.notifier
            && self.owns_all().until.is_none_or(|until| Instant::now() >= until)
        {
            notifier.committed();
        }
    }

    fn owns_all(&self) -> MutexGuard<'_, OwnsAll> {
        self.owns_all.lock().unwrap_or_else(PoisonError::into_inner)
    }

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
    /// may be a server that lost in a crash what was committed without being durable; but then the connection that
    /// read it is broken too. If not, the batch is not begun, as if a person had acted.
    async fn vouches(&self, epoch: Epoch, writer: u64) -> bool {
        let Some((known, since)) = self.cursors().get(&epoch).map(|cursor| (cursor.writer, cursor.since))
        else {
            return true;
        };
        if known == writer {
            return true;
        }
        let lives = self.reader.lives(since, writer).await;
        if let Some(cursor) = self.cursors().get_mut(&epoch).filter(|cursor| lives && cursor.since == since) {
            cursor.writer = writer;
        }
        lives
    }
}

/// Dropping one of these futures half-way closes the connection it used, and the server rolls back what was not
/// committed.
#[async_trait]
impl OutboxStore for PostgresOutbox {
    async fn renew(
        &self,
        me: &DispatcherId,
        epoch: Option<Epoch>,
        lease_for: Duration,
    ) -> Result<Ownership, StoreError> {
        let Inner { sql, keeper, idle, .. } = &*self.inner;
        idle.suit(lease_for);
        let mut keeper = keeper.take(sql).await?;
        let failed = |error| store_error("renew the lease", error);
        let (asked, releases) = (Instant::now(), self.inner.owns_all().releases);
        let ownership = session::renew(&mut keeper, sql, me, epoch, lease_for).await.map_err(failed)?;
        keeper.keep();
        let owns_all = ownership.slots.len() == session::SLOTS && ownership.hand_over.is_empty();
        self.inner.owns_all().renewed(asked.checked_add(lease_for).filter(|_| owns_all), releases);
        if let Some(notifier) = &self.inner.notifier {
            self.inner.ear.open(&self.inner.wake_up, notifier);
        }
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
        let failed = |error| store_error("read messages", error);
        let number = reader.number(sql).await.map_err(failed)?;
        let cursor = self.inner.cursors().get(&request.epoch).cloned();
        let mut work = reader.statements().await.map_err(failed)?;
        let (claim, cursor) = claim::claim(&mut work, sql, number, cursor, request).await.map_err(failed)?;
        work.done().await.map_err(failed)?;
        reader.keep();
        // Only now: what a dropped or failed claim read is read again.
        self.inner.cursors().insert(request.epoch, cursor);
        Ok(claim)
    }

    async fn settle(&self, epoch: Epoch, settlement: &Settlement<'_>) -> Result<Fence, StoreError> {
        let Inner { sql, writer, retention, unanswered, .. } = &*self.inner;
        let mut writer = writer.take(sql).await?;
        let known = self.inner.cursors().get(&epoch).and_then(|cursor| cursor.changes);
        let failed = |error| store_error("settle", error);
        let begins = settlement.begin.is_some();
        let (mut changes, mut late) = (known, false);
        if begins {
            let number = writer.number(sql).await.map_err(failed)?;
            late = unanswered.sent(epoch);
            if !self.inner.vouches(epoch, number).await {
                changes = Some(By::NEVER);
            }
        }
        let by = By { epoch, changes, late, history: retention.keeps_history };
        let fence = settle::settle(&mut writer, sql, by, settlement).await.map_err(failed)?;
        writer.keep();
        if begins {
            unanswered.answered(epoch);
        }
        if late && fence == Fence::Held {
            self.inner.raised(epoch, known);
        }
        Ok(fence)
    }

    async fn release(&self, epoch: Epoch, slots: &[Slot]) -> Result<(), StoreError> {
        self.inner.owns_all().released();
        if let Some(cursor) = self.inner.cursors().get_mut(&epoch) {
            cursor.forget(slots);
        }
        let Inner { sql, writer, .. } = &*self.inner;
        let mut writer = writer.take(sql).await?;
        let failed = |error| store_error("give the lease back", error);
        let ended = session::release(&mut writer, sql, epoch, slots).await.map_err(failed)?;
        writer.keep();
        if ended {
            self.inner.forget(epoch);
        }
        Ok(())
    }

    async fn tidy(&self, limit: u32) -> Result<u64, StoreError> {
        let Inner { sql, helper, retention, .. } = &*self.inner;
        let mut helper = helper.take(sql).await?;
        let failed = |error| store_error("remove what retention no longer keeps", error);
        let mut work = helper.statements().await.map_err(failed)?;
        let removed = tidy::tidy(&mut work, sql, retention, limit).await.map_err(failed)?;
        work.done().await.map_err(failed)?;
        helper.keep();
        Ok(removed)
    }

    fn wake_up(&self) -> WakeUp {
        self.inner.wake_up.clone()
    }
}
