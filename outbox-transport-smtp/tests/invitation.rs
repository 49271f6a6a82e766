//! What an invitation and a mail look like, to the byte.

mod strict_ics;

use std::time::{Duration, SystemTime};

use mail_parser::{MessageParser, MimeHeaders};
use outbox_core::{InvalidMessage, MessageId};
use outbox_transport_smtp::{
    CalendarInvite, CalendarInviteBuilder, EmailMessage, EmailMessageBuilder, MailError, Mailbox,
};

const UID: &str = "0197f7a2-7a1c-7c3e-9d0b-2f8f5f6b1c11@example.org";
const ID: &str = "0197f7a2-aaaa-7c3e-9d0b-2f8f5f6b1c22";

#[test]
fn a_request_is_this_calendar() {
    let invite = request().build().expect("valid");
    let expected = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//outbox//outbox-transport-smtp//EN",
        "CALSCALE:GREGORIAN",
        "METHOD:REQUEST",
        "BEGIN:VEVENT",
        "CREATED:20270115T080000Z",
        "DESCRIPTION:Bring:\\nshoes\\; water\\, a towel \\\\o/",
        "DTEND:20270116T093000Z",
        "DTSTAMP:20270115T080000Z",
        "DTSTART:20270116T090000Z",
        "LAST-MODIFIED:20270115T080000Z",
        "LOCATION:Hall 1",
        "ORGANIZER;CN=\"The studio\":mailto:studio@example.org",
        "SEQUENCE:0",
        "STATUS:CONFIRMED",
        "SUMMARY:First lesson",
        "TRANSP:OPAQUE",
        "UID:0197f7a2-7a1c-7c3e-9d0b-2f8f5f6b1c11@example.org",
        "ATTENDEE;CN=\"Berg, Änna ^'A^'\";CUTYPE=INDIVIDUAL;PARTSTAT=NEEDS-ACTION;ROL",
        " E=REQ-PARTICIPANT;RSVP=TRUE:mailto:anna@example.com",
        "BEGIN:VALARM",
        "ACTION:DISPLAY",
        "DESCRIPTION:First lesson",
        "DTSTAMP:20270115T080000Z",
        "TRIGGER:-PT15M",
        "UID:0197f7a2-7a1c-7c3e-9d0b-2f8f5f6b1c11@example.org-alarm-15",
        "END:VALARM",
        "END:VEVENT",
        "END:VCALENDAR",
        "",
    ];
    assert_eq!(invite.to_ics(), expected.join("\r\n"));
}

#[test]
fn a_reschedule_is_a_request_of_the_same_uid_with_a_higher_sequence() {
    let invite = fill(CalendarInvite::reschedule(UID, 3)).build().expect("valid");
    let calendar = strict_ics::read(invite.to_ics().as_bytes());
    let event = &calendar.children[0];
    assert_eq!(calendar.raw("METHOD"), "REQUEST");
    assert_eq!((event.raw("UID"), event.raw("SEQUENCE"), event.raw("STATUS")), (UID, "3", "CONFIRMED"));
    assert!(!event.names().contains(&"CREATED"), "when it was made is not known here");
    assert_eq!(event.children.len(), 1, "the alarm stays");
}

#[test]
fn a_cancel_takes_the_appointment_back_and_asks_for_nothing() {
    let invite = fill(CalendarInvite::cancel(UID, 4)).created(at(5)).build().expect("valid");
    let calendar = strict_ics::read(invite.to_ics().as_bytes());
    let event = &calendar.children[0];
    assert_eq!(calendar.raw("METHOD"), "CANCEL");
    assert_eq!((event.raw("UID"), event.raw("SEQUENCE"), event.raw("STATUS")), (UID, "4", "CANCELLED"));
    assert_eq!(event.raw("CREATED"), "20270115T080005Z");
    assert_eq!(event.property("ATTENDEE").parameter("RSVP"), None);
    assert!(event.children.is_empty(), "RFC 5546 3.2.5 allows no alarm");
}

