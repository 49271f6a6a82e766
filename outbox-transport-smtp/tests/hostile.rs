//! Whatever people type, a mail has the headers and parts it should have, a calendar the properties, and the values
//! come back as they went in.

mod strict_ics;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use mail_parser::{MessageParser, MimeHeaders};
use outbox_core::MessageId;
use outbox_transport_smtp::{CalendarInvite, EmailMessage, MailError, Mailbox};
use proptest::prelude::*;

const UID: &str = "0197f7a2-7a1c-7c3e-9d0b-2f8f5f6b1c11@example.org";
const ID: &str = "0197f7a2-aaaa-7c3e-9d0b-2f8f5f6b1c22";

/// What people type into one booking.
#[derive(Debug, Clone)]
struct Typed {
    name: String,
    subject: String,
    summary: String,
    location: String,
    notes: String,
    text: String,
    html: Option<String>,
    alarms: Vec<u64>,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_is_typed_adds_a_header_a_part_or_a_property(typed in typed(wild())) {
        match rendered(&typed) {
            Ok((invite, mail)) => verify(&typed, &invite, &mail),
            Err(error) => prop_assert!(may_be_refused(&typed, &error), "refused for nothing: {error}"),
        }
    }

    #[test]
    fn texts_without_control_characters_are_taken_and_come_back(typed in typed(printable())) {
        let typed = Typed {
            name: typed.name.chars().take(Mailbox::MAX_NAME).collect(),
            subject: format!("s{}", typed.subject),
            summary: format!("s{}", typed.summary),
            text: format!("t{}", typed.text),
            ..typed
        };
        let (invite, mail) = rendered(&typed).expect("nothing to refuse");
        verify(&typed, &invite, &mail);
    }

    #[test]
    fn an_address_is_refused_or_goes_out_as_it_is(address in address()) {
        let Ok(guest) = Mailbox::new(&address) else { return Ok(()) };
        let typed = Typed { name: String::new(), ..simple() };
        let (invite, mail) = render(&typed, &guest).expect("nothing to refuse");
        let mail = MessageParser::default().parse(&mail).expect("a mail");
        let to: Vec<_> = mail.to().expect("a recipient").iter().map(|to| (to.name(), to.address())).collect();
        let plain = guest.address().to_string();
        prop_assert_eq!(to, [(None, Some(plain.as_str()))]);
        let calendar = strict_ics::read(invite.to_ics().as_bytes());
        let uri = calendar.children[0].raw("ATTENDEE").strip_prefix("mailto:").map(percent_decoded);
        prop_assert_eq!(uri, Some(plain));
    }

    #[test]
    fn addresses_of_the_plain_form_are_taken(local in "[a-z0-9!#$%&'*+/=?^_`{|}~-]{1,30}(\\.[a-z0-9_-]{1,20}){0,1}", domain in "[a-z0-9]{1,20}(-[a-z0-9]{1,5})?(\\.[a-z]{2,10}){0,3}") {
        prop_assume!(!(local.contains("=?") && local.contains("?=")), "looks like an encoded word");
        let address = format!("{local}@{domain}");
        let guest = Mailbox::new(&address).expect("a plain address");
        prop_assert_eq!(guest.address().to_string(), address);
    }
}

#[test]
fn ten_thousand_of_a_kind_are_taken_where_a_text_may_be_long() {
    for piece in ["x", " ", "ä", "📅", "\n", ",", "\\", "\"", "=", "\u{202e}ab ", "漢"] {
        let long = format!("a{}b", piece.repeat(10_000 / piece.chars().count()));
        let typed = Typed { notes: long.clone(), text: long.clone(), html: Some(long), ..simple() };
        let (invite, mail) = rendered(&typed).unwrap_or_else(|error| panic!("{piece:?}: {error}"));
        verify(&typed, &invite, &mail);
    }
}

#[test]
fn ten_thousand_characters_are_refused_where_a_text_is_one_line() {
    let long = "x".repeat(10_000);
    let refused = [
        Typed { name: long.clone(), ..simple() },
        Typed { subject: long.clone(), ..simple() },
        Typed { summary: long.clone(), ..simple() },
        Typed { location: long, ..simple() },
    ];
    for typed in refused {
        assert!(matches!(rendered(&typed), Err(MailError::TooLong { length: 10_000, .. })));
    }
}

