//! Header fields that hold what people typed: the subject and the names beside addresses (RFC 5322, RFC 2047).

use std::fmt::{self, Write};

use email_encoding::headers::rfc2047;
use email_encoding::headers::writer::EmailWriter;
use lettre::message::header::{HeaderName, HeaderValue};

use crate::Mailbox;

/// `Subject`: as it is where every reader takes it so, else as encoded words.
pub(crate) fn subject(text: &str) -> Result<HeaderValue, fmt::Error> {
    const NAME: &str = "Subject";
    let fits = text.split(' ').all(|word| word.len() <= 60);
    if is_plain(text) && fits {
        return Ok(HeaderValue::new(HeaderName::new_from_ascii_str(NAME), text.to_owned()));
    }
    field(NAME, text, |writer| rfc2047::encode(text, writer))
}

/// `From`, `To` or `Reply-To` with one mailbox: `"Anna Berg" <anna@example.org>`.
///
/// Written here, since the mail crate leaves names like `Dr.Berg` unquoted, over which some readers stumble.
pub(crate) fn mailbox(name: &'static str, mailbox: &Mailbox) -> Result<HeaderValue, fmt::Error> {
    let address = mailbox.address().as_ref();
    field(name, address, |writer| {
        let Some(shown) = mailbox.name() else {
            return writer.write_str(address);
        };
        if is_plain(shown) {
            let quoted = shown.replace('\\', "\\\\").replace('"', "\\\"");
            write!(writer.folding(), "\"{quoted}\"")?;
        } else {
            rfc2047::encode(shown, writer)?;
        }
        writer.space();
        write!(writer.folding(), "<{address}>")
    })
}

/// ASCII that no reader takes for an encoded word.
fn is_plain(text: &str) -> bool {
    text.is_ascii() && !text.contains("=?")
}

fn field(
    name: &'static str,
    raw: &str,
    encode: impl FnOnce(&mut EmailWriter<'_>) -> fmt::Result,
) -> Result<HeaderValue, fmt::Error> {
    let mut encoded = String::new();
    let mut writer = EmailWriter::new(&mut encoded, name.len() + ": ".len(), 0, false);
    encode(&mut writer)?;
    drop(writer);
    let name = HeaderName::new_from_ascii_str(name);
    Ok(HeaderValue::dangerous_new_pre_encoded(name, raw.to_owned(), encoded))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lettre::message::header::Headers;

    fn to(name: &str) -> String {
        let guest = Mailbox::new("anna@example.org").and_then(|guest| guest.named(name)).expect("valid");
        printed(mailbox("To", &guest))
    }

    fn printed(field: Result<HeaderValue, fmt::Error>) -> String {
        let mut headers = Headers::new();
        headers.insert_raw(field.expect("encoded"));
        headers.to_string()
    }

    #[test]
    fn a_name_is_quoted_and_its_quotes_are_escaped() {
        assert_eq!(to(""), "To: anna@example.org\r\n");
        assert_eq!(to("Dr.Berg"), "To: \"Dr.Berg\" <anna@example.org>\r\n");
        assert_eq!(to(r#"A "B" \"#), "To: \"A \\\"B\\\" \\\\\" <anna@example.org>\r\n");
        assert_eq!(to("Ä"), "To: =?utf-8?b?w4Q=?= <anna@example.org>\r\n");
    }

    #[test]
    fn what_looks_like_an_encoded_word_is_encoded() {
        assert_eq!(printed(subject("=?x?=")), "Subject: =?utf-8?b?PT94Pz0=?=\r\n");
        assert_eq!(to("=?x?="), "To: =?utf-8?b?PT94Pz0=?= <anna@example.org>\r\n");
    }

    #[test]
    fn a_long_word_in_a_subject_is_cut_into_encoded_words() {
        let field = printed(subject(&"x".repeat(1_000)));
        assert!(field.split("\r\n").all(|line| line.len() <= 78), "{field}");
    }

    #[test]
    fn long_fields_are_folded_and_no_line_is_blank() {
        for text in ["word ".repeat(50), "ä".repeat(250), "ä ".repeat(125), "\" ".repeat(125)] {
            for field in [to(&text), printed(subject(text.trim()))] {
                assert!(field.split("\r\n").all(|line| line.len() <= 78), "{field}");
                assert!(!field.contains("\r\n \r\n"), "{field}");
            }
        }
    }
}
