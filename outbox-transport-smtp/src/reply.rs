//! [`Reply`]: what a relay answers to one command.

/// One reply of a relay: its code and the text of each line (RFC 5321 section 4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    pub(crate) lines: Vec<String>,
}

/// A reply that cannot be read: from here on nobody can tell which reply belongs to which command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Garbled(pub(crate) &'static str);

/// Longer than any server's replies, short enough to bound what a broken one makes us hold.
const MAX_LINE: usize = 2_048;
const MAX_REPLY: usize = 64 * 1024;
const MAX_LINES: usize = 256;

impl Reply {
    /// Takes one whole reply off the front of `received`; `None` while its end has not arrived.
    pub(crate) fn take(received: &mut Vec<u8>) -> Result<Option<Self>, Garbled> {
        let mut reply: Option<Self> = None;
        let mut start = 0;
        while let Some(length) = received[start..].iter().position(|&byte| byte == b'\n') {
            let line = &received[start..start + length];
            start += length + 1;
            let line = Line::read(line.strip_suffix(b"\r").unwrap_or(line))?;
            let reply = reply.get_or_insert_with(|| Self { code: line.code, lines: Vec::new() });
            if reply.code != line.code {
                return Err(Garbled("its lines have different codes"));
            }
            if reply.lines.len() >= MAX_LINES || start > MAX_REPLY {
                return Err(Garbled("it is too long"));
            }
            reply.lines.push(line.text);
            if line.last {
                let whole = std::mem::replace(reply, Self { code: 0, lines: Vec::new() });
                received.drain(..start);
                return Ok(Some(whole));
            }
        }
        if received.len() - start > MAX_LINE || start > MAX_REPLY {
            return Err(Garbled("it is too long"));
        }
        Ok(None)
    }

    /// The text of all lines.
    pub(crate) fn text(&self) -> String {
        self.lines.join(" ")
    }

    /// The enhanced status code (RFC 3463) that the reply starts with, if its class fits the reply code.
    pub(crate) fn enhanced(&self) -> Option<&str> {
        let word = self.lines.first()?.split_ascii_whitespace().next()?;
        let mut parts = word.split('.');
        let class = parts.next()?.parse::<u16>().ok()?;
        let detail = |part: Option<&str>| {
            part.is_some_and(|part| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit()))
        };
        let whole = detail(parts.next()) && detail(parts.next()) && parts.next().is_none();
        (whole && class == self.code / 100).then_some(word)
    }
}

struct Line {
    code: u16,
    last: bool,
    text: String,
}

impl Line {
    /// `250-text`, `250 text` or a bare `250`; text that is not UTF-8 is kept as far as it can be read.
    fn read(line: &[u8]) -> Result<Self, Garbled> {
        if line.len() > MAX_LINE {
            return Err(Garbled("it is too long"));
        }
        let Some((digits, rest)) = line.split_at_checked(3) else {
            return Err(Garbled("a line has no reply code"));
        };
        if !digits.iter().all(u8::is_ascii_digit) || !(b'2'..=b'5').contains(&digits[0]) {
            return Err(Garbled("a line has no reply code"));
        }
        let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
        let (last, text) = match rest.split_first() {
            None => (true, rest),
            Some((b' ', text)) => (true, text),
            Some((b'-', text)) => (false, text),
            Some(_) => return Err(Garbled("a line has no reply code")),
        };
        Ok(Self { code, last, text: String::from_utf8_lossy(text).into_owned() })
    }
}

/// `text` without anything that looks like a mail address: replies quote the recipient, and errors are stored
/// and logged.
pub(crate) fn without_addresses(text: &str) -> String {
    let ends = |c: char| c.is_whitespace() || c.is_control() || "<>()[]{},;:\"'`=|".contains(c);
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('@') {
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        // A quoted local part may hold blanks: "two words"@example.org.
        let quoted = before.strip_suffix('"').and_then(|inside| inside.rfind('"'));
        let start = quoted.unwrap_or_else(|| before.rfind(ends).map_or(0, |end| next_char(before, end)));
        // A domain may be a literal: user@[192.0.2.1].
        let literal = after.strip_prefix('[').and_then(|inside| inside.find(']').map(|end| end + 2));
        let length = literal.unwrap_or_else(|| after.find(ends).unwrap_or(after.len()));
        clean.push_str(&before[..start]);
        clean.push_str("[address]");
        rest = &after[length..];
    }
    clean.push_str(rest);
    clean
}