/// Judges mail and calendar with readers that are not the code under test.
fn verify(typed: &Typed, invite: &CalendarInvite, mail: &[u8]) {
    for line in mail.split(|octet| *octet == b'\n') {
        assert!(line.len() <= 999 && line.is_ascii() && !line.contains(&0));
        assert!(line.is_empty() || line.ends_with(b"\r"), "a bare LF");
        assert!(line.iter().filter(|octet| **octet == b'\r').count() <= 1, "a bare CR");
    }

    let mail = MessageParser::default().parse(mail).expect("a mail");
    let headers: Vec<&str> = mail.headers().iter().map(|header| header.name()).collect();
    let expected =
        ["Date", "Message-ID", "From", "To", "Subject", "Outbox-Message-Id", "MIME-Version", "Content-Type"];
    assert_eq!(headers, expected);
    assert_eq!(mail.subject(), Some(one_line(&typed.subject).as_str()));
    let to: Vec<_> = mail.to().expect("a recipient").iter().collect();
    let [to] = to[..] else { panic!("{} recipients", to.len()) };
    assert_eq!(
        (to.name().unwrap_or_default(), to.address()),
        (one_line(&typed.name).as_str(), Some("anna@example.com"))
    );

    let types: Vec<String> = mail.parts.iter().map(content_type).collect();
    let html = typed.html.iter().map(|_| "text/html");
    let expected = ["multipart/mixed", "multipart/alternative", "text/plain"].into_iter().chain(html);
    let expected: Vec<&str> = expected.chain(["text/calendar", "application/ics"]).collect();
    assert_eq!(types, expected);
    let contents: Vec<&str> = mail.parts.iter().filter_map(|part| part.text_contents()).collect();
    assert_eq!(contents[0], lines(&typed.text).replace('\n', "\r\n"));
    if let Some(html) = &typed.html {
        assert_eq!(contents[1], lines(html).replace('\n', "\r\n"));
    }
    let calendars = &mail.parts[mail.parts.len() - 2..];
    assert!(calendars.iter().all(|part| part.contents() == invite.to_ics().as_bytes()));

    let calendar = strict_ics::read(invite.to_ics().as_bytes());
    assert_eq!(calendar.names(), ["CALSCALE", "METHOD", "PRODID", "VERSION"]);
    let [event] = &calendar.children[..] else { panic!("{} components", calendar.children.len()) };
    let mut expected = vec![
        "ATTENDEE",
        "CREATED",
        "DTEND",
        "DTSTAMP",
        "DTSTART",
        "LAST-MODIFIED",
        "ORGANIZER",
        "SEQUENCE",
        "STATUS",
        "SUMMARY",
        "TRANSP",
        "UID",
    ];
    expected.extend((!lines(&typed.notes).is_empty()).then_some("DESCRIPTION"));
    expected.extend((!one_line(&typed.location).is_empty()).then_some("LOCATION"));
    expected.sort_unstable();
    assert_eq!(event.names(), expected);
    assert_eq!(event.text("SUMMARY"), one_line(&typed.summary));
    assert_eq!(event.text("LOCATION"), one_line(&typed.location));
    assert_eq!(event.text("DESCRIPTION"), lines(&typed.notes));
    assert_eq!(event.raw("ATTENDEE"), "mailto:anna@example.com");
    assert_eq!(event.raw("ORGANIZER"), "mailto:studio@example.org");
    let attendee = event.property("ATTENDEE");
    assert_eq!(attendee.parameter("CN").unwrap_or_default(), one_line(&typed.name).replace('\\', "/"));
    assert_eq!(attendee.parameters.len(), 4 + usize::from(!one_line(&typed.name).is_empty()));
    assert_eq!(event.children.len(), BTreeSet::from_iter(&typed.alarms).len());
    for alarm in &event.children {
        assert_eq!(alarm.names(), ["ACTION", "DESCRIPTION", "DTSTAMP", "TRIGGER", "UID"]);
    }
}

/// Only for what the documentation says is refused.
fn may_be_refused(typed: &Typed, error: &MailError) -> bool {
    let value = |field| match field {
        "name" => &typed.name,
        "subject" => &typed.subject,
        "summary" => &typed.summary,
        "location" => &typed.location,
        "description" => &typed.notes,
        "text" => &typed.text,
        "html" => typed.html.as_ref().expect("given"),
        other => panic!("unknown field {other}"),
    };
    match error {
        MailError::ControlCharacter { field } => value(field).chars().any(char::is_control),
        MailError::TooLong { field, .. } => {
            value(field).chars().count() > if *field == "name" { 255 } else { 1_000 }
        }
        MailError::Missing { field } => value(field).trim().is_empty() || one_line(value(field)).is_empty(),
        _ => false,
    }
}

fn rendered(typed: &Typed) -> Result<(CalendarInvite, Vec<u8>), MailError> {
    render(typed, &Mailbox::new("anna@example.com")?)
}

fn render(typed: &Typed, guest: &Mailbox) -> Result<(CalendarInvite, Vec<u8>), MailError> {
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let mut invite = CalendarInvite::request(UID)
        .organizer(Mailbox::new("studio@example.org")?.named("The studio")?)
        .attendee(guest.clone().named(&typed.name)?)
        .time(at, at + Duration::from_secs(1800))
        .stamp(at)
        .summary(&typed.summary)
        .location(&typed.location)
        .description(&typed.notes);
    for minutes in &typed.alarms {
        invite = invite.alarm(Duration::from_secs(minutes * 60));
    }
    let invite = invite.build()?;
    let mut mail =
        EmailMessage::invitation(invite.clone()).subject(&typed.subject).text(&typed.text).date(at);
    if let Some(html) = &typed.html {
        mail = mail.html(html);
    }
    let id: MessageId = ID.parse().expect("an id");
    Ok((invite, mail.build()?.render(id)?.bytes.to_vec()))
}

