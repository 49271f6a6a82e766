//! Delivery to Postfix's `smtp-sink`, a relay that is not ours.

mod outcome;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use outbox_core::{Delivery, DeliveryReport, Message, MessageId, Outcome, Transport};
use outbox_transport_smtp::{Encryption, SmtpTransport, Timeouts};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::outcome::{Class, class};

const MAIL: &str = "Subject: hello\r\n\r\nhello\r\n.\r\n..two dots\r\n\r\nlast line\r\n";

#[tokio::test]
#[ignore = "needs smtp-sink; scripts/test runs it"]
async fn the_mail_that_arrives_is_the_mail_that_was_handed_over() {
    let sink = Sink::start(&[]).await;
    let outcomes = deliver(&sink.transport(), 1).await;
    assert!(matches!(&outcomes[0], Outcome::Delivered { receipt: Some(text) } if text.contains("Ok")));
    let mails = sink.mails(1).await;
    let (head, content) = mails[0].split_once("\nSubject:").expect("the dump holds the mail");
    assert!(head.contains("team@example.org") && head.contains("guest@example.com"), "{head}");
    // The sink writes plain line feeds, and one more at the end of its dump.
    let dumped = format!("Subject:{content}");
    assert_eq!(dumped.strip_suffix('\n'), Some(MAIL.replace("\r\n", "\n").as_str()));
}

#[tokio::test]
#[ignore = "needs smtp-sink; scripts/test runs it"]
async fn many_mails_over_several_connections_arrive_once_each() {
    let sink = Sink::start(&[]).await;
    let outcomes = deliver(&sink.transport(), 500).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Delivered { .. })), "{outcomes:?}");
    let mails = sink.mails(500).await;
    let mut ids: Vec<_> = mails.iter().filter_map(|mail| mail.split("Number: ").nth(1)).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 500);
}

#[tokio::test]
#[ignore = "needs smtp-sink; scripts/test runs it"]
async fn each_fault_of_the_relay_becomes_its_outcome() {
    use Class::{Ambiguous, Delivered, Permanent, Transient, Unavailable};
    let rows: &[(&[&str], Class)] = &[
        (&["-r", "CONNECT"], Unavailable),
        (&["-r", "EHLO"], Unavailable),
        (&["-r", "MAIL"], Unavailable),
        (&["-r", "RCPT"], Transient),
        (&["-r", "DATA"], Transient),
        (&["-r", "."], Transient),
        (&["-f", "CONNECT"], Unavailable),
        (&["-f", "EHLO"], Unavailable),
        (&["-f", "MAIL"], Permanent),
        (&["-f", "RCPT"], Permanent),
        (&["-f", "DATA"], Permanent),
        (&["-f", "."], Permanent),
        (&["-Q", "CONNECT"], Unavailable),
        (&["-Q", "MAIL"], Unavailable),
        (&["-Q", "RCPT"], Unavailable),
        (&["-Q", "."], Unavailable),
        (&["-q", "CONNECT"], Unavailable),
        (&["-q", "EHLO"], Unavailable),
        (&["-q", "MAIL"], Unavailable),
        // The relay takes a new connection at once, so this is not an outage.
        (&["-q", "RCPT"], Transient),
        (&["-q", "DATA"], Transient),
        // The mail was complete, and nothing came back.
        (&["-q", "."], Ambiguous),
        (&["-w", "1"], Delivered),
        (&["-W", "RCPT:5"], Transient),
        (&["-W", ".:5"], Ambiguous),
    ];
    for (options, expected) in rows {
        let sink = Sink::start(options).await;
        let outcomes = deliver(&sink.transport(), 1).await;
        assert_eq!(class(&outcomes[0]), *expected, "smtp-sink {options:?}: {outcomes:?}");
    }
}