#[test]
fn a_mail_with_an_invitation_is_this_tree() {
    let mail = text_of(&invitation().build().expect("valid"));
    let ics = invitation_of(&request()).to_ics().to_owned();
    let calendar = base64(ics.as_bytes());
    let expected = format!(
        "Date: Fri, 15 Jan 2027 08:00:00 +0000\r\n\
         Message-ID: <{ID}@example.org>\r\n\
         From: \"The studio\" <studio@example.org>\r\n\
         To: =?utf-8?b?QmVyZywgw4RubmEgIkEi?= <anna@example.com>\r\n\
         Subject: First lesson\r\n\
         Outbox-Message-Id: {ID}\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed;\r\n boundary=\"=_0197f7a2aaaa7c3e9d0b2f8f5f6b1c22_0\"\r\n\
         \r\n\
         --=_0197f7a2aaaa7c3e9d0b2f8f5f6b1c22_0\r\n\
         Content-Type: multipart/alternative;\r\n boundary=\"=_0197f7a2aaaa7c3e9d0b2f8f5f6b1c22_1\"\r\n\
         \r\n\
         --=_0197f7a2aaaa7c3e9d0b2f8f5f6b1c22_1\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: quoted-printable\r\n\
         \r\n\
         Hello =C3=84nna,\r\n.\r\nsee you!\r\n\
         --=_0197f7a2aaaa7c3e9d0b2f8f5f6b1c22_1\r\n\
         Content-Type: text/html; charset=utf-8\r\n\
         Content-Transfer-Encoding: quoted-printable\r\n\
         \r\n\
         <p>See you!</p>\r\n\
         --=_0197f7a2aaaa7c3e9d0b2f8f5f6b1c22_1\r\n\
         Content-Type: text/calendar; method=REQUEST; charset=utf-8\r\n\
         Content-Transfer-Encoding: base64\r\n\
         \r\n\
         {calendar}\r\n\
         --=_0197f7a2aaaa7c3e9d0b2f8f5f6b1c22_1--\r\n\
         --=_0197f7a2aaaa7c3e9d0b2f8f5f6b1c22_0\r\n\
         Content-Disposition: attachment; filename=\"invite.ics\"\r\n\
         Content-Type: application/ics; name=\"invite.ics\"\r\n\
         Content-Transfer-Encoding: base64\r\n\
         \r\n\
         {calendar}\r\n\
         --=_0197f7a2aaaa7c3e9d0b2f8f5f6b1c22_0--\r\n"
    );
    assert_eq!(mail, expected);
}

#[test]
fn the_method_of_the_calendar_part_is_that_of_the_calendar() {
    for (builder, method) in [(request(), "REQUEST"), (fill(CalendarInvite::cancel(UID, 1)), "CANCEL")] {
        let invite = invitation_of(&builder);
        let mail = bytes_of(&EmailMessage::invitation(invite.clone()).text("x").build().expect("valid"));
        let mail = MessageParser::default().parse(&mail).expect("a mail");
        let part =
            mail.parts.iter().find(|part| part.is_content_type("text", "calendar")).expect("a calendar part");
        let parameter = part.content_type().and_then(|content_type| content_type.attribute("method"));
        assert_eq!((parameter, invite.method()), (Some(method), method));
        assert_eq!(part.text_contents(), Some(invite.to_ics()));
    }
}

#[test]
fn a_mail_without_html_and_invitation_is_one_text() {
    let mail = text_of(&plain().build().expect("valid"));
    let expected = format!(
        "Date: Fri, 15 Jan 2027 08:00:00 +0000\r\n\
         Message-ID: <{ID}@example.org>\r\n\
         From: studio@example.org\r\n\
         To: anna@example.com\r\n\
         Subject: Hello\r\n\
         Outbox-Message-Id: {ID}\r\n\
         Reply-To: desk@example.org\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: quoted-printable\r\n\
         \r\n\
         See you.\r\n"
    );
    assert_eq!(mail, expected);
}

#[test]
fn a_mail_with_html_is_an_alternative_with_the_richer_text_last() {
    let mail = bytes_of(&plain().html("<p>See you.</p>").build().expect("valid"));
    let mail = MessageParser::default().parse(&mail).expect("a mail");
    let types: Vec<String> = mail.parts.iter().map(content_type).collect();
    assert_eq!(types, ["multipart/alternative", "text/plain", "text/html"]);
}

