//! [`Request`]: a POST that may come twice, since a client that got no answer has to ask again.

use chrono::Utc;
use sha2::{Digest, Sha256};
use sqlx::{Row, Sqlite, Transaction};

use crate::booking::{BookingError, Receipt, read, stored};
use crate::form::NewAppointment;

/// How long a request is remembered: seven days, in seconds.
const REMEMBER: i64 = 7 * 24 * 3600;

/// A booking request with its `Idempotency-Key`.
#[derive(Debug)]
pub struct Request<'a> {
    key: &'a str,
    /// The same for the same request, however its JSON was laid out.
    fingerprint: Vec<u8>,
}

impl<'a> Request<'a> {
    pub fn new(key: &'a str, new: &NewAppointment) -> Self {
        let parts = [&new.name, &new.email, &stored(new.starts_at), &stored(new.ends_at), &new.notes];
        let mut hash = Sha256::new();
        for part in parts {
            // With the length in front, no text can pass for the end of one part and the start of the next.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self { key, fingerprint: hash.finalize().to_vec() }
    }

    /// What was answered when this request came first; `None` if it comes for the first time now.
    pub async fn first_receipt(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
    ) -> Result<Option<Receipt>, BookingError> {
        let found = sqlx::query(
            "select fingerprint, appointment_id, message_id from booking_request where idempotency_key = ?",
        )
        .bind(self.key)
        .fetch_optional(&mut **tx)
        .await?;
        let Some(row) = found else { return Ok(None) };
        if row.try_get::<&[u8], _>("fingerprint")? != self.fingerprint {
            return Err(BookingError::KeyReused);
        }
        let (appointment, message) = (read(&row, "appointment_id")?, read(&row, "message_id")?);
        Ok(Some(Receipt { appointment, message, repeated: true }))
    }

    /// Notes the answer, in the transaction that makes it true.
    pub async fn remember(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        receipt: &Receipt,
    ) -> Result<(), BookingError> {
        let now = Utc::now().timestamp();
        // A few of the oldest go with each new one, so the table stays small without a job of its own.
        sqlx::query(
            "delete from booking_request where idempotency_key in
             (select idempotency_key from booking_request where created_at < ? order by created_at limit 10)",
        )
        .bind(now - REMEMBER)
        .execute(&mut **tx)
        .await?;
        sqlx::query(
            "insert into booking_request (idempotency_key, fingerprint, appointment_id, message_id, created_at)
             values (?, ?, ?, ?, ?)",
        )
        .bind(self.key)
        .bind(&self.fingerprint)
        .bind(receipt.appointment.to_string())
        .bind(receipt.message.to_string())
        .bind(now)
        .execute(&mut **tx)
        .await?;
        Ok(())
    }
}
