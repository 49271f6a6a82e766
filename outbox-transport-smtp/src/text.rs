//! What texts of people may hold, and the one form in which they go on.

use crate::MailError;

/// A text of one line: runs of white space, Unicode's among it, become one space, none at the ends. Control
/// characters are refused, and with them every line break that a receiver could take for one.
pub(crate) fn one_line(field: &'static str, text: &str, limit: usize) -> Result<String, MailError> {
    within(field, text, limit)?;
    if text.chars().any(|c| c.is_control() && c != '\t') {
        return Err(MailError::ControlCharacter { field });
    }
    Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// A text of several lines: line breaks of every kind (those of UAX #14: CRLF, CR, LF, VT, FF, NEL, LS, PS) become
/// LF. Other control characters than tab are refused.
pub(crate) fn lines(field: &'static str, text: &str, limit: usize) -> Result<String, MailError> {
    within(field, text, limit)?;
    let mut plain = String::with_capacity(text.len());
    let mut after_cr = false;
    for c in text.chars() {
        match c {
            '\n' if after_cr => {}
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => plain.push('\n'),
            '\t' => plain.push('\t'),
            c if c.is_control() => return Err(MailError::ControlCharacter { field }),
            c => plain.push(c),
        }
        after_cr = c == '\r';
    }
    Ok(plain)
}

fn within(field: &'static str, text: &str, limit: usize) -> Result<(), MailError> {
    let length = text.chars().count();
    if length > limit { Err(MailError::TooLong { field, length, limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_in_one_line_becomes_one_space() {
        assert_eq!(one_line("name", "  Anna \t\u{2028}\u{a0} Berg\u{3000}", 99).expect("valid"), "Anna Berg");
    }

    #[test]
    fn a_line_break_in_one_line_is_refused() {
        for text in ["a\nb", "a\rb", "a\r\nBcc: b", "a\u{85}b", "a\0b", "a\u{b}b"] {
            let refused =
                matches!(one_line("name", text, 99), Err(MailError::ControlCharacter { field: "name" }));
            assert!(refused, "{text:?} was accepted");
        }
    }

    #[test]
    fn every_kind_of_line_break_becomes_lf() {
        let text = "1\r\n2\r3\n4\u{b}5\u{c}6\u{85}7\u{2028}8\u{2029}9\r\r\n\n";
        assert_eq!(lines("text", text, 99).expect("valid"), "1\n2\n3\n4\n5\n6\n7\n8\n9\n\n\n");
    }

    #[test]
    fn other_control_characters_are_refused() {
        for text in ["a\0b", "\u{1b}[2J", "a\u{7f}", "a\u{9b}"] {
            let refused =
                matches!(lines("text", text, 99), Err(MailError::ControlCharacter { field: "text" }));
            assert!(refused, "{text:?} was accepted");
        }
    }

    #[test]
    fn the_limit_counts_characters() {
        assert!(one_line("name", "äöü", 3).is_ok());
        assert!(matches!(one_line("name", "äöüß", 3), Err(MailError::TooLong { length: 4, limit: 3, .. })));
    }
}
