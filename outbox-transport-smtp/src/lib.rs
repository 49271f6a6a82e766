//! Outbox transport for mail and calendar invitations over SMTP.

mod content_line;
mod email;
mod envelope;
mod ical;
mod invite;
mod mail_error;
mod mailbox;
mod mime;
mod text;

pub use email::{EmailMessage, EmailMessageBuilder};
pub use envelope::{StoredMail, UnreadableMail};
pub use invite::{CalendarInvite, CalendarInviteBuilder};
pub use mail_error::MailError;
pub use mailbox::Mailbox;
