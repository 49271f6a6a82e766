//! [`StoredMail`]: how a rendered mail lies in the outbox, read and written in one place.

use std::fmt;

use lettre::Address;
use lettre::address::AddressError;
use outbox_core::{Bytes, Message, MessageBuilder};
use thiserror::Error;

/// A mail as it was rendered when it was enqueued, with its envelope: what one SMTP transaction needs.
///
/// In the outbox it is a message whose payload is the mail, whose content type is `message/rfc822` and whose
/// headers `mail-format`, `mail-from` and `mail-to` hold the format version and the envelope.
///
/// [`EmailMessage`](crate::EmailMessage) makes it; fill it yourself to send a mail that something else rendered.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredMail {
    /// The envelope sender (`MAIL FROM`): bounces go there.
    pub from: Address,
    /// The one envelope recipient (`RCPT TO`).
    pub to: Address,
    /// The mail (RFC 5322) exactly as it goes out after `DATA`: CRLF line ends, before dot-stuffing.
    pub bytes: Bytes,
}

impl StoredMail {
    /// The media type of the payload.
    pub const CONTENT_TYPE: &str = "message/rfc822";
    /// The version of the stored form that this code writes.
    pub const FORMAT: &str = "1";

    /// Reads the mail back from a message.
    ///
    /// # Errors
    /// [`UnreadableMail`] when the message is not a mail of a format version that this code knows. Trying again
    /// does not help; a newer version of the program may.
    pub fn read(message: &Message) -> Result<Self, UnreadableMail> {
        let header = |name| message.headers.get(name).ok_or(UnreadableMail::MissingHeader { name });
        let format = header(FORMAT_HEADER)?;
        if format != Self::FORMAT {
            return Err(UnreadableMail::UnknownFormat { found: format.to_owned() });
        }
        if message.content_type != Self::CONTENT_TYPE {
            return Err(UnreadableMail::ContentType { found: message.content_type.clone() });
        }
        let address = |name| header(name)?.parse().map_err(|source| UnreadableMail::Address { name, source });
        Ok(Self { from: address(FROM_HEADER)?, to: address(TO_HEADER)?, bytes: message.payload.clone() })
    }

    /// Puts the mail into the message that `builder` builds: its payload, content type and headers.
    pub fn write(self, builder: MessageBuilder) -> MessageBuilder {
        builder
            .payload(self.bytes, Self::CONTENT_TYPE)
            .header(FORMAT_HEADER, Self::FORMAT)
            .header(FROM_HEADER, self.from.to_string())
            .header(TO_HEADER, self.to.to_string())
    }
}

const FORMAT_HEADER: &str = "mail-format";
const FROM_HEADER: &str = "mail-from";
const TO_HEADER: &str = "mail-to";

/// Without addresses and content: a debug print must not carry personal data into a log.
impl fmt::Debug for StoredMail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredMail").field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

/// A message that is not a mail this code can send. Holds no address.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UnreadableMail {
    /// The header is missing: the message was not made by `EmailMessage`.
    #[error("the message has no header {name:?}; enqueue mail as an `EmailMessage`")]
    MissingHeader {
        /// The header's name.
        name: &'static str,
    },
    /// The mail was stored by a newer version of this library.
    #[error(
        "the mail is stored in format {found:?}, this program reads {:?}; deploy a newer one",
        StoredMail::FORMAT
    )]
    UnknownFormat {
        /// The version found.
        found: String,
    },
    /// The payload is something else than a mail.
    #[error(
        "the payload is {found:?} and not {:?}; route this topic to another transport",
        StoredMail::CONTENT_TYPE
    )]
    ContentType {
        /// The content type found.
        found: String,
    },
    /// An address of the envelope cannot be read.
    #[error("the header {name:?} does not hold a mail address; enqueue mail as an `EmailMessage`")]
    Address {
        /// The header's name.
        name: &'static str,
        /// What is wrong with it.
        source: AddressError,
    },
}

#[cfg(test)]
mod tests {
    use outbox_core::{MessageId, NewMessage};

    use super::*;

    fn stored(new: &NewMessage) -> Message {
        let mut message = Message::new(new.id(), new.topic(), new.payload().clone());
        message.content_type = new.content_type().to_owned();
        message.headers = new.headers().clone();
        message
    }

    fn mail() -> StoredMail {
        let address = |text: &str| text.parse().expect("a valid address");
        StoredMail {
            from: address("team@example.org"),
            to: address("guest@example.com"),
            bytes: Bytes::from_static(b"Subject: hello\r\n\r\nhello\r\n"),
        }
    }

    fn message() -> Message {
        stored(&mail().write(NewMessage::builder("mail")).build().expect("a valid message"))
    }

    #[test]
    fn what_was_written_is_read_back() {
        assert_eq!(StoredMail::read(&message()).expect("readable"), mail());
    }

    #[test]
    fn a_newer_format_is_refused() {
        let mut message = message();
        message.headers.insert("mail-format", "2");
        assert!(
            matches!(StoredMail::read(&message), Err(UnreadableMail::UnknownFormat { found }) if found == "2")
        );
    }

    #[test]
    fn a_message_that_is_no_mail_is_refused() {
        let message = Message::new(MessageId::generate(), "mail", Bytes::new());
        assert!(matches!(
            StoredMail::read(&message),
            Err(UnreadableMail::MissingHeader { name: "mail-format" })
        ));
    }

    #[test]
    fn another_content_type_is_refused() {
        let mut message = message();
        message.content_type = "application/json".to_owned();
        assert!(matches!(StoredMail::read(&message), Err(UnreadableMail::ContentType { .. })));
    }

    #[test]
    fn an_address_that_would_break_out_of_its_command_is_refused() {
        for bad in ["guest@example.com>\r\nDATA", "", "guest", "a b@example.com", "guest@example.com> SIZE=1"]
        {
            let mut message = message();
            message.headers.insert("mail-to", bad);
            let refused =
                matches!(StoredMail::read(&message), Err(UnreadableMail::Address { name: "mail-to", .. }));
            assert!(refused, "{bad:?} was accepted");
        }
    }
}
