//! Content lines of iCalendar (RFC 5545 3.1): folding, parameter values, and the check of a finished calendar.

use crate::MailError;

/// The longest line in octets, without its CRLF.
const MAX_OCTETS: usize = 75;

/// Brings what the calendar crate printed into strict form: folded at 75 octets, and checked to hold exactly
/// `properties` properties. Values that were put in hold no CR or LF, so every CRLF and space is a fold.
pub(crate) fn finish(printed: &str, properties: usize) -> Result<String, MailError> {
    let mut calendar = String::with_capacity(printed.len() + printed.len() / 16);
    for line in printed.replace("\r\n ", "").split_terminator("\r\n") {
        fold_into(&mut calendar, line);
    }
    check(&calendar, properties).map_err(|flaw| MailError::Malformed { what: "calendar", flaw })?;
    Ok(calendar)
}

/// A parameter value in quotes, in the encoding of RFC 6868, which gives `"` and `^` a form that no parser trips over.
/// A backslash becomes a slash: it means nothing there, but widespread readers take it for an escape, even of the
/// closing quote. The quotes are there for readers that stumble over other characters.
pub(crate) fn parameter(value: &str) -> String {
    format!("\"{}\"", value.replace('^', "^^").replace('"', "^'").replace('\n', "^n").replace('\\', "/"))
}

/// Appends `line` with CRLF, cut into pieces of at most 75 octets and never inside a character.
fn fold_into(out: &mut String, line: &str) {
    let mut octets = 0;
    for c in line.chars() {
        if octets + c.len_utf8() > MAX_OCTETS {
            out.push_str("\r\n ");
            octets = 1;
        }
        out.push(c);
        octets += c.len_utf8();
    }
    out.push_str("\r\n");
}

/// Reads a finished calendar the way a receiver does and answers what is wrong with it.
fn check(calendar: &str, properties: usize) -> Result<(), &'static str> {
    if calendar.chars().any(|c| c.is_control() && !matches!(c, '\r' | '\n' | '\t')) {
        return Err("it holds a control character");
    }
    let text = calendar.strip_suffix("\r\n").ok_or("it does not end with a line break")?;
    if text.split("\r\n").any(|line| line.len() > MAX_OCTETS) {
        return Err("a line is longer than 75 octets");
    }
    let unfolded = text.replace("\r\n ", "");
    if unfolded.split("\r\n").any(|line| line.contains(['\r', '\n'])) {
        return Err("it holds a bare CR or LF");
    }
    let mut open = Vec::new();
    let mut found = 0;
    for line in unfolded.split("\r\n") {
        match name_and_value(line).ok_or("a line is not of the form NAME;PARAMETER=VALUE:VALUE")? {
            ("BEGIN", component) => open.push(component),
            ("END", component) if open.pop() == Some(component) => {}
            ("END", _) => return Err("its components are not nested"),
            _ if open.is_empty() => return Err("a property stands outside the calendar"),
            _ => found += 1,
        }
    }
    match open.is_empty() && found == properties {
        true => Ok(()),
        false => Err("it holds other properties than were put in"),
    }
}

/// Takes a line apart after the grammar of RFC 5545 3.1.
fn name_and_value(line: &str) -> Option<(&str, &str)> {
    let token = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let (name, mut rest) = line.split_at(line.find([':', ';'])?);
    if !token(name) {
        return None;
    }
    while let Some(after) = rest.strip_prefix(';') {
        let (parameter, value) = after.split_once('=')?;
        if !token(parameter) {
            return None;
        }
        rest = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?.1,
            None => value.split_at(value.find([':', ';'])?).1,
        };
        let unquoted = &value[..value.len() - rest.len()];
        if !value.starts_with('"') && unquoted.contains(['"', ',']) {
            return None;
        }
    }
    Some((name, rest.strip_prefix(':')?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(line: &str) -> String {
        let mut out = String::new();
        fold_into(&mut out, line);
        out
    }

    #[test]
    fn a_line_of_75_octets_is_not_folded() {
        let line = "x".repeat(75);
        assert_eq!(folded(&line), format!("{line}\r\n"));
    }

    #[test]
    fn a_line_of_76_octets_is_folded_once() {
        assert_eq!(folded(&"x".repeat(76)), format!("{}\r\n x\r\n", "x".repeat(75)));
    }

    #[test]
    fn a_fold_never_cuts_a_character_and_unfolding_restores_the_line() {
        for shift in 0..8 {
            let line = format!("{}{}", "x".repeat(shift), "a\u{fc}\u{20ac}\u{1f4c5} ".repeat(60));
            let folded = folded(&line);
            assert!(folded.split("\r\n").all(|line| line.len() <= 75));
            assert_eq!(folded.replace("\r\n ", ""), format!("{line}\r\n"));
        }
    }

    #[test]
    fn quotes_carets_and_line_breaks_in_parameters_are_encoded() {
        assert_eq!(parameter("a \"b\" ^c\nd"), "\"a ^'b^' ^^c^nd\"");
    }

    #[test]
    fn a_backslash_in_a_parameter_cannot_escape_its_quote() {
        assert_eq!(parameter("a;\\"), "\"a;/\"");
    }

    const GOOD: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\n\
        ATTENDEE;CN=\"Berg, Anna\";RSVP=TRUE:mailto:anna@example.org\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";

    #[test]
    fn the_check_takes_a_good_calendar() {
        assert_eq!(check(GOOD, 2), Ok(()));
    }

    #[test]
    fn the_check_refuses_what_is_odd() {
        let long = "x".repeat(75);
        let odd = [
            ("an injected property", GOOD.replace("2.0", "2.0\r\nX-EVIL:1")),
            ("a bare LF", GOOD.replace("2.0", "2.0\nX-EVIL:1")),
            ("a bare CR", GOOD.replace("2.0", "2.0\rX-EVIL:1")),
            ("a control character", GOOD.replace("2.0", "2.0\0")),
            ("a long line", GOOD.replace("2.0", &long)),
            ("a line without a value", GOOD.replace("VERSION:2.0", "VERSION")),
            ("an empty line", GOOD.replace("2.0", "2.0\r\n")),
            ("a name with a space", GOOD.replace("VERSION", "VER SION")),
            ("an open quote", GOOD.replace("Anna\"", "Anna")),
            ("a quote inside a parameter", GOOD.replace("RSVP=TRUE", "RSVP=TR\"UE")),
            ("a second value in a parameter", GOOD.replace("RSVP=TRUE", "RSVP=TRUE,FALSE")),
            ("text after a quote", GOOD.replace("Anna\"", "Anna\"x")),
            ("an unclosed component", GOOD.replace("END:VEVENT\r\n", "")),
            ("crossed components", GOOD.replace("END:VEVENT", "END:VTODO")),
            ("a missing property", GOOD.replace("VERSION:2.0\r\n", "")),
            ("a property outside", format!("{GOOD}VERSION:2.0\r\n").replacen("VERSION:2.0\r\n", "", 1)),
            ("no line break at the end", GOOD.trim_end().to_owned()),
        ];
        for (what, calendar) in odd {
            assert!(check(&calendar, 2).is_err(), "{what} was accepted");
        }
    }
}
