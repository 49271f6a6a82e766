//! [`Bookings`]: appointment and message in one transaction. This is what an outbox is for.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use outbox::smtp::MailError;
use outbox::{MessageDetail, MessageId, NewMessage, StoreError, StoreErrorKind};
use sqlx::mysql::MySqlDatabaseError;
use thiserror::Error;
use uuid::Uuid;

use crate::database::{Database, Transaction};
use crate::form::{NewAppointment, Reschedule};
use crate::idempotency::Request;
use crate::invite::{self, Change};

/// A `GET` shows the newest messages of an appointment, at most this many.
const MESSAGES_SHOWN: u32 = 50;

/// An appointment, as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appointment {
    pub id: Uuid,
    pub name: String,
    pub email: String,
    pub starts_at: DateTime<Utc>,
    pub ends_at: DateTime<Utc>,
    pub notes: String,
    /// The version that calendars compare: 0, and one more with every change.
    pub sequence: u32,
    pub cancelled: bool,
}

/// What a change was recorded as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    pub appointment: Uuid,
    /// The message that tells the guest.
    pub message: MessageId,
    /// It had been recorded before: nothing was written now.
    pub repeated: bool,
}

/// A message that an appointment gave rise to.
#[derive(Debug)]
pub struct SentMessage {
    pub id: MessageId,
    pub sequence: u32,
    pub method: String,
}

