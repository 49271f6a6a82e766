//! [`dot_stuffed`]: the form in which a mail goes over the wire.

use crate::classify::Cause;

/// The mail as it goes over the wire, without the final dot: a line that begins with a dot gets another one, and
/// the last line ends (RFC 5321 section 4.5.2).
///
/// A line break that is not CRLF is refused: relays disagree on what ends a mail then, and a second one could be
/// smuggled in behind it.
pub(crate) fn dot_stuffed(mail: &[u8]) -> Result<Vec<u8>, Cause> {
    let refused = Cause::Unfit("the mail holds a line break that is not CRLF; render it again");
    let mut stuffed = Vec::with_capacity(mail.len() + mail.len() / 64 + 2);
    for line in mail.split_inclusive(|&byte| byte == b'\n') {
        let content = line.strip_suffix(b"\r\n").unwrap_or(line);
        if content.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
            return Err(refused);
        }
        if line.starts_with(b".") {
            stuffed.push(b'.');
        }
        stuffed.extend_from_slice(line);
    }
    if !stuffed.ends_with(b"\r\n") {
        stuffed.extend_from_slice(b"\r\n");
    }
    Ok(stuffed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_at_the_start_of_a_line_are_doubled_and_nothing_else_changes() {
        let rows: [(&[u8], &[u8]); 6] = [
            (b"a\r\n.\r\nb\r\n", b"a\r\n..\r\nb\r\n"),
            (b".a\r\n..b\r\n", b"..a\r\n...b\r\n"),
            (b"a.b\r\nc.\r\n", b"a.b\r\nc.\r\n"),
            (b"no end", b"no end\r\n"),
            (b"a\r\n\r\n", b"a\r\n\r\n"),
            (b"", b"\r\n"),
        ];
        for (mail, wire) in rows {
            assert_eq!(dot_stuffed(mail).as_deref(), Ok(wire), "{:?}", String::from_utf8_lossy(mail));
        }
    }

    #[test]
    fn a_mail_with_a_bare_line_break_is_refused() {
        for mail in [&b"a\n.\r\nb"[..], b"a\r.\r\n", b"\n", b"a\r", b"a\r\r\n"] {
            assert!(dot_stuffed(mail).is_err(), "{:?}", String::from_utf8_lossy(mail));
        }
    }
}
