//! The appointment example as a program: its story, its settings, several starts, and relays that cannot be used.

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use support::{Answer, App, JSON, booking, command, id, mails, mails_about, run, stored};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use uuid::Uuid;

#[tokio::test]
async fn once_leaves_the_sample_in_the_mailbox_and_nothing_outside_the_data_folder() {
    let home = tempfile::tempdir().expect("a folder");
    let mut command = command(Path::new("data"));
    // Of statements that took a second, sqlx warns: a slow disk is nothing that went wrong.
    command.current_dir(home.path()).arg("--once").env("RUST_LOG", "warn,sqlx=error");
    let (status, story, errors) = run(command).await;
    assert!(status.success(), "{story}\n{errors}");
    assert_eq!(errors, "", "nothing went wrong, so nothing is logged");

    let entries: Vec<_> =
        std::fs::read_dir(home.path()).expect("readable").map(|e| e.expect("entry").file_name()).collect();
    assert_eq!(entries, ["data"]);
    let data_dir = home.path().join("data").canonicalize().expect("it exists");
    let mails = mails(&data_dir);
    assert_eq!(mails.len(), 1);
    let ics = mails[0].path.with_extension("ics");
    assert!(story.contains(&mails[0].path.display().to_string()), "{story}");
    assert!(story.contains(&ics.display().to_string()), "{story}");
    assert!(story.contains(&mails[0].message_id), "{story}");
    assert!(story.contains("curl -i http://127.0.0.1:"), "{story}");
    assert_eq!(mails[0].ics["METHOD"], "REQUEST");
    assert_eq!(mails[0].ics["SEQUENCE"], "0");
    assert_eq!(mails[0].ics["ATTENDEE"], "mailto:ada@example.org");
}

#[tokio::test]
async fn the_readme_shows_what_the_program_prints() {
    let readme = include_str!("../../README.md");
    let shown = readme.split("```text\n").find(|block| block.starts_with("A booking")).expect("the output");
    let (shown, _) = shown.split_once("```").expect("the end of the output");
    let data = tempfile::tempdir().expect("a folder");
    let mut app = App::start(data.path()).await;
    app.line("Serving until Ctrl-C").await;
    let printed = app.printed();

    assert_eq!(printed.len(), shown.lines().count(), "{printed:#?}");
    for (shown, printed) in shown.lines().zip(&printed) {
        assert_eq!(fixed_part(shown), fixed_part(printed));
    }
}

/// What a printed line has in common with that of any other run: what stands before an address or a value.
fn fixed_part(line: &str) -> &str {
    let indented = line.len() - line.trim_start().len();
    let value = line[indented..].find("  ").map_or(line.len(), |at| indented + at);
    let variable = ["http://", "\"startsAtUtc\""].iter().filter_map(|start| line.find(start));
    &line[..variable.fold(value, usize::min)]
}

#[tokio::test]
async fn a_second_start_finds_the_sample_of_the_first_and_sends_nothing_twice() {
    let data = tempfile::tempdir().expect("a folder");
    for start in ["first", "second"] {
        let mut command = command(data.path());
        command.arg("--once");
        let (status, story, errors) = run(command).await;
        assert!(status.success(), "{start}: {story}\n{errors}");
        assert_eq!(mails(data.path()).len(), 1, "{start}: {story}");
    }
    assert_eq!(stored(data.path()).await, (1, 1, 1));
}

#[tokio::test]
async fn what_was_committed_before_a_stop_is_delivered_by_the_next_start() {
    let data = tempfile::tempdir().expect("a folder");
    let (_port, address) = relay_that_is_down();
    let mut down = command(data.path());
    down.env("SMTP_URL", format!("smtp://{address}"));
    let app = App::spawn(down).await;
    let answer = app.post(&booking("Grace")).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    let shown = app.get(&format!("/appointment/{}", id(&answer))).await.body;
    assert_ne!(shown["messages"][0]["state"], "delivered");
    assert!(app.stop().await.success());

    let app = App::start(data.path()).await;
    let shown = app.delivered(&id(&answer)).await;
    assert_eq!(shown["messages"][0]["failedAttempts"], 0, "an outage costs no attempt");
    assert_eq!(mails_about(data.path(), &id(&answer)).len(), 1);
}

