//! Outbox transport for mail and calendar invitations over SMTP.
//!
//! A mail is written as an [`EmailMessage`] and rendered when it is enqueued: what lies in the outbox are its final
//! bytes and its envelope, a [`StoredMail`]. So every attempt sends the same mail, and a change of the program never
//! alters what waits. [`SmtpTransport`] brings it to a relay.
//!
//! A [`CalendarInvite`] makes it an invitation that calendar programs act on (RFC 5545, 5546, 6047). The message's
//! key is then the uid of the appointment, so its messages are delivered in their order.
//!
//! ```
//! use std::time::{Duration, SystemTime};
//!
//! use outbox_transport_smtp::{CalendarInvite, EmailMessage, MailError, Mailbox};
//!
//! # fn main() -> Result<(), MailError> {
//! # let starts = SystemTime::now();
//! let invite = CalendarInvite::request("0197f7a2-7a1c-7c3e-9d0b-2f8f5f6b1c11@example.org")
//!     .organizer(Mailbox::new("studio@example.org")?.named("The studio")?)
//!     .attendee(Mailbox::new("anna@example.com")?.named("Anna Berg")?)
//!     .time(starts, starts + Duration::from_secs(30 * 60))
//!     .summary("First lesson")
//!     .build()?;
//! let message = EmailMessage::invitation(invite)
//!     .text("Your first lesson is booked. See you!")
//!     .build()?
//!     .to_message("invitations")?
//!     .build()?; // and now `outbox.enqueue(&mut tx, &[message])`
//! # assert_eq!(message.key(), Some("0197f7a2-7a1c-7c3e-9d0b-2f8f5f6b1c11@example.org"));
//! # Ok(())
//! # }
//! ```
//!
//! # What people may type
//!
//! Names, titles and notes come from outside, and both a mail and a calendar could be broken open by them. So:
//!
//! * Control characters are refused, with a [`MailError`] that names the field; in texts of one line (names, subject,
//!   summary, location) line breaks are among them.
//! * In texts of one line, runs of white space become one space. In texts of several lines (text, HTML,
//!   description), line breaks of every kind become one kind.
//! * Everything else comes back as it was typed, except a backslash in a name, which calendars show as a slash.
//! * An address is one plain address in ASCII; an internationalised domain is written in its ASCII form. Local parts
//!   beyond ASCII are refused, since many servers still refuse them.
//! * The finished mail and calendar are read again and checked before anything is stored.
//!
//! # What comes from lettre
//!
//! Addresses, the parts of a mail, and the text of SMTP commands come from [lettre](https://docs.rs/lettre); the
//! connection does not. In lettre 0.11.23 the timeout of an asynchronous connection covers the TCP connect alone.
//! Others can be set around its calls, but mail, final dot and reply are one call: the steps that RFC 5321 gives 3 and
//! 10 minutes have no deadlines of their own, and nobody hears what the relay says before the dot. Bytes that came
//! unasked, before a command or before the TLS handshake, cannot be seen and are read as the next reply; with lettre's
//! pool, a mail that was refused counted as sent after the mail before it had been cut off. A reply is bounded only
//! once its line has ended, and a mail gets an empty line more than was stored. What may be in doubt, and what was
//! surely not taken, depends on just these things. The price is a conversation of our own, some 600 lines, which the
//! tests check with a scripted relay and with Postfix's `smtp-sink`.

mod classify;
mod config;
mod config_error;
mod connection;
mod content_line;
mod data;
mod email;
mod envelope;
mod header;
mod ical;
mod invite;
mod mail_error;
mod mailbox;
mod mime;
mod offers;
mod pool;
mod rate;
mod reply;
mod text;
mod tls;
mod transport;
mod url;
mod wire;

pub use config::{Encryption, SmtpTransportBuilder, Timeouts};
pub use config_error::ConfigError;
pub use email::{EmailMessage, EmailMessageBuilder};
pub use envelope::{StoredMail, UnreadableMail};
pub use invite::{CalendarInvite, CalendarInviteBuilder};
pub use mail_error::MailError;
pub use mailbox::Mailbox;
pub use transport::SmtpTransport;