fn next_char(text: &str, at: usize) -> usize {
    at + text[at..].chars().next().map_or(0, char::len_utf8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Result<Option<Reply>, Garbled> {
        Reply::take(&mut bytes.to_vec())
    }

    fn whole(bytes: &[u8]) -> Reply {
        read(bytes).expect("readable").expect("complete")
    }

    #[test]
    fn a_reply_may_have_one_line_many_lines_or_no_text() {
        assert_eq!(whole(b"250 ok\r\n"), Reply { code: 250, lines: vec!["ok".into()] });
        assert_eq!(whole(b"250\r\n"), Reply { code: 250, lines: vec![String::new()] });
        assert_eq!(whole(b"250-a\r\n250-\r\n250 c\r\n").lines, ["a", "", "c"]);
    }

    #[test]
    fn half_a_reply_is_no_reply() {
        for half in [&b""[..], b"25", b"250", b"250 ok", b"250 ok\r", b"250-ok\r\n", b"250-ok\r\n250"] {
            assert_eq!(read(half), Ok(None), "{:?}", String::from_utf8_lossy(half));
        }
    }

    #[test]
    fn what_follows_a_reply_is_left_in_place() {
        let mut received = b"354 go\r\n250 ok\r\n25".to_vec();
        assert_eq!(Reply::take(&mut received).expect("readable").expect("complete").code, 354);
        assert_eq!(received, b"250 ok\r\n25");
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        let bad: [&[u8]; 8] = [
            b"hello\r\n",
            b"\r\n",
            b"25 ok\r\n",
            b"250_ok\r\n",
            b"2500 ok\r\n",
            b"150 ok\r\n",
            b"650 ok\r\n",
            b"250-ok\r\n550 no\r\n",
        ];
        for bytes in bad {
            assert!(read(bytes).is_err(), "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn an_endless_line_and_an_endless_reply_are_cut_off() {
        assert!(read(&[b'2'; MAX_LINE + 1]).is_err());
        assert!(read("250-go on\r\n".repeat(MAX_LINES + 1).as_bytes()).is_err());
        let long = format!("250-{}\r\n", "x".repeat(2_000));
        assert!(read(long.repeat(MAX_REPLY / 2_000 + 1).as_bytes()).is_err());
    }

    #[test]
    fn an_enhanced_code_counts_only_where_its_class_fits() {
        assert_eq!(whole(b"550 5.1.1 no such user\r\n").enhanced(), Some("5.1.1"));
        assert_eq!(whole(b"550-5.7.25 a\r\n550 5.7.25 b\r\n").enhanced(), Some("5.7.25"));
        for other in
            [&b"550 4.1.1 x\r\n"[..], b"550 5.1 x\r\n", b"550 5.1.1.1 x\r\n", b"550 no\r\n", b"550\r\n"]
        {
            assert_eq!(whole(other).enhanced(), None, "{:?}", String::from_utf8_lossy(other));
        }
    }

    #[test]
    fn addresses_do_not_survive_in_texts() {
        let rows = [
            ("<guest@example.com>: no such user", "<[address]>: no such user"),
            ("5.1.1 guest@example.com unknown", "5.1.1 [address] unknown"),
            ("\"two words\"@example.com is unknown", "[address] is unknown"),
            ("to=<a@example.com>,<b@[192.0.2.1]> no", "to=<[address]>,<[address]> no"),
            ("grüße@exämple.org;x", "[address];x"),
            ("no address here", "no address here"),
            ("@", "[address]"),
            ("a@b@c", "[address]"),
        ];
        for (text, clean) in rows {
            assert_eq!(without_addresses(text), clean);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut received = bytes;
            while let Ok(Some(reply)) = Reply::take(&mut received) {
                prop_assert!((200..600).contains(&reply.code));
                let _ = reply.enhanced();
            }
        }

        #[test]
        fn no_text_keeps_an_at_sign(text in "[a-zé@\"<> \\[\\].]{0,40}") {
            prop_assert!(!without_addresses(&text).contains('@'));
        }
    }
}