/// Why a change was not recorded. Nothing was stored.
#[derive(Debug, Error)]
pub enum BookingError {
    #[error("there is no such appointment")]
    NotFound,
    #[error("the appointment was cancelled; book a new one")]
    Cancelled,
    #[error("this Idempotency-Key was used for another request; use a fresh key")]
    KeyReused,
    #[error("the guest of an appointment cannot change; cancel it and book a new one")]
    OtherGuest,
    #[error("the invitation cannot be written")]
    Invitation(#[from] MailError),
    #[error("the outbox cannot be used")]
    Outbox(#[from] StoreError),
    #[error("the database cannot be used")]
    Database(#[from] sqlx::Error),
    #[error("the database holds an appointment that cannot be read")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The appointments, and the outbox beside them in the same database.
#[derive(Debug, Clone)]
pub struct Bookings {
    database: Arc<dyn Database>,
    organizer: String,
}

impl Bookings {
    /// The appointments of `database`. Invitations come from `organizer`.
    pub fn new(database: Arc<dyn Database>, organizer: String) -> Self {
        Self { database, organizer }
    }

    /// Books an appointment. Asked again with the same `idempotency_key`, it answers the first receipt.
    pub async fn book(
        &self,
        new: NewAppointment,
        idempotency_key: Option<&str>,
    ) -> Result<Receipt, BookingError> {
        let request = idempotency_key.map(|key| Request::new(key, &new));
        let NewAppointment { name, email, starts_at, ends_at, notes } = new;
        let id = Uuid::now_v7();
        let appointment =
            Appointment { id, name, email, starts_at, ends_at, notes, sequence: 0, cancelled: false };
        // Rendered before the transaction, so that nobody waits for it.
        let message = invite::message(&appointment, Change::Booked, &self.organizer)?;

        let mut tx = self.database.begin().await?;
        if let Some(request) = &request
            && let Some(first) = tx.remember(request, (id, message.id())).await?
        {
            return request.repeats(first);
        }
        tx.insert(&appointment).await?;
        let receipt = tell_guest(&mut *tx, &appointment, Change::Booked, &message).await?;

        // Appointment and message now come into being together, or not at all.
        tx.commit().await?;
        Ok(receipt)
    }

    /// Moves an appointment to another time. Asked for what already holds, it changes nothing and tells nobody.
    pub async fn reschedule(&self, id: Uuid, to: Reschedule) -> Result<Receipt, BookingError> {
        let mut tx = self.database.begin().await?;
        let before = tx.find(id).await?.ok_or(BookingError::NotFound)?;
        if before.cancelled {
            return Err(BookingError::Cancelled);
        }
        if to.email.is_some_and(|email| email != before.email) {
            return Err(BookingError::OtherGuest);
        }
        let mut after = Appointment { starts_at: to.starts_at, ends_at: to.ends_at, ..before.clone() };
        after.name = to.name.unwrap_or(after.name);
        after.notes = to.notes.unwrap_or(after.notes);
        if after == before {
            return last_receipt(&mut *tx, id).await;
        }
        after.sequence += 1;

        tx.update(&after).await?;
        // Rendered inside the transaction: what it says, the sequence above all, is only certain here.
        let message = invite::message(&after, Change::Rescheduled, &self.organizer)?;
        let receipt = tell_guest(&mut *tx, &after, Change::Rescheduled, &message).await?;
        tx.commit().await?;
        Ok(receipt)
    }

    /// Cancels an appointment. Asked again, it answers the first receipt and tells nobody.
    pub async fn cancel(&self, id: Uuid) -> Result<Receipt, BookingError> {
        let mut tx = self.database.begin().await?;
        let mut appointment = tx.find(id).await?.ok_or(BookingError::NotFound)?;
        if appointment.cancelled {
            return last_receipt(&mut *tx, id).await;
        }
        appointment.cancelled = true;
        appointment.sequence += 1;

        tx.update(&appointment).await?;
        // Inside the transaction, as in `reschedule`.
        let message = invite::message(&appointment, Change::Cancelled, &self.organizer)?;
        let receipt = tell_guest(&mut *tx, &appointment, Change::Cancelled, &message).await?;
        tx.commit().await?;
        Ok(receipt)
    }

    /// An appointment and its messages, oldest first, each with what the outbox knows of it: nothing, once its history
    /// was purged.
    pub async fn show(
        &self,
        id: Uuid,
    ) -> Result<(Appointment, Vec<(SentMessage, Option<MessageDetail>)>), BookingError> {
        let found = self.database.show(id, MESSAGES_SHOWN).await?;
        let (appointment, newest_first) = found.ok_or(BookingError::NotFound)?;
        let mut messages = Vec::with_capacity(newest_first.len());
        for message in newest_first.into_iter().rev() {
            let detail = self.database.admin().show(message.id).await?;
            messages.push((message, detail));
        }
        Ok((appointment, messages))
    }
}

/// Enqueues the message in the caller's transaction, and notes which one it was.
async fn tell_guest(
    tx: &mut dyn Transaction,
    appointment: &Appointment,
    change: Change,
    message: &NewMessage,
) -> Result<Receipt, BookingError> {
    tx.enqueue(message).await?;
    tx.note(appointment, change, message.id()).await?;
    Ok(Receipt { appointment: appointment.id, message: message.id(), repeated: false })
}

/// The receipt of the latest change.
async fn last_receipt(tx: &mut dyn Transaction, id: Uuid) -> Result<Receipt, BookingError> {
    Ok(Receipt { appointment: id, message: tx.last_message(id).await?, repeated: true })
}

impl BookingError {
    /// Whether the same request may well succeed in a moment.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Outbox(error) => error.kind() == StoreErrorKind::Unavailable,
            Self::Database(sqlx::Error::PoolTimedOut | sqlx::Error::Io(_)) => true,
            Self::Database(sqlx::Error::Database(error)) => {
                // MySQL's "lock wait timeout exceeded" has no SQLSTATE of its own.
                let waited =
                    error.try_downcast_ref::<MySqlDatabaseError>().is_some_and(|it| it.number() == 1205);
                waited || error.code().is_some_and(|code| passes(code.as_ref()))
            }
            _ => false,
        }
    }
}

/// Whether the database's own code tells of something that passes. An SQLSTATE has five characters, and its first two
/// name the class; a code of SQLite is a smaller number.
fn passes(code: &str) -> bool {
    match code.parse::<u32>() {
        // SQLITE_BUSY and SQLITE_LOCKED, with their extended forms in the higher bytes.
        Ok(number) if code.len() < 5 => matches!(number & 0xff, 5 | 6),
        // The connection, a rollback for others' sake, resources, a lock, a shutdown.
        _ => ["08", "40", "53", "55", "57"].iter().any(|class| code.starts_with(class)),
    }
}