#[tokio::test]
async fn a_relay_of_ones_own_gets_the_mails() {
    let relay = tempfile::tempdir().expect("a folder");
    let mut other = App::start(relay.path()).await;
    let url = format!("smtp://{}", other.mailbox().await);
    other.line("Book another").await;

    let data = tempfile::tempdir().expect("a folder");
    let mut command = command(data.path());
    command.env("SMTP_URL", url).env("MAIL_FROM", "desk@example.com");
    command.args(["--once", "--sample-to", "grace@example.com"]);
    let (status, story, errors) = run(command).await;
    assert!(status.success(), "{story}\n{errors}");
    assert!(!data.path().join("mailbox").exists());
    let arrived = mails(relay.path());
    assert_eq!(arrived.len(), 2, "the other's own sample, and ours");
    assert_eq!(arrived[1].ics["ORGANIZER"], "mailto:desk@example.com");
    assert_eq!(arrived[1].ics["ATTENDEE"], "mailto:grace@example.com");
}

#[tokio::test]
async fn two_starts_at_once_in_an_empty_folder_both_serve() {
    let data = tempfile::tempdir().expect("a folder");
    let (first, second) = tokio::join!(App::start(data.path()), App::start(data.path()));
    for app in [&first, &second] {
        let id = id(&app.post(&booking("Grace")).await);
        app.delivered(&id).await;
        assert_eq!(mails_about(data.path(), &id).len(), 1, "neither delivers what the other does");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_a_data_folder_and_one_goes_on_when_the_other_dies() {
    let data = tempfile::tempdir().expect("a folder");
    // Long enough that it is not lost while nobody dies, and short enough to wait for its end.
    let start = || {
        let mut command = command(data.path());
        command.env("OUTBOX_LEASE_MS", "10000");
        App::spawn(command)
    };
    let first = Arc::new(start().await);
    let enough = Arc::new(AtomicBool::new(false));
    let mut guests = JoinSet::new();
    for _ in 0..8 {
        let (first, enough) = (Arc::clone(&first), Arc::clone(&enough));
        guests.spawn(async move {
            let mut ids = Vec::new();
            while !enough.load(Ordering::Relaxed) {
                ids.push(id(&book(&first).await));
            }
            ids
        });
    }
    // While the first delivers what they book, others start beside it, and one of them stays.
    for _ in 0..5 {
        assert!(start().await.stop().await.success());
    }
    let second = start().await;
    enough.store(true, Ordering::Relaxed);
    let ids = guests.join_all().await.concat();
    assert!(!ids.is_empty());
    for id in &ids {
        let shown = second.delivered(id).await;
        assert_eq!(shown["messages"][0]["failedAttempts"], 0, "{shown}");
    }
    assert_eq!(
        mails(data.path()).len(),
        ids.len() + 1,
        "neither delivers what the other does; one is the sample"
    );

    let first = Arc::into_inner(first).expect("the guests are gone");
    first.kill().await;
    let last = id(&second.post(&booking("Grace")).await);
    second.delivered(&last).await;
    assert_eq!(mails_about(data.path(), &last).len(), 1);
}

/// Books once, as clients should: while the database is too busy, asks again.
async fn book(app: &App) -> Answer {
    let key = Uuid::now_v7().to_string();
    let headers = [JSON, ("idempotency-key", key.as_str())];
    loop {
        let answer = app.send(Method::POST, "/appointment", &headers, booking("Grace").to_string()).await;
        if answer.status != StatusCode::SERVICE_UNAVAILABLE {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

const NOTHING_SPENT: &str = "no attempt was spent, so the relay cannot be used; the warnings above say why";

#[tokio::test]
#[ignore = "takes 30 s; scripts/test runs it"]
async fn once_fails_and_says_why_when_the_relay_is_down() {
    let data = tempfile::tempdir().expect("a folder");
    let (_port, address) = relay_that_is_down();
    let mut command = command(data.path());
    command.arg("--once").env("SMTP_URL", format!("smtp://{address}"));
    let (status, _, errors) = run(command).await;
    assert_eq!(status.code(), Some(1));
    assert!(errors.contains("the sample was not delivered within 30 s"), "{errors}");
    assert!(errors.contains(NOTHING_SPENT), "{errors}");
}

#[tokio::test]
#[ignore = "takes 30 s; scripts/test runs it"]
async fn once_fails_and_says_why_when_the_relay_refuses_the_login() {
    let data = tempfile::tempdir().expect("a folder");
    let relay = relay_that_refuses_every_login().await;
    let mut command = command(data.path());
    let url = format!("smtp://user:hunter2@{relay}?starttls=none&allow_unencrypted_login=true");
    command.arg("--once").env("SMTP_URL", url);
    let (status, _, errors) = run(command).await;
    assert_eq!(status.code(), Some(1));
    let (warnings, why) = errors.split_once(NOTHING_SPENT).unwrap_or_else(|| panic!("{errors}"));
    assert!(warnings.contains("535"), "{errors}");
    assert!(!why.contains("does not answer") && !errors.contains("hunter2"), "{errors}");
}

/// A port that is taken, so that nobody else gets it, and on which nobody listens.
fn relay_that_is_down() -> (TcpSocket, SocketAddr) {
    let port = TcpSocket::new_v4().expect("a socket");
    port.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
    let address = port.local_addr().expect("an address");
    (port, address)
}

async fn relay_that_refuses_every_login() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(refuse_the_login(stream));
        }
    });
    address
}

async fn refuse_the_login(stream: TcpStream) -> std::io::Result<()> {
    let mut client = BufStream::new(stream);
    let mut line = String::new();
    let mut reply = "220 relay.example.org\r\n";
    loop {
        client.write_all(reply.as_bytes()).await?;
        client.flush().await?;
        line.clear();
        if client.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        reply = match line.split_whitespace().next() {
            Some("EHLO") => "250-relay.example.org\r\n250 AUTH PLAIN LOGIN\r\n",
            Some("AUTH") => "535 5.7.8 wrong user name or password\r\n",
            _ => "503 5.5.1 log in first\r\n",
        };
    }
}

#[tokio::test]
async fn a_taken_port_5000_is_replaced_by_a_free_one() {
    // If this fails, somebody else has the port, which serves as well.
    let _taken = std::net::TcpListener::bind("127.0.0.1:5000");
    let data = tempfile::tempdir().expect("a folder");
    let mut command = command(data.path());
    command.env_remove("BIND");
    let mut app = App::spawn(command).await;
    app.line("Port 5000 is taken").await;
    assert_ne!(app.api.port(), 5000);
    assert_eq!(app.post(&booking("Grace")).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_refused_by_name() {
    let data = tempfile::tempdir().expect("a folder");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("an address").to_string();
    let cases = [
        ("DATABASE_URL", "oracle://user:hunter2@localhost/db", "this example runs on sqlite:"),
        (
            "DATABASE_URL",
            "postgres://user:hunter2@127.0.0.1:1/db",
            "cannot open the database db on 127.0.0.1:1",
        ),
        ("DATABASE_URL", "sqlite::memory:", "give it a file"),
        ("SMTP_URL", "https://user:hunter2@relay.example.org", "SMTP_URL"),
        ("SMTP_URL", "nonsense", "SMTP_URL"),
        ("BIND", &taken, "BIND"),
        ("BIND", "nonsense", "BIND"),
        ("OUTBOX_LEASE_MS", "soon", "OUTBOX_LEASE_MS"),
        ("OUTBOX_LEASE_MS", "1", "lease"),
        ("MAIL_FROM", "Bookings <bookings@example.org>", "MAIL_FROM"),
        // The sample would invite ourselves.
        ("MAIL_FROM", "ada@example.org", "is our own address"),
    ];
    for (variable, value, says) in cases {
        let mut command = command(data.path());
        command.arg("--once").env(variable, value);
        let (status, _, errors) = run(command).await;
        assert_eq!(status.code(), Some(1), "{variable}={value}: {errors}");
        assert!(errors.contains(says) && !errors.contains("hunter2"), "{variable}={value}: {errors}");
    }
    let mut unknown = command(data.path());
    unknown.arg("--verbose");
    let (status, _, errors) = run(unknown).await;
    assert_eq!(status.code(), Some(1));
    assert!(errors.contains("--verbose") && errors.contains("--help"), "{errors}");
}

#[tokio::test]
async fn help_names_every_setting_and_starts_nothing() {
    let data = tempfile::tempdir().expect("a folder");
    let mut command = command(&data.path().join("never"));
    command.arg("--help");
    let (status, help, _) = run(command).await;
    assert!(status.success());
    for setting in ["--data-dir", "--once", "DATABASE_URL", "SMTP_URL", "BIND", "RUST_LOG"] {
        assert!(help.contains(setting), "{setting}: {help}");
    }
    assert!(!data.path().join("never").exists());
}

#[tokio::test]
async fn the_log_holds_neither_names_nor_addresses() {
    let data = tempfile::tempdir().expect("a folder");
    let mut command = command(data.path());
    command.arg("--once").env("RUST_LOG", "info");
    let (status, _, log) = run(command).await;
    assert!(status.success(), "{log}");
    assert!(!log.contains("ada@example.org") && !log.contains("Ada Example"), "{log}");
}
