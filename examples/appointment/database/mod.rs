//! [`Database`]: where appointments lie, and the outbox beside them. The files of this folder say the same in the
//! dialect of one database each; `sqlite.rs` is the one that runs unless `DATABASE_URL` names another.

mod mysql;
mod postgres;
mod sqlite;

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use chrono::Utc;
use outbox::{MessageId, NewMessage, OutboxAdmin, OutboxStore, async_trait};
use uuid::Uuid;

use crate::booking::{Appointment, BookingError, SentMessage};
use crate::idempotency::{REMEMBER, Remembered, Request};
use crate::invite::Change;

/// A database with the tables of this service and those of an outbox. Cheap to clone.
#[async_trait]
pub trait Database: Debug + Send + Sync + 'static {
    /// What it is called, and where it lies: for people, so without a password.
    fn name(&self) -> (&'static str, String);

    /// The outbox, for the dispatcher.
    fn store(&self) -> Arc<dyn OutboxStore>;

    /// The outbox, for questions about its messages.
    fn admin(&self) -> &dyn OutboxAdmin;

    /// Begins a transaction that writes.
    async fn begin(&self) -> Result<Box<dyn Transaction>, BookingError>;

    /// An appointment and its newest messages, at most `messages` of them, newest first.
    async fn show(
        &self,
        appointment: Uuid,
        messages: u32,
    ) -> Result<Option<(Appointment, Vec<SentMessage>)>, BookingError>;
}

/// A transaction over both: the tables of the service and the outbox. Dropped, it is rolled back.
#[async_trait]
pub trait Transaction: Send {
    async fn insert(&mut self, appointment: &Appointment) -> Result<(), BookingError>;

    /// An appointment, which nobody else changes until this transaction ends.
    async fn find(&mut self, appointment: Uuid) -> Result<Option<Appointment>, BookingError>;

    /// Writes what may change of an appointment.
    async fn update(&mut self, appointment: &Appointment) -> Result<(), BookingError>;

    /// Writes the message to the outbox: this is the call of the library.
    async fn enqueue(&mut self, message: &NewMessage) -> Result<(), BookingError>;

    /// Notes which message an appointment, as it stands now, gave rise to.
    async fn note(
        &mut self,
        appointment: &Appointment,
        change: Change,
        message: MessageId,
    ) -> Result<(), BookingError>;

    /// The message of the latest change.
    async fn last_message(&mut self, appointment: Uuid) -> Result<MessageId, BookingError>;

    /// Remembers a request and what it is answered, unless it is known: then that is answered, and nothing written.
    /// Of two requests with one key at the same moment, the second waits for the first.
    async fn remember(
        &mut self,
        request: &Request<'_>,
        answer: (Uuid, MessageId),
    ) -> Result<Option<Remembered>, BookingError>;

    /// Commits, and wakes the dispatcher.
    async fn commit(self: Box<Self>) -> Result<(), BookingError>;
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

/// Requests that came before this moment, in seconds since 1970, are forgotten.
fn forgotten() -> i64 {
    now() - REMEMBER
}

fn now() -> i64 {
    Utc::now().timestamp()
}
