//! Outbox transport for mail and calendar invitations over SMTP.

mod envelope;

pub use envelope::{StoredMail, UnreadableMail};
