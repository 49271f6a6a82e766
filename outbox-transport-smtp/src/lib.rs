//! Outbox transport for mail and calendar invitations over SMTP.

mod classify;
mod config;
mod connection;
mod content_line;
mod email;
mod envelope;
mod ical;
mod invite;
mod mail_error;
mod mailbox;
mod mime;
mod pool;
mod rate;
mod reply;
mod text;
mod tls;
mod transport;
mod url;
mod wire;

pub use config::{ConfigError, Encryption, SmtpTransportBuilder, Timeouts};
pub use email::{EmailMessage, EmailMessageBuilder};
pub use envelope::{StoredMail, UnreadableMail};
pub use invite::{CalendarInvite, CalendarInviteBuilder};
pub use mail_error::MailError;
pub use mailbox::Mailbox;
pub use transport::SmtpTransport;
