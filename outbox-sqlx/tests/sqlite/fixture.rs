//! An outbox in a file of its own, and the steps of a dispatcher.

use std::path::{Path, PathBuf};
use std::time::Duration;

use outbox_core::{
    Batch, BatchNo, Claim, ClaimRequest, Claimed, DispatcherId, Enqueue, Enqueued, Epoch, FailureNote, Fence,
    HeldPlaces, NewMessage, OutboxStore, Place, Settlement, Slot, Tally, Verdict,
};
use outbox_sqlx::{SqliteOutbox, SqliteOutboxBuilder};
use sqlx::AssertSqlSafe;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use tempfile::TempDir;

pub(crate) const LEASE: Duration = Duration::from_secs(60);

/// An outbox and its file, which goes with it.
pub(crate) struct File {
    pub(crate) outbox: SqliteOutbox,
    pub(crate) pool: SqlitePool,
    folder: TempDir,
}

impl File {
    pub(crate) async fn new() -> Self {
        Self::with(|builder| builder).await
    }

    pub(crate) async fn with(settings: impl FnOnce(SqliteOutboxBuilder) -> SqliteOutboxBuilder) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pool = pool(&folder.path().join("outbox.db")).await;
        let outbox = settings(SqliteOutbox::builder(pool.clone())).build().unwrap();
        outbox.migrate().await.unwrap();
        Self { outbox, pool, folder }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("outbox.db")
    }

    /// Enqueues and commits.
    pub(crate) async fn send(&self, messages: &[NewMessage]) -> Vec<Enqueued> {
        let mut tx = self.outbox.begin().await.unwrap();
        let answers = self.outbox.enqueue(&mut tx, messages).await.unwrap();
        self.outbox.commit(tx).await.unwrap();
        answers
    }

    /// The outbox as another process sees it: with connections of its own.
    pub(crate) async fn elsewhere(&self) -> SqliteOutbox {
        SqliteOutbox::new(pool(&self.path()).await)
    }

    /// A session that owns the outbox.
    pub(crate) async fn session(&self) -> Session {
        let session = Session::start(&self.outbox, LEASE).await;
        assert!(session.owner, "nobody else should own the outbox");
        session
    }

    pub(crate) async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }

    pub(crate) async fn execute(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&self.pool).await.unwrap();
    }
}

pub(crate) async fn pool(path: &Path) -> SqlitePool {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    // Who waits may be passed by others again and again: on a slow disk, by processes that write all the time.
    let options = options.busy_timeout(Duration::from_secs(60));
    SqlitePoolOptions::new().max_connections(4).connect_with(options).await.unwrap()
}

pub(crate) fn message(topic: &str, key: &str) -> NewMessage {
    NewMessage::builder(topic).key(key).json("hello").build().unwrap()
}

/// The dispatcher's side, one step at a time.
pub(crate) struct Session {
    pub(crate) outbox: SqliteOutbox,
    pub(crate) me: DispatcherId,
    pub(crate) epoch: Epoch,
    pub(crate) owner: bool,
    pub(crate) held: HeldPlaces,
    next_batch: i64,
}

impl Session {
    pub(crate) async fn start(outbox: &SqliteOutbox, lease: Duration) -> Self {
        let me = DispatcherId::new("test");
        let ownership = outbox.renew(&me, None, lease).await.unwrap();
        let owner = ownership.slots == [Slot(0)];
        let (outbox, held) = (outbox.clone(), HeldPlaces::default());
        Self { outbox, me, epoch: ownership.epoch, owner, held, next_batch: 1 }
    }

    pub(crate) async fn claim_all(&mut self, limit: usize, restart: bool) -> Claim {
        let request = ClaimRequest {
            epoch: self.epoch,
            slots: &[Slot(0)],
            wants: &|_| true,
            held: &self.held,
            restart,
            limit,
            max_bytes: 64 << 20,
        };
        let claim = self.outbox.claim(&request).await.unwrap();
        self.held.extend(claim.messages.iter().map(|claimed| claimed.place));
        claim
    }

    pub(crate) async fn claim(&mut self) -> Vec<Claimed> {
        self.claim_all(100, false).await.messages
    }

    pub(crate) async fn settle(&mut self, verdicts: &[(Place, Verdict)]) -> Fence {
        let settlement = Settlement { verdicts, ..Settlement::default() };
        let fence = self.outbox.settle(self.epoch, &settlement).await.unwrap();
        for (place, _) in verdicts {
            self.held.remove(place);
        }
        fence
    }

    pub(crate) async fn begin(&mut self, places: &[Place], alone: bool) -> (Fence, BatchNo) {
        let number = BatchNo(self.next_batch);
        self.next_batch += 1;
        let batch = Batch { number, places: places.to_vec(), alone };
        let settlement = Settlement { begin: Some(&batch), ..Settlement::default() };
        (self.outbox.settle(self.epoch, &settlement).await.unwrap(), number)
    }
}

pub(crate) fn delivered() -> Verdict {
    Verdict::Delivered { receipt: None }
}

pub(crate) fn retry(delay: Duration) -> Verdict {
    let tally = Tally { attempts: 1, ..Tally::default() };
    Verdict::Retry { delay, tally, failure: failure(1) }
}

pub(crate) fn failure(attempt: u32) -> FailureNote {
    FailureNote { attempt, class: "transient".into(), code: None, text: "not now".into() }
}
