//! Outboxes in tables of their own, on the database that was asked for.

mod memory;
mod mysql;
mod postgres;
mod sqlite;

use std::sync::Arc;

use outbox::{MessageState, NewMessage, OutboxAdmin, OutboxStore, async_trait};

use crate::arguments::refuse;
use crate::load::Load;
use crate::receiver::Receiver;

pub(crate) use memory::MemoryBed;
pub(crate) use mysql::MySqlBed;
pub(crate) use postgres::{PostgresBed, server};
pub(crate) use sqlite::SqliteBed;

/// A database to measure on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Database {
    Memory,
    Sqlite,
    Postgres,
    MySql,
}

/// One outbox, with everything that a scenario does to it.
#[async_trait]
pub(crate) trait Bed: Send + Sync {
    /// The outbox as this process has it: commits ring its bell.
    fn store(&self) -> Arc<dyn OutboxStore>;

    /// The outbox as another process has it, with connections and a reading state of its own.
    fn elsewhere(&self) -> Arc<dyn OutboxStore>;

    /// Loads messages, as fast as the database can, and leaves it in a settled state.
    async fn fill(&self, load: Load);

    /// How many messages are stored, fresh or set aside.
    async fn left(&self) -> usize;

    /// How many messages are stored and were never set aside.
    async fn fresh(&self) -> usize;

    /// Enqueues in a transaction of its own, and rings the bell.
    async fn enqueue(&self, messages: &[NewMessage]);

    /// A transaction that writes a business row, and `message` with it.
    async fn business(&self, message: Option<&NewMessage>);

    /// The processor time of the server so far, in seconds; 0 where there is none.
    async fn server_time(&self) -> f64 {
        0.0
    }

    /// How many queries the server has answered so far, where it tells.
    async fn asked(&self) -> Option<i64> {
        None
    }

    /// Drains with a hand-written loop over the library's statements, where there is one that can go on with a
    /// backlog; otherwise it does nothing.
    async fn drain_by_hand(&self, _receiver: &Receiver) {}

    /// Version and settings, for the record.
    async fn describe(&self) -> Vec<(String, String)>;
}

impl Database {
    pub(crate) fn named(name: &str) -> Self {
        match name {
            "memory" => Self::Memory,
            "sqlite" => Self::Sqlite,
            "postgres" => Self::Postgres,
            "mysql" => Self::MySql,
            _ => refuse(&format!(
                "there is no database {name:?}; there are memory, sqlite, postgres and mysql"
            )),
        }
    }

    /// A new, empty outbox; `history` says whether it keeps one.
    pub(crate) async fn open(self, history: bool) -> Box<dyn Bed> {
        match self {
            Self::Memory => Box::new(MemoryBed::new()),
            Self::Sqlite => Box::new(SqliteBed::new(history).await),
            Self::Postgres => Box::new(PostgresBed::new(history).await),
            Self::MySql => Box::new(MySqlBed::new(history).await),
        }
    }
}

/// How many messages have not ended.
async fn left(outbox: &impl OutboxAdmin) -> usize {
    let counts = outbox.counts().await.expect("counts");
    let open = |state: MessageState| !matches!(state, MessageState::Delivered | MessageState::Discarded);
    let topics = counts.iter().flat_map(|topic| &topic.states);
    let left: u64 = topics.filter(|(state, _)| open(*state)).map(|(_, count)| count).sum();
    usize::try_from(left).expect("a small number")
}
