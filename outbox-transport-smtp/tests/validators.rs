//! Invitations before judges that are not ours: libical, Python's `icalendar` and `email`, and ical.js.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use outbox_core::MessageId;
use outbox_transport_smtp::{CalendarInvite, CalendarInviteBuilder, EmailMessage, Mailbox};
use serde_json::{Value, json};

const UID: &str = "0197f7a2-7a1c-7c3e-9d0b-2f8f5f6b1c11@example.org";

#[test]
#[ignore = "needs libical, Python's icalendar and ical.js; scripts/test sets them up and runs it"]
fn libical_finds_nothing_wrong_with_any_invitation() {
    for case in cases() {
        let answer = Judge::libical().judge(case.invite().to_ics());
        assert!(answer.accepted, "{}: {}\n{}", case.what, answer.text, case.invite().to_ics());
    }
}

#[test]
#[ignore = "needs libical, Python's icalendar and ical.js; scripts/test sets them up and runs it"]
fn python_reads_every_invitation_as_it_was_meant() {
    for case in cases() {
        assert_eq!(Judge::python("read_ics.py").read(case.invite().to_ics()), case.meant(), "{}", case.what);
    }
}

#[test]
#[ignore = "needs libical, Python's icalendar and ical.js; scripts/test sets them up and runs it"]
fn ical_js_reads_every_invitation_as_it_was_meant() {
    for case in cases() {
        assert_eq!(Judge::node("read_ics.js").read(case.invite().to_ics()), case.meant(), "{}", case.what);
    }
}

#[test]
#[ignore = "needs libical, Python's icalendar and ical.js; scripts/test sets them up and runs it"]
fn python_reads_the_mail_of_every_invitation_as_it_was_meant() {
    for case in cases() {
        let invite = case.invite();
        let mail = EmailMessage::invitation(invite.clone()).text(&case.description).html("<p>Hello</p>");
        let stored = mail.build().expect("valid").render(MessageId::generate()).expect("rendered");
        let mail = std::str::from_utf8(&stored.bytes).expect("ASCII");
        let text = case.description.replace('\n', "\r\n");
        let meant = json!({
            "headers": ["Date", "Message-ID", "From", "To", "Subject", "Outbox-Message-Id", "MIME-Version", "Content-Type"],
            "subject": case.summary,
            "to_name": case.name,
            "to": ["anna@example.com"],
            "parts": [
                ["multipart/mixed", null, null],
                ["multipart/alternative", null, null],
                ["text/plain", null, null],
                ["text/html", null, null],
                ["text/calendar", invite.method(), null],
                ["application/ics", null, "invite.ics"],
            ],
            "contents": [null, null, text, "<p>Hello</p>", invite.to_ics(), invite.to_ics()],
        });
        assert_eq!(Judge::python("read_mail.py").read(mail), meant, "{}", case.what);
    }
}

#[test]
#[ignore = "needs libical, Python's icalendar and ical.js; scripts/test sets them up and runs it"]
fn the_judges_refuse_broken_invitations() {
    let request = Case::new("a request", CalendarInvite::request(UID)).invite().to_ics().to_owned();
    let cancel = Case::new("a cancel", CalendarInvite::cancel(UID, 1)).invite().to_ics().to_owned();
    let without = |ics: &str, name: &str| {
        let kept: Vec<&str> = ics.split("\r\n").filter(|line| !line.starts_with(name)).collect();
        assert!(kept.len() < ics.split("\r\n").count(), "no {name} to take away");
        kept.join("\r\n")
    };
    let injected = request.replace("SUMMARY:", "not a content line\r\nSUMMARY:");
    let libical = Judge::libical();
    for (what, broken) in [
        ("a request without ORGANIZER", without(&request, "ORGANIZER")),
        ("a request without DTSTAMP", without(&request, "DTSTAMP")),
        ("a request without UID", without(&request, "UID")),
        ("a cancel without SEQUENCE", without(&cancel, "SEQUENCE")),
        ("a calendar without VERSION", without(&request, "VERSION")),
        ("a broken line", injected.clone()),
        ("no calendar", "hello".to_owned()),
    ] {
        assert!(!libical.judge(&broken).accepted, "libical accepted {what}");
    }
    for judge in [Judge::python("read_ics.py"), Judge::node("read_ics.js")] {
        assert!(judge.judge(&request).accepted, "{} refused a good request", judge.name);
        assert!(!judge.judge(&injected).accepted, "{} accepted a broken line", judge.name);
    }
    let broken = "Subject: x\r\nno header\r\n\r\nbody\r\n";
    assert!(!Judge::python("read_mail.py").judge(broken).accepted, "Python accepted a broken mail");
}

/// An invitation and what it means.
struct Case {
    what: &'static str,
    builder: CalendarInviteBuilder,
    name: String,
    summary: String,
    description: String,
    location: String,
    alarms: Vec<i64>,
}

