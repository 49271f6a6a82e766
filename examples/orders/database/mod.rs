//! [`Database`]: where orders lie, the outbox beside them, and what the consumer did. The files of this folder say the
//! same in the dialect of one database each; `sqlite.rs` is the one that runs unless `DATABASE_URL` names another.

mod mysql;
mod postgres;
mod sqlite;

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use outbox::{MessageBuilder, MessageId, OutboxStore, async_trait};
use uuid::Uuid;

use crate::orders::{Order, OrderError, Status};
use crate::work::{Refused, Work};

/// The name under which the inbox remembers what this consumer has handled.
pub const CONSUMER: &str = "orders-example";

#[async_trait]
pub trait Database: Debug + Send + Sync + 'static {
    /// What it is called, and where it lies: for people, so without a password.
    fn name(&self) -> (&'static str, String);

    /// The outbox, for the dispatcher.
    fn store(&self) -> Arc<dyn OutboxStore>;

    /// Begins a transaction that writes.
    async fn begin(&self) -> Result<Box<dyn Transaction>, OrderError>;

    /// What was done for an order, in the order in which it was done.
    async fn work(&self, order: Uuid) -> Result<Vec<Work>, OrderError>;

    /// How many published messages the consumer has not handled yet.
    async fn under_way(&self) -> Result<i64, OrderError>;

    /// How many records were refused so far.
    async fn refused(&self) -> Result<i64, OrderError>;
}

/// A transaction over all of it. Dropped, it is rolled back.
#[async_trait]
pub trait Transaction: Send {
    async fn insert(&mut self, order: &Order) -> Result<(), OrderError>;

    /// An order, which nobody else changes until this transaction ends.
    async fn find(&mut self, order: Uuid) -> Result<Option<Order>, OrderError>;

    async fn set_status(&mut self, order: Uuid, status: Status) -> Result<(), OrderError>;

    /// Writes the messages to the outbox, in their order (this is the call of the library), and notes which they are.
    async fn publish(&mut self, order: Uuid, messages: Vec<MessageBuilder>) -> Result<(), OrderError>;

    /// Whether the consumer sees the message for the first time; then the inbox remembers it.
    async fn first_time(&mut self, message: MessageId) -> Result<bool, OrderError>;

    async fn note(&mut self, work: &Work) -> Result<(), OrderError>;

    /// Keeps a record that was refused; the same one again changes nothing.
    async fn refuse(&mut self, refused: &Refused) -> Result<(), OrderError>;

    /// Commits, and wakes the dispatcher.
    async fn commit(self: Box<Self>) -> Result<(), OrderError>;
}

/// Opens the database of `url`, or a file in `data_dir`, and creates the tables that are missing.
pub async fn open(url: Option<&str>, data_dir: &Path) -> Result<Arc<dyn Database>> {
    // No more of the URL may be told than its scheme: it may hold a password.
    Ok(match url.map(|url| (url, url.split(':').next().unwrap_or_default())) {
        None => Arc::new(sqlite::open(None, data_dir).await?),
        Some((url, "sqlite")) => Arc::new(sqlite::open(Some(url), data_dir).await?),
        Some((url, "mysql" | "mariadb")) => Arc::new(mysql::open(url).await?),
        Some((url, "postgres" | "postgresql")) => Arc::new(postgres::open(url).await?),
        Some((_, scheme)) => bail!(
            "DATABASE_URL starts with \"{scheme}:\"; this example runs on sqlite:path/to/file.db, \
             postgres://user:password@host/database and mysql://user:password@host/database"
        ),
    })
}
