//! A mail as bytes (RFC 5322, RFC 2045), with an invitation as RFC 6047 wants it.

use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Body, MultiPart, MultiPartBuilder, SinglePart};
use outbox_core::MessageId;

use crate::{CalendarInvite, EmailMessage, MailError, header};

/// Renders `email`; the same mail and id give the same bytes.
///
/// ```text
/// multipart/mixed
///   multipart/alternative        plain, html, calendar: the richest last
///     text/plain
///     text/html
///     text/calendar; method=…    without Content-Disposition, or programs take it for a mere file
///   application/ics              the same bytes as a file, for programs that know no invitations
/// ```
///
/// Without an invitation it is the alternative alone, or just the text.
pub(crate) fn render(email: &EmailMessage, id: MessageId) -> Result<Vec<u8>, MailError> {
    let mailbox =
        |name, mailbox| header::mailbox(name, mailbox).map_err(|_| malformed("a name cannot be encoded"));
    let builder = lettre::Message::builder()
        .date(email.date)
        .message_id(Some(format!("<{id}@{}>", email.from.address().domain())))
        .raw_header(mailbox("From", &email.from)?)
        .raw_header(mailbox("To", &email.to)?)
        .raw_header(header::subject(&email.subject).map_err(|_| malformed("the subject cannot be encoded"))?)
        // Some relays replace Message-ID; receivers that deduplicate need a name of the message that stays.
        .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Outbox-Message-Id"), id.to_string()));
    let builder = match &email.reply_to {
        Some(reply_to) => builder.raw_header(mailbox("Reply-To", reply_to)?),
        None => builder,
    };
    let text = text_part(ContentType::TEXT_PLAIN, &email.text)?;
    let html = email.html.as_ref().map(|html| text_part(ContentType::TEXT_HTML, html)).transpose()?;
    let message = match (html, &email.invite) {
        (None, None) => builder.singlepart(text),
        (Some(html), None) => {
            builder.multipart(boundary(MultiPart::alternative(), id, 1).singlepart(text).singlepart(html))
        }
        (html, Some(invite)) => {
            let mut alternative = boundary(MultiPart::alternative(), id, 1).singlepart(text);
            if let Some(html) = html {
                alternative = alternative.singlepart(html);
            }
            let alternative = alternative.singlepart(calendar(invite)?);
            builder.multipart(
                boundary(MultiPart::mixed(), id, 0).multipart(alternative).singlepart(file(invite)?),
            )
        }
    };
    let bytes = message.map_err(|_| malformed("a header is missing"))?.formatted();
    check(&bytes).map_err(malformed)?;
    Ok(bytes)
}

/// Quoted-printable or base64, whichever is shorter. Never 7bit, in which a body could hold a boundary.
fn text_part(content_type: ContentType, text: &str) -> Result<SinglePart, MailError> {
    let text = text.replace('\n', "\r\n");
    let mut body = Body::new(text.clone());
    if body.encoding() == ContentTransferEncoding::SevenBit {
        body = Body::new_with_encoding(text, ContentTransferEncoding::QuotedPrintable)
            .map_err(|_| malformed("a text cannot be encoded"))?;
    }
    Ok(SinglePart::builder().header(content_type).body(body))
}

fn calendar(invite: &CalendarInvite) -> Result<SinglePart, MailError> {
    let content_type = content_type(&format!("text/calendar; method={}; charset=UTF-8", invite.method()))?;
    Ok(SinglePart::builder().header(content_type).body(base64(invite)?))
}

fn file(invite: &CalendarInvite) -> Result<SinglePart, MailError> {
    let content_type = content_type("application/ics; name=\"invite.ics\"")?;
    Ok(Attachment::new("invite.ics".to_owned()).body(base64(invite)?, content_type))
}

/// Base64 keeps the line ends inside the calendar, whatever relays do to lines.
fn base64(invite: &CalendarInvite) -> Result<Body, MailError> {
    Body::new_with_encoding(invite.to_ics().as_bytes().to_vec(), ContentTransferEncoding::Base64)
        .map_err(|_| malformed("the calendar cannot be encoded"))
}

fn content_type(text: &str) -> Result<ContentType, MailError> {
    ContentType::parse(text).map_err(|_| malformed("a content type cannot be written"))
}

/// Derived from the id, so that it is the same every time; `=_` occurs in no encoded body
/// (RFC 2045 6.7).
fn boundary(builder: MultiPartBuilder, id: MessageId, level: u8) -> MultiPart {
    builder.boundary(format!("=_{}_{level}", id.as_uuid().simple())).build()
}

/// What SMTP carries everywhere (RFC 5321 4.5.3.1.6, RFC 5322 2.3): ASCII, lines of at most 998 octets ended by CRLF.
fn check(mail: &[u8]) -> Result<(), &'static str> {
    if mail.iter().any(|octet| *octet == 0 || !octet.is_ascii()) {
        return Err("it is not 7-bit text");
    }
    let text = mail.strip_suffix(b"\r\n").ok_or("it does not end with a line break")?;
    let mut rest = text;
    loop {
        let end = rest.iter().position(|octet| matches!(octet, b'\r' | b'\n')).unwrap_or(rest.len());
        if end > 998 {
            return Err("a line is longer than 998 octets");
        }
        rest = match &rest[end..] {
            [] => return Ok(()),
            [b'\r', b'\n', next @ ..] => next,
            _ => return Err("it holds a bare CR or LF"),
        };
    }
}

const fn malformed(flaw: &'static str) -> MailError {
    MailError::Malformed { what: "mail", flaw }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_takes_what_smtp_carries() {
        for good in ["\r\n", "Subject: x\r\n\r\nbody\r\n", &format!("{}\r\n", "x".repeat(998))] {
            assert_eq!(check(good.as_bytes()), Ok(()), "{good:?}");
        }
    }

    #[test]
    fn the_check_refuses_what_smtp_does_not_carry() {
        let long = format!("{}\r\n", "x".repeat(999));
        for bad in ["", "x", "a\nb\r\n", "a\rb\r\n", "a\r\r\n", "\0\r\n", "\u{e4}\r\n", &long] {
            assert!(check(bad.as_bytes()).is_err(), "{bad:?} was accepted");
        }
    }
}
