//! A small reader of iCalendar that forgives nothing, written apart from the code that it judges.

#![allow(dead_code)] // each test file uses its part

/// A component: `VCALENDAR`, `VEVENT` or `VALARM`.
#[derive(Debug, Default)]
pub(crate) struct Component {
    pub(crate) name: String,
    pub(crate) properties: Vec<Property>,
    pub(crate) children: Vec<Component>,
}

/// A property with its parameters.
#[derive(Debug)]
pub(crate) struct Property {
    pub(crate) name: String,
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) value: String,
}

impl Component {
    /// The names of the properties, sorted.
    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.properties.iter().map(|property| property.name.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// The one property of this name.
    pub(crate) fn property(&self, name: &str) -> &Property {
        let mut found = self.properties.iter().filter(|property| property.name == name);
        let property = found.next().unwrap_or_else(|| panic!("no {name} in {}", self.name));
        assert!(found.next().is_none(), "two {name} in {}", self.name);
        property
    }

    /// The value of the one property of this name, as it stands.
    pub(crate) fn raw(&self, name: &str) -> &str {
        &self.property(name).value
    }

    /// The TEXT value of the one property of this name, or nothing when there is none.
    pub(crate) fn text(&self, name: &str) -> String {
        if self.properties.iter().any(|property| property.name == name) {
            unescape(self.raw(name))
        } else {
            String::new()
        }
    }
}

impl Property {
    /// The value of a parameter, decoded after RFC 6868.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        let raw = &self.parameters.iter().find(|(parameter, _)| parameter == name)?.1;
        let mut decoded = String::new();
        let mut chars = raw.chars();
        while let Some(c) = chars.next() {
            decoded.push(match c {
                '^' => match chars.next() {
                    Some('^') => '^',
                    Some('\'') => '"',
                    Some('n') => '\n',
                    other => panic!("^{other:?} in a parameter"),
                },
                c => c,
            });
        }
        Some(decoded)
    }
}

/// Reads one calendar; panics with the reason at whatever RFC 5545 does not allow.
pub(crate) fn read(ics: &[u8]) -> Component {
    let ics = ics.strip_suffix(b"\r\n").expect("no CRLF at the end");
    let mut lines: Vec<String> = Vec::new();
    for physical in split_crlf(ics) {
        assert!(physical.len() <= 75, "a line of {} octets", physical.len());
        let physical = std::str::from_utf8(physical).expect("a fold inside a character");
        assert!(
            !physical.chars().any(|c| c.is_control() && c != '\t'),
            "a control character in {physical:?}"
        );
        match physical.strip_prefix(' ') {
            Some(rest) => lines.last_mut().expect("a continuation at the start").push_str(rest),
            None => lines.push(physical.to_owned()),
        }
    }
    let mut open: Vec<Component> = vec![Component::default()];
    for line in lines {
        let property = content_line(&line);
        match property.name.as_str() {
            "BEGIN" => open.push(Component { name: property.value, ..Component::default() }),
            "END" => {
                let closed = open.pop().expect("an END too many");
                assert_eq!(closed.name, property.value, "components are not nested");
                open.last_mut().expect("an END too many").children.push(closed);
            }
            _ => open.last_mut().expect("a property outside").properties.push(property),
        }
    }
    let root = open.pop().expect("an END too many");
    assert!(open.is_empty(), "{} is not closed", root.name);
    assert!(root.properties.is_empty(), "a property outside of the calendar");
    let [calendar] = <[Component; 1]>::try_from(root.children).expect("exactly one calendar");
    assert_eq!(calendar.name, "VCALENDAR");
    calendar
}

fn split_crlf(text: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    let mut start = 0;
    for i in 0..text.len() {
        match text[i] {
            b'\n' => {
                assert!(i > 0 && text[i - 1] == b'\r', "a bare LF");
                lines.push(&text[start..i - 1]);
                start = i + 1;
            }
            b'\r' => assert_eq!(text.get(i + 1), Some(&b'\n'), "a bare CR"),
            _ => {}
        }
    }
    lines.push(&text[start..]);
    lines
}

fn content_line(line: &str) -> Property {
    let mut chars = line.chars().peekable();
    let mut take_name = || {
        let mut name = String::new();
        while let Some(c) = chars.next_if(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || *c == '-') {
            name.push(c);
        }
        assert!(!name.is_empty(), "no name in {line:?}");
        name
    };
    let name = take_name();
    let mut parameters = Vec::new();
    while chars.next_if_eq(&';').is_some() {
        let mut parameter = String::new();
        while let Some(c) = chars.next_if(|c| c.is_ascii_uppercase() || *c == '-') {
            parameter.push(c);
        }
        assert!(!parameter.is_empty() && chars.next() == Some('='), "a broken parameter in {line:?}");
        let mut value = String::new();
        if chars.next_if_eq(&'"').is_some() {
            while let Some(c) = chars.next_if(|c| *c != '"') {
                value.push(c);
            }
            assert_eq!(chars.next(), Some('"'), "an open quote in {line:?}");
        } else {
            while let Some(c) = chars.next_if(|c| !";:,\"".contains(*c)) {
                value.push(c);
            }
        }
        parameters.push((parameter, value));
    }
    assert_eq!(chars.next(), Some(':'), "no value in {line:?}");
    Property { name, parameters, value: chars.collect() }
}

/// A TEXT value (RFC 5545 3.3.11).
fn unescape(value: &str) -> String {
    let mut text = String::new();
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        text.push(match c {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some(c @ ('\\' | ';' | ',')) => c,
                other => panic!("\\{other:?} in a text"),
            },
            ';' | ',' => panic!("a bare {c} in a text"),
            c => c,
        });
    }
    text
}
