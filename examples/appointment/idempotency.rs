//! [`Request`]: a POST that may come twice, since a client that got no answer has to ask again.

use chrono::SecondsFormat;
use outbox::MessageId;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::booking::{BookingError, Receipt};
use crate::form::NewAppointment;

/// How long a request is remembered: seven days, in seconds.
pub const REMEMBER: i64 = 7 * 24 * 3600;

/// A booking request with its `Idempotency-Key`.
#[derive(Debug)]
pub struct Request<'a> {
    pub key: &'a str,
    /// The same for the same request, however its JSON was laid out.
    pub fingerprint: Vec<u8>,
}

/// What is remembered of the request that came first with a key.
#[derive(Debug)]
pub struct Remembered {
    pub fingerprint: Vec<u8>,
    pub appointment: Uuid,
    pub message: MessageId,
}

impl<'a> Request<'a> {
    pub fn new(key: &'a str, new: &NewAppointment) -> Self {
        let time = |time: chrono::DateTime<_>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
        let parts = [&new.name, &new.email, &time(new.starts_at), &time(new.ends_at), &new.notes];
        let mut hash = Sha256::new();
        for part in parts {
            // With the length in front, no text can pass for the end of one part and the start of the next.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self { key, fingerprint: hash.finalize().to_vec() }
    }

    /// What the first request with this key was answered, if this is the same request.
    pub fn repeats(&self, first: Remembered) -> Result<Receipt, BookingError> {
        let Remembered { fingerprint, appointment, message } = first;
        if fingerprint != self.fingerprint {
            return Err(BookingError::KeyReused);
        }
        Ok(Receipt { appointment, message, repeated: true })
    }
}