fn cases() -> Vec<Case> {
    let request = || CalendarInvite::request(UID);
    let plain = |what, builder| Case::new(what, builder);
    vec![
        plain("a request", request()),
        plain("a reschedule", CalendarInvite::reschedule(UID, 1)),
        plain("a cancel", CalendarInvite::cancel(UID, 2)),
        Case { alarms: vec![0, 15, 1440], ..plain("alarms", request()) },
        Case {
            name: String::new(),
            location: String::new(),
            ..plain("nothing that may be left out", request())
        },
        Case {
            name: "Bérénice 漢字 عمر 📅".to_owned(),
            summary: "Réunion; 会議, שלום 👩‍👩‍👧".to_owned(),
            description: "Grüße\n漢字\n\u{202e}rtl 📅".to_owned(),
            location: "Straße 1, 東京".to_owned(),
            ..plain("beyond ASCII", request())
        },
        Case {
            name: "\"Anna\" ^n; X=1: \\, ^'Berg' \\".to_owned(),
            summary: "BEGIN:VEVENT;X-EVIL=1:\\n \\, =?utf-8?q?x?= ^".to_owned(),
            description: "END:VCALENDAR\nATTENDEE:mailto:b@example.com\n\\\\n \\;,\"'\n--x--\n.\n".to_owned(),
            location: "\\; ,:; \"\" %0D%0A".to_owned(),
            ..plain("hostile", request())
        },
        Case {
            name: "n".repeat(255),
            summary: "Summary ".repeat(100).trim().to_owned(),
            description: "Ein langer Satz über Brücken, Äpfel; und 📅.\n".repeat(400),
            location: "ß".repeat(1_000),
            alarms: vec![5],
            ..plain("long", request())
        },
        Case {
            name: "Long cancel".to_owned(),
            description: "漢".repeat(10_000),
            ..plain("a long cancel", CalendarInvite::cancel(UID, 2_147_483_647))
        },
    ]
}

impl Case {
    fn new(what: &'static str, builder: CalendarInviteBuilder) -> Self {
        Self {
            what,
            builder,
            name: "Anna Berg".to_owned(),
            summary: "First lesson".to_owned(),
            description: "See you!".to_owned(),
            location: "Hall 1".to_owned(),
            alarms: Vec::new(),
        }
    }

    fn invite(&self) -> CalendarInvite {
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds);
        let mailbox =
            |address, name| Mailbox::new(address).and_then(|mailbox| mailbox.named(name)).expect("valid");
        let builder = self
            .builder
            .clone()
            .organizer(mailbox("studio@example.org", "The studio"))
            .attendee(mailbox("anna@example.com", &self.name))
            .time(at(0), at(1800))
            .stamp(at(0))
            .created(at(0))
            .summary(&self.summary)
            .description(&self.description)
            .location(&self.location);
        let alarm = |builder: CalendarInviteBuilder, minutes: &i64| {
            builder.alarm(Duration::from_secs(minutes.unsigned_abs() * 60))
        };
        self.alarms.iter().fold(builder, alarm).build().expect("valid")
    }

    /// What a reader should understand.
    fn meant(&self) -> Value {
        let invite = self.invite();
        let mut properties = BTreeSet::from([
            "ATTENDEE",
            "CREATED",
            "DESCRIPTION",
            "DTEND",
            "DTSTAMP",
            "DTSTART",
            "LAST-MODIFIED",
            "LOCATION",
            "ORGANIZER",
            "SEQUENCE",
            "STATUS",
            "SUMMARY",
            "TRANSP",
            "UID",
        ]);
        if self.location.is_empty() {
            properties.remove("LOCATION");
        }
        json!({
            "method": invite.method(),
            "properties": properties,
            "uid": UID,
            "sequence": invite.sequence(),
            "summary": self.summary,
            "description": self.description,
            "location": self.location,
            "status": if invite.method() == "CANCEL" { "CANCELLED" } else { "CONFIRMED" },
            "start": "20270115T080000Z",
            "end": "20270115T083000Z",
            "organizer": "mailto:studio@example.org",
            "attendee": "mailto:anna@example.com",
            "attendee_name": self.name.replace('\\', "/"),
            "alarms": self.alarms.iter().map(|minutes| -60 * minutes).collect::<Vec<_>>(),
        })
    }
}

/// A program that reads from standard input and exits with 0 when it accepts what it read.
struct Judge {
    name: &'static str,
    program: PathBuf,
    script: Option<PathBuf>,
}

struct Answer {
    accepted: bool,
    text: String,
}

impl Judge {
    fn libical() -> Self {
        Self { name: "libical", program: from_environment("ICAL_RESTRICTIONS"), script: None }
    }

    fn python(script: &str) -> Self {
        Self { name: "Python", program: from_environment("ICAL_PYTHON"), script: Some(path_of(script)) }
    }

    fn node(script: &str) -> Self {
        // The script itself reads the variable.
        from_environment("ICAL_NODE_MODULES");
        Self { name: "ical.js", program: "node".into(), script: Some(path_of(script)) }
    }

    fn judge(&self, input: &str) -> Answer {
        let mut child = Command::new(&self.program)
            .args(&self.script)
            .env("PYTHONIOENCODING", "utf-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{} does not start ({error}): run scripts/validators", self.program.display())
            });
        let mut stdin = child.stdin.take().expect("piped");
        let input = input.to_owned();
        // A judge that answers before it has read everything closes its end.
        let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
        let output = child.wait_with_output().expect("it ends");
        writer.join().expect("written");
        let text =
            if output.status.success() { output.stdout } else { [output.stdout, output.stderr].concat() };
        Answer { accepted: output.status.success(), text: String::from_utf8_lossy(&text).into_owned() }
    }

    fn read(&self, input: &str) -> Value {
        let answer = self.judge(input);
        assert!(answer.accepted, "{} refused it: {}\n{input}", self.name, answer.text);
        serde_json::from_str(&answer.text).unwrap_or_else(|error| panic!("{error}: {}", answer.text))
    }
}

fn from_environment(variable: &str) -> PathBuf {
    std::env::var_os(variable)
        .unwrap_or_else(|| panic!("{variable} is not set: run `eval \"$(scripts/validators)\"` first"))
        .into()
}

fn path_of(script: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/validators").join(script)
}