#[test]
fn two_renders_of_the_same_mail_and_id_give_the_same_bytes() {
    let mail = invitation().build().expect("valid");
    assert_eq!(bytes_of(&mail), bytes_of(&mail));
    assert_eq!(bytes_of(&mail), bytes_of(&invitation().build().expect("valid")));
}

#[test]
fn a_stamp_that_is_not_set_is_taken_once() {
    let builder =
        CalendarInvite::request(UID).organizer(studio()).attendee(anna()).summary("x").time(at(0), at(9));
    let invite = builder.build().expect("valid");
    let mail = EmailMessage::invitation(invite.clone()).text("x").build().expect("valid");
    let sent = bytes_of(&mail);
    let sent = MessageParser::default().parse(&sent).expect("a mail");
    assert_eq!(sent.attachment(0).and_then(|part| part.text_contents()), Some(invite.to_ics()));
}

#[test]
fn the_message_carries_key_type_envelope_and_form() {
    let id: MessageId = ID.parse().expect("an id");
    let message = invitation().build().expect("valid").to_message_with_id("invitations", id);
    let message = message.and_then(|builder| Ok(builder.build()?)).expect("valid");
    assert_eq!((message.id(), message.topic()), (id, "invitations"));
    assert_eq!((message.key(), message.message_type()), (Some(UID), "invitation.request"));
    assert_eq!(message.content_type(), "message/rfc822");
    assert_eq!(message.headers().get("mail-format"), Some("1"));
    assert_eq!(message.headers().get("mail-from"), Some("studio@example.org"));
    assert_eq!(message.headers().get("mail-to"), Some("anna@example.com"));
    assert_eq!(message.payload(), &bytes_of(&invitation().build().expect("valid")));
}

#[test]
fn a_mail_without_invitation_has_no_key_and_its_id_in_both_headers() {
    let message = plain().build().and_then(|mail| Ok(mail.to_message("mail")?.build()?)).expect("valid");
    assert_eq!((message.key(), message.message_type()), (None, "mail"));
    let mail = MessageParser::default().parse(message.payload()).expect("a mail");
    assert_eq!(mail.message_id(), Some(format!("{}@example.org", message.id()).as_str()));
    let own = mail.header_raw("Outbox-Message-Id").map(str::trim);
    assert_eq!(own, Some(message.id().to_string().as_str()));
}

#[test]
fn a_mail_beyond_the_payload_limit_is_refused_when_the_message_is_built() {
    let message =
        plain().text("x ".repeat(1024 * 1024)).build().expect("valid").to_message("mail").expect("valid");
    assert!(matches!(message.build(), Err(InvalidMessage::TooLong { field: "payload", .. })));
}

#[test]
fn an_internationalised_domain_goes_out_in_ascii_everywhere() {
    let guest = Mailbox::new("anna@bücher.example").expect("valid");
    let invite = fill(CalendarInvite::request(UID)).attendee(guest).build().expect("valid");
    assert!(
        strict_ics::read(invite.to_ics().as_bytes()).children[0]
            .raw("ATTENDEE")
            .ends_with("@xn--bcher-kva.example")
    );
    let mail = EmailMessage::invitation(invite).text("x").build().expect("valid");
    assert!(text_of(&mail).contains("To: anna@xn--bcher-kva.example\r\n"));
}

#[test]
fn an_address_is_encoded_for_its_uri_and_as_it_is_in_the_mail() {
    let guest = Mailbox::new("a%b/c?d#e&f=g'h@example.com").expect("valid");
    let invite = fill(CalendarInvite::request(UID)).attendee(guest).build().expect("valid");
    let calendar = strict_ics::read(invite.to_ics().as_bytes());
    assert_eq!(calendar.children[0].raw("ATTENDEE"), "mailto:a%25b%2Fc%3Fd%23e%26f%3Dg'h@example.com");
    let mail = EmailMessage::invitation(invite).text("x").build().expect("valid");
    assert!(text_of(&mail).contains("To: a%b/c?d#e&f=g'h@example.com\r\n"));
}