#[tokio::test]
#[ignore = "needs TEST_SMTP_URL; scripts/test starts a server"]
async fn a_mail_server_that_was_running_takes_many_mails() {
    let url = std::env::var("TEST_SMTP_URL").expect("TEST_SMTP_URL names a server; see scripts/services");
    let transport = SmtpTransport::from_url(&url).expect("a valid URL");
    let outcomes = deliver(&transport, 100).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Delivered { .. })), "{outcomes:?}");
}

/// A running `smtp-sink`, ended when dropped.
struct Sink {
    port: u16,
    folder: TempDir,
    _process: Child,
}

impl Sink {
    async fn start(options: &[&str]) -> Self {
        let program = smtp_sink();
        for _ in 0..5 {
            let folder = tempfile::tempdir().expect("a temporary folder");
            // Started as root it becomes `nobody`, who must be able to write there.
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("own folder");
            let port = free_port();
            let mut process = Command::new(&program)
                .args(run_as(folder.path()))
                .arg("-d")
                .arg(folder.path().join("mail."))
                .args(options)
                .arg(format!("127.0.0.1:{port}"))
                .arg("100")
                .stdin(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .expect("smtp-sink can be started");
            // Another program may have taken the port in between: then the sink ends at once.
            for _ in 0..100 {
                if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
                    && process.try_wait().is_ok_and(|ended| ended.is_none())
                {
                    return Self { port, folder, _process: process };
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
        panic!("smtp-sink does not listen; start it by hand to see why");
    }

    fn transport(&self) -> SmtpTransport {
        let each = Duration::from_secs(3);
        SmtpTransport::builder()
            .host("127.0.0.1")
            .port(self.port)
            .encryption(Encryption::None)
            .timeouts(Timeouts {
                connect: each,
                greeting: each,
                command: each,
                data: each,
                block: each,
                final_dot: each,
            })
            .build()
            .expect("a valid transport")
    }

    /// The dumps of the mails, once there are `count`.
    async fn mails(&self, count: usize) -> Vec<String> {
        let mut mails = Vec::new();
        for _ in 0..1_000 {
            let files = fs::read_dir(self.folder.path()).expect("own folder");
            mails = files.filter_map(|file| fs::read_to_string(file.ok()?.path()).ok()).collect();
            if mails.len() >= count && mails.iter().all(|mail| mail.contains("last line")) {
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(mails.len(), count, "so many mails were dumped");
        mails
    }
}

fn smtp_sink() -> PathBuf {
    let named = std::env::var_os("SMTP_SINK").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("smtp-sink"));
    let usual = PathBuf::from("/usr/sbin/smtp-sink");
    let mut candidates = named.into_iter().chain(on_path).chain([usual]);
    candidates
        .find(|candidate| candidate.is_file())
        .expect("smtp-sink was not found; install the package `postfix`, or name the program in SMTP_SINK")
}

/// As root, smtp-sink wants to be told whom to become.
fn run_as(own: &Path) -> &'static [&'static str] {
    use std::os::unix::fs::MetadataExt;
    let root = fs::metadata(own).is_ok_and(|folder| folder.uid() == 0);
    if root { &["-u", "nobody"] } else { &[] }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("a bound address").port()
}

async fn deliver(transport: &SmtpTransport, count: usize) -> Vec<Outcome> {
    let mail = |number: usize| {
        let bytes = if count == 1 { MAIL.to_owned() } else { format!("Number: {number}\r\n{MAIL}") };
        let mut message = Message::new(MessageId::generate(), "mail", bytes);
        message.content_type = "message/rfc822".to_owned();
        message.headers.insert("mail-format", "1");
        message.headers.insert("mail-from", "team@example.org");
        message.headers.insert("mail-to", "guest@example.com");
        Delivery::new(number, message)
    };
    let batch: Vec<_> = (0..count).map(mail).collect();
    let report = DeliveryReport::collecting(&batch);
    timeout(Duration::from_secs(60), transport.deliver(&batch, &report))
        .await
        .expect("deliver ends by itself");
    let outcomes: Vec<_> = report.take().into_iter().map(|(_, outcome)| outcome).collect();
    assert_eq!(outcomes.len(), count);
    outcomes
}
