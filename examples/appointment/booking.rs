//! [`Bookings`]: appointment and message in one transaction. This is what an outbox is for.

use chrono::{DateTime, SecondsFormat, Utc};
use outbox::SqliteOutbox;
use outbox::smtp::MailError;
use outbox::{EnqueueExt, MessageDetail, MessageId, NewMessage, OutboxAdmin, StoreError, StoreErrorKind};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, SqlitePool, Transaction};
use thiserror::Error;
use uuid::Uuid;

use crate::form::{NewAppointment, Reschedule};
use crate::idempotency::Request;
use crate::invite::{self, Change};

/// A `GET` shows the newest messages of an appointment, at most this many.
const MESSAGES_SHOWN: i64 = 50;

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
    /// What the outbox knows of it; `None` once its history was purged.
    pub detail: Option<MessageDetail>,
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
    pool: SqlitePool,
    outbox: SqliteOutbox,
    organizer: String,
}

impl Bookings {
    /// Opens the appointments in `pool`, creating their tables if need be. Invitations come from `organizer`.
    pub async fn open(
        pool: SqlitePool,
        outbox: SqliteOutbox,
        organizer: String,
    ) -> Result<Self, BookingError> {
        // Two processes may start at once; the second then finds the tables of the first.
        let mut tx = outbox.begin().await?;
        sqlx::raw_sql(include_str!("schema.sql")).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(Self { pool, outbox, organizer })
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
        // Rendered before the transaction: SQLite has one writer at a time, and others wait for it.
        let message = invite::message(&appointment, Change::Booked, &self.organizer)?;

        let mut tx = self.outbox.begin().await?;
        if let Some(request) = &request
            && let Some(receipt) = request.first_receipt(&mut tx).await?
        {
            return Ok(receipt);
        }
        sqlx::query(
            "insert into appointment (id, name, email, starts_at, ends_at, notes) values (?, ?, ?, ?, ?, ?)",
        )
        .bind(id.to_string())
        .bind(&appointment.name)
        .bind(&appointment.email)
        .bind(stored(appointment.starts_at))
        .bind(stored(appointment.ends_at))
        .bind(&appointment.notes)
        .execute(&mut *tx)
        .await?;

        let receipt = self.tell_guest(&mut tx, &appointment, Change::Booked, &message).await?;
        if let Some(request) = &request {
            request.remember(&mut tx, &receipt).await?;
        }

        // Appointment and message now come into being together, or not at all.
        self.outbox.commit(tx).await?;
        Ok(receipt)
    }

    /// Moves an appointment to another time. Asked for what already holds, it changes nothing and tells nobody.
    pub async fn reschedule(&self, id: Uuid, to: Reschedule) -> Result<Receipt, BookingError> {
        let mut tx = self.outbox.begin().await?;
        let before = appointment(&mut tx, id).await?;
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
            return last_receipt(&mut tx, id).await;
        }
        after.sequence += 1;