#[test]
fn a_subject_that_looks_like_an_encoded_word_stays_as_it_is() {
    let subject = "=?utf-8?q?Your_password?= =?";
    let mail = bytes_of(&plain().subject(subject).build().expect("valid"));
    assert_eq!(
        MessageParser::default().parse(&mail).and_then(|mail| mail.subject().map(str::to_owned)).as_deref(),
        Some(subject)
    );
}

#[test]
fn a_text_that_holds_a_boundary_does_not_end_its_part() {
    let text = format!("before\n--=_{}_1--\nafter", ID.replace('-', ""));
    let mail = bytes_of(&plain().text(&text).html("<p>x</p>").build().expect("valid"));
    let mail = MessageParser::default().parse(&mail).expect("a mail");
    assert_eq!(mail.parts.len(), 3);
    assert_eq!(mail.body_text(0).as_deref(), Some(text.replace('\n', "\r\n").as_str()));
}

#[test]
fn parts_of_a_second_do_not_count() {
    let nearly = at(0) + Duration::from_millis(999);
    let refused = fill(CalendarInvite::request(UID)).time(at(0), nearly).build();
    assert!(matches!(refused, Err(MailError::EndNotAfterStart)));
}

#[test]
fn the_last_second_that_calendars_can_write_is_taken() {
    let last = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    let invite = fill(CalendarInvite::request(UID)).time(at(0), last).build().expect("valid");
    assert_eq!(strict_ics::read(invite.to_ics().as_bytes()).children[0].raw("DTEND"), "99991231T235959Z");
    let late = last + Duration::from_secs(1);
    assert!(matches!(
        fill(CalendarInvite::request(UID)).time(at(0), late).build(),
        Err(MailError::Time { field: "end" })
    ));
    let early = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    assert!(matches!(plain().date(early).build(), Err(MailError::Time { field: "date" })));
}

