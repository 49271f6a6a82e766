//! [`EmailMessage`]: a mail to one recipient, rendered when it is enqueued.

use std::fmt;
use std::time::SystemTime;

use outbox_core::{MessageBuilder, MessageId, NewMessage};

use crate::text::{lines, one_line};
use crate::{CalendarInvite, MailError, Mailbox, StoredMail, mime};

/// A mail to one recipient, with an invitation if one is set.
///
/// [`to_message`](Self::to_message) renders it once, so that every attempt sends the same bytes: the same
/// `Message-ID`, `Date` and boundaries. For several recipients, enqueue one mail each.
///
/// ```
/// # use outbox_transport_smtp::{EmailMessage, Mailbox};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let message = EmailMessage::builder()
///     .from(Mailbox::new("studio@example.org")?.named("The studio")?)
///     .to(Mailbox::new("anna@example.com")?)
///     .subject("Your first lesson")
///     .text("See you on Monday.")
///     .build()?
///     .to_message("mail")?
///     .idempotency_key("lesson-1")
///     .build()?;
/// # assert_eq!(message.content_type(), "message/rfc822");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct EmailMessage {
    pub(crate) from: Mailbox,
    pub(crate) reply_to: Option<Mailbox>,
    pub(crate) to: Mailbox,
    pub(crate) subject: String,
    pub(crate) text: String,
    pub(crate) html: Option<String>,
    pub(crate) invite: Option<CalendarInvite>,
    pub(crate) date: SystemTime,
}

impl EmailMessage {
    /// The longest subject, in characters. Programs show far less.
    pub const MAX_SUBJECT: usize = 1_000;

    /// Starts a mail; sender, recipient, subject and text are required.
    pub fn builder() -> EmailMessageBuilder {
        EmailMessageBuilder::default()
    }

    /// Starts the mail of an invitation: from its organizer to its attendee, under its summary. The text is still
    /// required: it is what people without a calendar program see.
    pub fn invitation(invite: CalendarInvite) -> EmailMessageBuilder {
        Self::builder()
            .from(invite.organizer().clone())
            .to(invite.attendee().clone())
            .subject(invite.summary())
            .invite(invite)
    }

    /// Renders the mail into a message of `topic` with a fresh id. Its key is the uid of the invitation, so that
    /// a cancellation never overtakes its request; a mail without one has no key.
    ///
    /// The answer is a builder: add an idempotency key, a trace context or a not-before time. The id is part of the
    /// rendered mail; to choose it, use [`to_message_with_id`](Self::to_message_with_id).
    ///
    /// # Errors
    /// [`MailError::Malformed`], which shows a defect of this library.
    pub fn to_message(&self, topic: impl Into<String>) -> Result<MessageBuilder, MailError> {
        self.to_message_with_id(topic, MessageId::generate())
    }

    /// [`to_message`](Self::to_message) with an id of the caller's own.
    ///
    /// # Errors
    /// As [`to_message`](Self::to_message).
    pub fn to_message_with_id(
        &self,
        topic: impl Into<String>,
        id: MessageId,
    ) -> Result<MessageBuilder, MailError> {
        let builder = self.render(id)?.write(NewMessage::builder(topic).id(id));
        Ok(match &self.invite {
            Some(invite) => builder.key(invite.uid()).message_type(invite.kind().message_type()),
            None => builder.message_type("mail"),
        })
    }

    /// The mail as bytes, with its envelope: what [`to_message`](Self::to_message) stores. The same mail and id give
    /// the same bytes. They are 7-bit text with CRLF line ends and lines of at most 998 characters.
    ///
    /// # Errors
    /// As [`to_message`](Self::to_message).
    pub fn render(&self, id: MessageId) -> Result<StoredMail, MailError> {
        Ok(StoredMail {
            from: self.from.address().clone(),
            to: self.to.address().clone(),
            bytes: mime::render(self, id)?.into(),
        })
    }
}

/// Without names, addresses and texts: a debug print must not carry personal data into a log.
impl fmt::Debug for EmailMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmailMessage").field("invite", &self.invite).finish_non_exhaustive()
    }
}

/// Builds an [`EmailMessage`]; [`build`](Self::build) checks everything.
#[derive(Clone, Default)]
#[must_use = "call `build` for the mail"]
pub struct EmailMessageBuilder {
    from: Option<Mailbox>,
    reply_to: Option<Mailbox>,
    to: Option<Mailbox>,
    subject: String,
    text: String,
    html: Option<String>,
    invite: Option<CalendarInvite>,
    date: Option<SystemTime>,
}

impl EmailMessageBuilder {
    /// Sets the sender. Required. Bounces go there too.
    pub fn from(mut self, from: Mailbox) -> Self {
        self.from = Some(from);
        self
    }

    /// Sets where answers go, if not to the sender. Answers to an invitation go to its organizer all the same.
    pub fn reply_to(mut self, reply_to: Mailbox) -> Self {
        self.reply_to = Some(reply_to);
        self
    }

    /// Sets the recipient. Required.
    pub fn to(mut self, to: Mailbox) -> Self {
        self.to = Some(to);
        self
    }

    /// Sets the subject. Required. One line; white space is tidied.
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = subject.into();
        self
    }

    /// Sets the plain text. Required. Line breaks of every kind become CRLF.
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.text = text.into();
        self
    }

    /// Adds the text as HTML, for programs that show it. It goes out as given: escape what people typed.
    pub fn html(mut self, html: impl Into<String>) -> Self {
        self.html = Some(html.into());
        self
    }

    /// Adds an invitation. Sender and recipient must be its organizer and attendee.
    pub fn invite(mut self, invite: CalendarInvite) -> Self {
        self.invite = Some(invite);
        self
    }

    /// Sets the `Date` of the mail; now, if it is not set.
    pub fn date(mut self, date: SystemTime) -> Self {
        self.date = Some(date);
        self
    }

    /// The finished mail.
    ///
    /// # Errors
    /// [`MailError`] names the field that is missing, too long, or wrong.
    pub fn build(self) -> Result<EmailMessage, MailError> {
        let from = self.from.ok_or(MailError::Missing { field: "sender" })?;
        let to = self.to.ok_or(MailError::Missing { field: "recipient" })?;
        let subject = one_line("subject", &self.subject, EmailMessage::MAX_SUBJECT)?;
        // The payload limit of the message bounds both texts.
        let text = lines("text", &self.text, usize::MAX)?;
        let html = self.html.map(|html| lines("html", &html, usize::MAX)).transpose()?;
        let date = self.date.unwrap_or_else(SystemTime::now);
        crate::invite::utc("date", date)?;
        if subject.is_empty() {
            return Err(MailError::Missing { field: "subject" });
        }
        if text.trim().is_empty() {
            return Err(MailError::Missing { field: "text" });
        }
        if let Some(invite) = &self.invite
            && !(invite.organizer().is_same_address(&from) && invite.attendee().is_same_address(&to))
        {
            return Err(MailError::NotTheInvitations);
        }
        Ok(EmailMessage { from, reply_to: self.reply_to, to, subject, text, html, invite: self.invite, date })
    }
}

/// Without names, addresses and texts.
impl fmt::Debug for EmailMessageBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmailMessageBuilder").field("invite", &self.invite).finish_non_exhaustive()
    }
}