        sqlx::query(
            "update appointment set name = ?, starts_at = ?, ends_at = ?, notes = ?, sequence = ? where id = ?",
        )
        .bind(&after.name)
        .bind(stored(after.starts_at))
        .bind(stored(after.ends_at))
        .bind(&after.notes)
        .bind(after.sequence)
        .bind(id.to_string())
        .execute(&mut *tx)
        .await?;
        // Rendered inside the transaction: what it says, the sequence above all, is only certain here.
        let message = invite::message(&after, Change::Rescheduled, &self.organizer)?;
        let receipt = self.tell_guest(&mut tx, &after, Change::Rescheduled, &message).await?;
        self.outbox.commit(tx).await?;
        Ok(receipt)
    }

    /// Cancels an appointment. Asked again, it answers the first receipt and tells nobody.
    pub async fn cancel(&self, id: Uuid) -> Result<Receipt, BookingError> {
        let mut tx = self.outbox.begin().await?;
        let mut appointment = appointment(&mut tx, id).await?;
        if appointment.cancelled {
            return last_receipt(&mut tx, id).await;
        }
        appointment.cancelled = true;
        appointment.sequence += 1;

        sqlx::query("update appointment set cancelled = 1, sequence = ? where id = ?")
            .bind(appointment.sequence)
            .bind(id.to_string())
            .execute(&mut *tx)
            .await?;
        // Inside the transaction, as in `reschedule`.
        let message = invite::message(&appointment, Change::Cancelled, &self.organizer)?;
        let receipt = self.tell_guest(&mut tx, &appointment, Change::Cancelled, &message).await?;
        self.outbox.commit(tx).await?;
        Ok(receipt)
    }

    /// An appointment and its messages, oldest first.
    pub async fn show(&self, id: Uuid) -> Result<(Appointment, Vec<SentMessage>), BookingError> {
        let mut tx = self.pool.begin().await?;
        let appointment = appointment(&mut tx, id).await?;
        let rows = sqlx::query(
            "select sequence, method, message_id from appointment_message
             where appointment_id = ? order by sequence desc limit ?",
        )
        .bind(id.to_string())
        .bind(MESSAGES_SHOWN)
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;

        let mut messages = Vec::with_capacity(rows.len());
        for row in rows.into_iter().rev() {
            let id = read(&row, "message_id")?;
            let detail = self.outbox.show(id).await?;
            messages.push(SentMessage {
                id,
                sequence: row.try_get("sequence")?,
                method: row.try_get("method")?,
                detail,
            });
        }
        Ok((appointment, messages))
    }

    /// Enqueues the message in the caller's transaction, and notes which one it was.
    async fn tell_guest(
        &self,
        tx: &mut Transaction<'static, Sqlite>,
        appointment: &Appointment,
        change: Change,
        message: &NewMessage,
    ) -> Result<Receipt, BookingError> {
        self.outbox.enqueue_one(tx, message).await?;
        sqlx::query(
            "insert into appointment_message (appointment_id, sequence, method, message_id) values (?, ?, ?, ?)",
        )
        .bind(appointment.id.to_string())
        .bind(appointment.sequence)
        .bind(change.method())
        .bind(message.id().to_string())
        .execute(&mut **tx)
        .await?;
        Ok(Receipt { appointment: appointment.id, message: message.id(), repeated: false })
    }
}

impl BookingError {
    /// Whether the same request may well succeed in a moment.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Outbox(error) => error.kind() == StoreErrorKind::Unavailable,
            Self::Database(sqlx::Error::PoolTimedOut | sqlx::Error::Io(_)) => true,
            // SQLITE_BUSY and SQLITE_LOCKED, with their extended forms in the higher bytes.
            Self::Database(sqlx::Error::Database(error)) => error
                .code()
                .and_then(|code| code.parse::<i32>().ok())
                .is_some_and(|code| matches!(code & 0xff, 5 | 6)),
            _ => false,
        }
    }
}

async fn appointment(tx: &mut Transaction<'_, Sqlite>, id: Uuid) -> Result<Appointment, BookingError> {
    let row = sqlx::query(
        "select name, email, starts_at, ends_at, notes, sequence, cancelled from appointment where id = ?",
    )
    .bind(id.to_string())
    .fetch_optional(&mut **tx)
    .await?
    .ok_or(BookingError::NotFound)?;
    Ok(Appointment {
        id,
        name: row.try_get("name")?,
        email: row.try_get("email")?,
        starts_at: read(&row, "starts_at")?,
        ends_at: read(&row, "ends_at")?,
        notes: row.try_get("notes")?,
        sequence: row.try_get("sequence")?,
        cancelled: row.try_get("cancelled")?,
    })
}

/// The receipt of the latest change.
async fn last_receipt(tx: &mut Transaction<'_, Sqlite>, id: Uuid) -> Result<Receipt, BookingError> {
    let row = sqlx::query(
        "select message_id from appointment_message where appointment_id = ? order by sequence desc limit 1",
    )
    .bind(id.to_string())
    .fetch_one(&mut **tx)
    .await?;
    Ok(Receipt { appointment: id, message: read(&row, "message_id")?, repeated: true })
}

/// The form in which times are stored.
pub fn stored(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Reads a column that holds the text form of a `T`.
pub fn read<T>(row: &SqliteRow, column: &str) -> Result<T, BookingError>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text: &str = row.try_get(column)?;
    text.parse().map_err(|error: T::Err| BookingError::Unreadable(error.into()))
}