#[test]
fn what_an_invitation_lacks_or_has_wrong_is_named() {
    let start = || CalendarInvite::request(UID);
    let missing = |builder: CalendarInviteBuilder| match builder.build() {
        Err(MailError::Missing { field }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(missing(start()), "organizer");
    assert_eq!(missing(start().organizer(studio())), "attendee");
    assert_eq!(missing(start().organizer(studio()).attendee(anna())), "time");
    assert_eq!(missing(start().organizer(studio()).attendee(anna()).time(at(0), at(9))), "summary");
    assert_eq!(missing(request().summary(" \t ")), "summary");

    for uid in ["", "a b", "a\r\nb", "ä", &"x".repeat(256)] {
        assert!(
            matches!(fill(CalendarInvite::request(uid)).build(), Err(MailError::Uid)),
            "{uid:?} was accepted"
        );
    }
    assert!(matches!(request().time(at(9), at(9)).build(), Err(MailError::EndNotAfterStart)));
    assert!(matches!(request().time(at(9), at(0)).build(), Err(MailError::EndNotAfterStart)));
    assert!(matches!(fill(CalendarInvite::reschedule(UID, 0)).build(), Err(MailError::Sequence)));
    assert!(matches!(fill(CalendarInvite::cancel(UID, 0)).build(), Err(MailError::Sequence)));
    assert!(matches!(fill(CalendarInvite::cancel(UID, 1 << 31)).build(), Err(MailError::Sequence)));
    let same = Mailbox::new("Studio@EXAMPLE.org").expect("valid");
    assert!(matches!(request().attendee(same).build(), Err(MailError::OrganizerIsAttendee)));
    let year_before = Duration::from_secs(367 * 24 * 60 * 60);
    assert!(matches!(request().alarm(year_before).build(), Err(MailError::Alarms)));
    let six = (0..5).fold(request(), |builder, minutes| builder.alarm(Duration::from_secs(minutes * 60)));
    assert!(matches!(six.build(), Err(MailError::Alarms)));
    let long = request().description("x".repeat(32_001)).build();
    assert!(matches!(long, Err(MailError::TooLong { field: "description", length: 32_001, limit: 32_000 })));
    let broken = request().location("Hall\r\nATTENDEE:mailto:b@example.com").build();
    assert!(matches!(broken, Err(MailError::ControlCharacter { field: "location" })));
}

#[test]
fn what_a_mail_lacks_or_has_wrong_is_named() {
    let missing = |builder: EmailMessageBuilder| match builder.build() {
        Err(MailError::Missing { field }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(missing(EmailMessage::builder()), "sender");
    assert_eq!(missing(EmailMessage::builder().from(studio())), "recipient");
    assert_eq!(missing(plain().subject("")), "subject");
    assert_eq!(missing(plain().text(" \n")), "text");
    let broken = plain().subject("x\r\nBcc: b@example.com").build();
    assert!(matches!(broken, Err(MailError::ControlCharacter { field: "subject" })));
    assert!(matches!(plain().html("\0").build(), Err(MailError::ControlCharacter { field: "html" })));
}

#[test]
fn the_mail_of_an_invitation_goes_from_its_organizer_to_its_attendee() {
    let other = || Mailbox::new("other@example.org").expect("valid");
    assert!(matches!(invitation().from(other()).build(), Err(MailError::NotTheInvitations)));
    assert!(matches!(invitation().to(other()).build(), Err(MailError::NotTheInvitations)));
}

#[test]
fn debug_prints_show_no_name_address_or_text() {
    let shown = format!(
        "{:?} {:?} {:?} {:?}",
        request(),
        invitation_of(&request()),
        invitation(),
        invitation().build()
    );
    for secret in ["Anna", "Berg", "anna@", "studio", "lesson", "shoes", "Hall", "See you"] {
        assert!(!shown.contains(secret), "{secret:?} in {shown}");
    }
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

fn studio() -> Mailbox {
    Mailbox::new("studio@example.org").and_then(|studio| studio.named("The studio")).expect("valid")
}

fn anna() -> Mailbox {
    Mailbox::new("anna@example.com").and_then(|anna| anna.named("Berg, Änna \"A\"")).expect("valid")
}

fn request() -> CalendarInviteBuilder {
    fill(CalendarInvite::request(UID))
}

fn fill(builder: CalendarInviteBuilder) -> CalendarInviteBuilder {
    builder
        .organizer(studio())
        .attendee(anna())
        .time(at(90_000), at(91_800))
        .stamp(at(0))
        .summary("First lesson")
        .description("Bring:\r\nshoes; water, a towel \\o/")
        .location("Hall 1")
        .alarm(Duration::from_secs(15 * 60 + 59))
}

fn invitation_of(builder: &CalendarInviteBuilder) -> CalendarInvite {
    builder.clone().build().expect("valid")
}

fn invitation() -> EmailMessageBuilder {
    EmailMessage::invitation(invitation_of(&request()))
        .text("Hello Änna,\n.\nsee you!")
        .html("<p>See you!</p>")
        .date(at(0))
}

fn plain() -> EmailMessageBuilder {
    let address = |address| Mailbox::new(address).expect("valid");
    EmailMessage::builder()
        .from(address("studio@example.org"))
        .reply_to(address("desk@example.org"))
        .to(address("anna@example.com"))
        .subject("Hello")
        .text("See you.")
        .date(at(0))
}

fn bytes_of(mail: &EmailMessage) -> Vec<u8> {
    mail.render(ID.parse().expect("an id")).expect("rendered").bytes.to_vec()
}

fn text_of(mail: &EmailMessage) -> String {
    String::from_utf8(bytes_of(mail)).expect("ASCII")
}

fn content_type(part: &mail_parser::MessagePart<'_>) -> String {
    let content_type = part.content_type().expect("a content type");
    format!("{}/{}", content_type.ctype(), content_type.subtype().unwrap_or_default())
}

/// Base64 in lines of 76 (RFC 2045 6.8).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::new();
    for (n, chunk) in bytes.chunks(3).enumerate() {
        if n > 0 && n % 19 == 0 {
            encoded.push_str("\r\n");
        }
        let bits =
            chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let character = ALPHABET[(bits >> (18 - 6 * i)) as usize & 63];
            encoded.push(if i <= chunk.len() { char::from(character) } else { '=' });
        }
    }
    encoded
}