fn simple() -> Typed {
    let plain = || "plain".to_owned();
    Typed {
        name: plain(),
        subject: plain(),
        summary: plain(),
        location: plain(),
        notes: plain(),
        text: plain(),
        html: None,
        alarms: Vec::new(),
    }
}

/// The documented form of a text of one line.
fn one_line(text: &str) -> String {
    let white = |c| " \t\u{a0}\u{1680}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}".contains(c);
    let mut tidy = text.replace(|c| white(c) || ('\u{2000}'..='\u{200a}').contains(&c), " ");
    while tidy.contains("  ") {
        tidy = tidy.replace("  ", " ");
    }
    tidy.trim_matches(' ').to_owned()
}

/// The documented form of a text of several lines.
fn lines(text: &str) -> String {
    text.replace("\r\n", "\n").replace(['\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}'], "\n")
}

fn content_type(part: &mail_parser::MessagePart<'_>) -> String {
    let content_type = part.content_type().expect("a content type");
    format!("{}/{}", content_type.ctype(), content_type.subtype().unwrap_or_default())
}

fn percent_decoded(uri: &str) -> String {
    let mut pieces = uri.split('%');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        text.push(char::from(u8::from_str_radix(&piece[..2], 16).expect("two digits")));
        text.push_str(&piece[2..]);
    }
    text
}

fn typed(text: impl Strategy<Value = String> + Clone + 'static) -> impl Strategy<Value = Typed> {
    let one = || text.clone();
    let alarms = prop::collection::vec(0..10_000_u64, 0..3);
    (one(), one(), one(), one(), one(), one(), prop::option::of(one()), alarms).prop_map(
        |(name, subject, summary, location, notes, text, html, alarms)| Typed {
            name,
            subject,
            summary,
            location,
            notes,
            text,
            html,
            alarms,
        },
    )
}

/// Pieces that mean something to one of the formats, and any characters at all.
fn wild() -> BoxedStrategy<String> {
    let breaks = prop::sample::select(vec![
        "\r\n", "\n", "\r", "\0", "\u{b}", "\u{85}", "\u{1b}", "\u{7f}", "\r\n\r\n",
    ]);
    let piece = prop_oneof![2 => breaks.prop_map(str::to_owned), 8 => piece(), 1 => any::<char>().prop_map(String::from)];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat()).boxed()
}

/// The same without control characters.
fn printable() -> BoxedStrategy<String> {
    let any = any::<char>().prop_filter("a control character", |c| !c.is_control()).prop_map(String::from);
    let piece = prop_oneof![6 => piece(), 2 => any];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat()).boxed()
}

fn piece() -> impl Strategy<Value = String> + Clone {
    let telling = prop::sample::select(vec![
        "\"",
        ";",
        ":",
        ",",
        "\\",
        "\\n",
        "^",
        "^n",
        "^'",
        "=",
        "=3D",
        "%0D%0A",
        " ",
        "  ",
        "\t",
        ".",
        "(",
        ")",
        "<",
        ">",
        "@",
        "\u{2028}",
        "\u{2029}",
        "\u{a0}",
        "\u{3000}",
        "\u{feff}",
        "\u{202e}",
        "\u{200b}",
        "مرحبا",
        "שלום",
        "📅",
        "👩‍👩‍👧",
        "ä",
        "e\u{301}",
        "漢字",
        "=?utf-8?q?x?=",
        "=?",
        "?=",
        "Bcc: b@example.com",
        "X-EVIL:1",
        "BEGIN:VEVENT",
        "END:VCALENDAR",
        "ATTENDEE:mailto:b@example.com",
        "--",
        "--=_0197f7a2aaaa7c3e9d0b2f8f5f6b1c22_0--",
        "From ",
        "Content-Type: text/html",
        "b@example.com",
        "Anna Berg",
    ]);
    let long = (1..25_usize, prop::sample::select(vec!["x", "ä", "📅", "word ", "漢"]));
    prop_oneof![6 => telling.prop_map(str::to_owned), 1 => long.prop_map(|(n, text)| text.repeat(n))]
}

fn address() -> impl Strategy<Value = String> {
    let pieces = prop::collection::vec(piece(), 0..3).prop_map(|pieces| pieces.concat());
    let dressed = (wild(), "[a-z.+_%/?#&=^`{|}~-]{0,12}", pieces.clone())
        .prop_map(|(a, b, c)| format!("{b}{a}@{c}example.org"));
    prop_oneof![
        "[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]{1,20}@[a-z0-9.-]{1,20}",
        "[a-z]{1,8}@[a-zäöüß漢字.]{1,12}",
        dressed,
        (pieces.clone(), pieces).prop_map(|(a, b)| format!("{a}@{b}")),
    ]
}
