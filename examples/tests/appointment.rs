//! The front door as its users see it: the program, its HTTP API, and what lands in the mailbox.

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Answer, App, JSON, PATIENCE, command, count, mails, mails_about, run};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

fn booking(name: &str) -> Value {
    json!({
        "name": name,
        "email": "guest@example.org",
        "startsAtUtc": "2030-05-01T09:30:00Z",
        "endsAtUtc": "2030-05-01T10:00:00Z",
        "notes": "first line\nsecond line",
    })
}

fn with(field: &str, value: Value) -> Value {
    let mut booking = booking("Grace");
    booking[field] = value;
    booking
}

fn id(answer: &Answer) -> String {
    answer.body["id"].as_str().expect("the answer holds an id").to_owned()
}

/// Everything that a booking would add to.
async fn stored(data_dir: &Path) -> (i64, i64, i64) {
    (
        count(data_dir, "select count(*) from appointment").await,
        count(data_dir, "select count(*) from appointment_message").await,
        count(data_dir, "select count(*) from booking_request").await,
    )
}

#[track_caller]
fn assert_problem(answer: &Answer, status: StatusCode) {
    assert_eq!(answer.status, status, "{}", answer.body);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert_eq!(answer.body["status"], status.as_u16());
    assert!(answer.body["title"].is_string() && answer.body["detail"].is_string(), "{}", answer.body);
}

#[tokio::test]
async fn once_leaves_the_sample_in_the_mailbox_and_nothing_outside_the_data_folder() {
    let home = tempfile::tempdir().expect("a folder");
    let mut command = command(Path::new("data"));
    command.current_dir(home.path()).arg("--once");
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
async fn a_booking_is_answered_delivered_and_shown() {
    let data = tempfile::tempdir().expect("a folder");
    let app = App::start(data.path()).await;
    let answer = app.post(&booking("Grace Hopper")).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    let id = id(&answer);
    assert_eq!(answer.headers["location"], format!("/appointment/{id}"));

    let shown = app.delivered(&id).await;
    let receipt = shown["messages"][0]["receipt"].as_str().expect("the relay's answer is kept").to_owned();
    let expected = json!({
        "id": id,
        "name": "Grace Hopper",
        "email": "guest@example.org",
        "startsAtUtc": "2030-05-01T09:30:00Z",
        "endsAtUtc": "2030-05-01T10:00:00Z",
        "notes": "first line\nsecond line",
        "status": "booked",
        "sequence": 0,
        "messages": [{
            "messageId": answer.body["messageId"],
            "sequence": 0,
            "method": "REQUEST",
            "state": "delivered",
            "failedAttempts": 0,
            "lastFailure": null,
            "receipt": receipt,
        }],
    });
    assert_eq!(shown, expected);

    let mails = mails_about(data.path(), &id);
    assert_eq!(mails.len(), 1);
    assert_eq!(answer.body["messageId"], mails[0].message_id);
    let name = mails[0].path.file_stem().expect("a name").to_string_lossy();
    assert!(receipt.contains(&*name), "{receipt} names the mail {name}");
    assert_eq!(mails[0].ics["DTSTART"], "20300501T093000Z");
    assert_eq!(mails[0].ics["DTEND"], "20300501T100000Z");
    assert_eq!(mails[0].ics["DESCRIPTION"], "first line\\nsecond line");
}

#[tokio::test]
async fn bad_input_is_refused_by_the_name_of_its_field_and_nothing_is_stored() {
    let data = tempfile::tempdir().expect("a folder");
    let mut app = App::start(data.path()).await;
    app.line("Book another").await;
    let before = stored(data.path()).await;

    let without = |field: &str| {
        let mut booking = booking("Grace");
        booking.as_object_mut().expect("an object").remove(field);
        booking
    };
    let bad = [
        ("name", without("name")),
        ("email", without("email")),
        ("startsAtUtc", without("startsAtUtc")),
        ("endsAtUtc", without("endsAtUtc")),
        ("name", with("name", json!(null))),
        ("name", with("name", json!(17))),
        ("name", with("name", json!(""))),
        ("name", with("name", json!(" "))),
        ("name", with("name", json!("x".repeat(201)))),
        ("name", with("name", json!("Grace\r\nBcc: everybody@example.org"))),
        ("name", with("name", json!("Grace\u{0}"))),
        ("name", with("name", json!("Grace\u{85}"))),
        ("name", with("name", json!("Grace\n"))),
        ("email", with("email", json!(["guest@example.org"]))),
        ("email", with("email", json!("guest"))),
        ("email", with("email", json!("guest@"))),
        ("email", with("email", json!("@example.org"))),
        ("email", with("email", json!("Guest <guest@example.org>"))),
        ("email", with("email", json!("guest@example.org, other@example.org"))),
        ("email", with("email", json!("guest@example.org\r\nBcc: other@example.org"))),
        ("email", with("email", json!("guest@example.org "))),
        ("email", with("email", json!("\"a b\"@example.org"))),
        ("email", with("email", json!(format!("{}@example.org", "x".repeat(65))))),
        ("email", with("email", json!("bookings@example.org"))),
        ("startsAtUtc", with("startsAtUtc", json!("tomorrow"))),
        ("startsAtUtc", with("startsAtUtc", json!(1_900_000_000))),
        ("startsAtUtc", with("startsAtUtc", json!("2030-02-30T09:30:00Z"))),
        ("startsAtUtc", with("startsAtUtc", json!("0001-01-01T00:00:00Z"))),
        ("endsAtUtc", with("endsAtUtc", json!("2030-05-01T09:30:00Z"))),
        ("endsAtUtc", with("endsAtUtc", json!("2030-05-01T09:30:00.900Z"))),
        ("endsAtUtc", with("endsAtUtc", json!("2030-05-01T09:00:00Z"))),
        ("endsAtUtc", with("endsAtUtc", json!("9999-12-31T23:59:59-01:00"))),
        ("notes", with("notes", json!({}))),
        ("notes", with("notes", json!("x".repeat(4_001)))),
        ("notes", with("notes", json!("a\tb"))),
        ("notes", with("notes", json!("\u{1b}[2J"))),
        ("phone", with("phone", json!("555"))),
    ];
    for (field, body) in &bad {
        let answer = app.post(body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}: {}", answer.body);
        assert_problem(&answer, StatusCode::UNPROCESSABLE_ENTITY);
        let fields: Vec<_> =
            answer.body["errors"].as_array().expect("fields").iter().map(|e| &e["field"]).collect();
        assert_eq!(fields, [field], "{body}: {}", answer.body);
    }

    let twice = r#"{"name":"A","name":"B","email":"guest@example.org","startsAtUtc":"2030-05-01T09:30:00Z","endsAtUtc":"2030-05-01T10:00:00Z"}"#;
    let answer = app.send(Method::POST, "/appointment", &[JSON], twice).await;
    assert_problem(&answer, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.body["errors"][0]["field"], "name");

    let broken =
        ["", "{", "null", "[]", "\"x\"", "{\"name\":\"\\ud800\"}", "{} {}", "{\"name\":\"a\u{1}b\"}"];
    for body in broken {
        assert_problem(&app.send(Method::POST, "/appointment", &[JSON], body).await, StatusCode::BAD_REQUEST);
    }
    let not_utf8 = b"{\"name\":\"\xff\"}".to_vec();
    assert_problem(&app.send(Method::POST, "/appointment", &[JSON], not_utf8).await, StatusCode::BAD_REQUEST);
    let deep = "[".repeat(10_000);
    assert_problem(&app.send(Method::POST, "/appointment", &[JSON], deep).await, StatusCode::BAD_REQUEST);

    assert_eq!(stored(data.path()).await, before);
    assert_eq!(mails(data.path()).len(), 1, "only the sample was sent");
}

#[tokio::test]
async fn several_mistakes_are_named_together() {
    let data = tempfile::tempdir().expect("a folder");
    let app = App::start(data.path()).await;
    let answer = app.post(&json!({"name": 1, "email": "x", "phone": "555"})).await;
    assert_problem(&answer, StatusCode::UNPROCESSABLE_ENTITY);
    let fields: Vec<_> =
        answer.body["errors"].as_array().expect("fields").iter().map(|e| &e["field"]).collect();
    assert_eq!(fields, ["name", "email", "startsAtUtc", "endsAtUtc", "phone"]);
}

#[tokio::test]
async fn a_form_full_of_mistakes_gets_a_short_answer() {
    let data = tempfile::tempdir().expect("a folder");
    let app = App::start(data.path()).await;
    let unknown: Vec<_> = (0..3_000).map(|number| format!("\"field{number}\":0")).collect();
    let twice = vec!["\"name\":0"; 3_000];
    for fields in [unknown, twice.iter().map(ToString::to_string).collect()] {
        let body = format!("{{{}}}", fields.join(","));
        let answer = app.send(Method::POST, "/appointment", &[JSON], body).await;
        assert_problem(&answer, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(answer.body["errors"].as_array().expect("fields").len(), 20);
    }

    let long = "x".repeat(10_000);
    let body = format!("{{\"{long}\":0,\"{long}\":0}}");
    let answer = app.send(Method::POST, "/appointment", &[JSON], body).await;
    assert_problem(&answer, StatusCode::UNPROCESSABLE_ENTITY);
    let errors = answer.body["errors"].as_array().expect("fields");
    assert_eq!(errors[0]["detail"], "is given twice");
    let longest = errors.iter().filter_map(|error| error["field"].as_str()).map(str::len).max();
    assert_eq!(longest, Some(100));
}

#[tokio::test]
async fn unusual_but_good_input_is_taken() {
    let data = tempfile::tempdir().expect("a folder");
    let app = App::start(data.path()).await;
    let smile = "\u{1f600}";
    let good = [
        with("name", json!("x".repeat(200))),
        with("name", json!(smile.repeat(200))),
        with("notes", json!(smile.repeat(4_000))),
        with("notes", json!(null)),
        with("notes", json!("a\r\nb\rc\nd")),
        with("startsAtUtc", json!("1999-12-31T23:59:59Z")),
        with("startsAtUtc", json!("2030-05-01T09:30:00.123456789Z")),
        with("startsAtUtc", json!("2030-05-01T11:30:00+02:00")),
        with("startsAtUtc", json!("2030-05-01T09:30:00")),
        with("email", json!("o'neill+tag@sub.example.org")),
    ];
    let mut ids = Vec::new();
    for body in &good {
        let answer = app.post(body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{body}: {}", answer.body);
        ids.push(id(&answer));
    }
    for id in &ids {
        app.delivered(id).await;
        assert_eq!(mails_about(data.path(), id).len(), 1);
    }
    // The longest notes, each character written as two escapes, still fit into the limit of the body.
    let escaped = booking("Grace").to_string().replace("first line", &r"\ud83d\ude00".repeat(3_980));
    let answer = app.send(Method::POST, "/appointment", &[JSON], escaped).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
}

#[tokio::test]
async fn what_is_not_in_the_api_is_refused_as_a_problem_too() {
    let data = tempfile::tempdir().expect("a folder");
    let app = App::start(data.path()).await;
    let nobody = "/appointment/0190d9a7-0000-7000-8000-000000000000";
    let times = json!({"startsAtUtc": "2030-05-01T09:30:00Z", "endsAtUtc": "2030-05-01T10:00:00Z"});
    assert_problem(&app.get("/").await, StatusCode::NOT_FOUND);
    assert_problem(&app.get(nobody).await, StatusCode::NOT_FOUND);
    assert_problem(&app.get("/appointment/17").await, StatusCode::NOT_FOUND);
    assert_problem(&app.get("/appointment/%ff").await, StatusCode::NOT_FOUND);
    assert_problem(&app.put(nobody, &times).await, StatusCode::NOT_FOUND);
    assert_problem(&app.delete(nobody).await, StatusCode::NOT_FOUND);

    let answer = app.get("/appointment").await;
    assert_problem(&answer, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer.headers["allow"], "POST");
    assert_problem(&app.send(Method::PATCH, nobody, &[], "").await, StatusCode::METHOD_NOT_ALLOWED);

    let form = ("content-type", "application/x-www-form-urlencoded");
    let body = booking("Grace").to_string();
    let answer = app.send(Method::POST, "/appointment", &[form], body.clone()).await;
    assert_problem(&answer, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let answer = app.send(Method::POST, "/appointment", &[], body.clone()).await;
    assert_problem(&answer, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let utf8 = ("content-type", "Application/JSON; charset=utf-8");
    let answer = app.send(Method::POST, "/appointment", &[utf8], body).await;
    assert_eq!(answer.status, StatusCode::CREATED);

    let large = with("notes", json!("x".repeat(100_000)));
    assert_problem(&app.post(&large).await, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_repeated_post_answers_with_the_first_result() {
    let data = tempfile::tempdir().expect("a folder");
    let app = App::start(data.path()).await;
    let key = [JSON, ("idempotency-key", "order 66")];
    let body = booking("Grace");
    let first = app.send(Method::POST, "/appointment", &key, body.to_string()).await;
    assert_eq!(first.status, StatusCode::CREATED, "{}", first.body);
    assert!(!first.headers.contains_key("idempotency-replayed"));
    let path = format!("/appointment/{}", id(&first));

    // Neither another layout of the JSON, nor a change to the appointment, nor a restart makes it another request.
    let second = app.send(Method::POST, "/appointment", &key, format!("{body:#}")).await;
    assert_eq!((second.status, &second.body), (StatusCode::CREATED, &first.body));
    assert_eq!(second.headers["idempotency-replayed"], "true");
    assert_eq!(second.headers["location"], first.headers["location"]);
    app.delete(&path).await;
    assert!(app.stop().await.success());
    let app = App::start(data.path()).await;
    let third = app.send(Method::POST, "/appointment", &key, body.to_string()).await;
    assert_eq!((third.status, &third.body), (StatusCode::CREATED, &first.body));

    let other = app.send(Method::POST, "/appointment", &key, booking("Other").to_string()).await;
    assert_problem(&other, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(other.body["errors"][0]["field"], "Idempotency-Key");
    let bad =
        [vec![JSON, ("idempotency-key", "")], vec![JSON, ("idempotency-key", "a"), ("idempotency-key", "b")]];
    for headers in &bad {
        let answer = app.send(Method::POST, "/appointment", headers, body.to_string()).await;
        assert_problem(&answer, StatusCode::UNPROCESSABLE_ENTITY);
    }
    app.delivered(&id(&first)).await;
    assert_eq!(mails_about(data.path(), &id(&first)).len(), 2, "the invitation and its cancellation");
}

#[tokio::test]
async fn posts_with_one_key_at_the_same_time_book_once() {
    let data = tempfile::tempdir().expect("a folder");
    let app = App::start(data.path()).await;
    let body = booking("Grace").to_string();
    let key = [JSON, ("idempotency-key", "at once")];
    let send = || app.send(Method::POST, "/appointment", &key, body.clone());
    let (a, b, c, d) = tokio::join!(send(), send(), send(), send());
    for answer in [&a, &b, &c, &d] {
        assert_eq!((answer.status, &answer.body), (StatusCode::CREATED, &a.body));
    }
    app.delivered(&id(&a)).await;
    assert_eq!(mails_about(data.path(), &id(&a)).len(), 1);
}

#[tokio::test]
async fn reschedules_and_the_cancel_arrive_in_their_order() {
    let data = tempfile::tempdir().expect("a folder");
    let app = App::start(data.path()).await;
    let first = app.post(&booking("Grace")).await;
    let id = id(&first);
    let path = format!("/appointment/{id}");
    let mut messages = vec![first.body["messageId"].clone()];
    for hour in 11..=14 {
        let to = json!({
            "startsAtUtc": format!("2030-05-01T{hour}:30:00Z"),
            "endsAtUtc": format!("2030-05-01T{hour}:45:00Z"),
        });
        let answer = app.put(&path, &to).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        messages.push(answer.body["messageId"].clone());
        let again = app.put(&path, &to).await;
        assert_eq!(again.body, answer.body, "asked for what holds already, it tells nobody");
    }
    let cancelled = app.delete(&path).await;
    assert_eq!(cancelled.status, StatusCode::OK, "{}", cancelled.body);
    messages.push(cancelled.body["messageId"].clone());
    assert_eq!(app.delete(&path).await.body, cancelled.body, "a second DELETE answers as the first");

    let shown = app.delivered(&id).await;
    assert_eq!((&shown["status"], &shown["sequence"]), (&json!("cancelled"), &json!(5)));
    assert_eq!(shown["startsAtUtc"], "2030-05-01T14:30:00Z");
    assert_eq!(shown["notes"], "first line\nsecond line", "what a PUT leaves out stays");
    let mails = mails_about(data.path(), &id);
    let arrived: Vec<_> = mails.iter().map(|mail| json!(mail.message_id)).collect();
    assert_eq!(arrived, messages);
    let sequences: Vec<_> = mails.iter().map(|mail| mail.ics["SEQUENCE"].as_str()).collect();
    assert_eq!(sequences, ["0", "1", "2", "3", "4", "5"]);
    let methods: Vec<_> = mails.iter().map(|mail| mail.ics["METHOD"].as_str()).collect();
    assert_eq!(methods, ["REQUEST", "REQUEST", "REQUEST", "REQUEST", "REQUEST", "CANCEL"]);
    assert!(mails.iter().all(|mail| mail.ics["UID"] == mails[0].ics["UID"]));

    let times = json!({"startsAtUtc": "2031-05-01T09:30:00Z", "endsAtUtc": "2031-05-01T10:00:00Z"});
    assert_problem(&app.put(&path, &times).await, StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_bad_reschedule_is_refused_and_changes_nothing() {
    let data = tempfile::tempdir().expect("a folder");
    let app = App::start(data.path()).await;
    let first = app.post(&booking("Grace")).await;
    let path = format!("/appointment/{}", id(&first));
    let before = app.delivered(&id(&first)).await;
    let bad = [
        ("email", with("email", json!("other@example.org"))),
        ("endsAtUtc", with("endsAtUtc", json!("2020-01-01T00:00:00Z"))),
        ("startsAtUtc", json!({"endsAtUtc": "2030-05-01T10:00:00Z"})),
        ("id", with("id", json!("x"))),
    ];
    for (field, body) in &bad {
        let answer = app.put(&path, body).await;
        assert_problem(&answer, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(answer.body["errors"][0]["field"], *field, "{}", answer.body);
    }
    assert_eq!(app.get(&path).await.body, before);
}

#[tokio::test]
async fn what_was_committed_before_a_stop_is_delivered_by_the_next_start() {
    let data = tempfile::tempdir().expect("a folder");
    // A relay that is down: nobody listens on the port of a listener that is gone.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let mut down = command(data.path());
    down.env("SMTP_URL", format!("smtp://{gone}"));
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
    let first = Arc::new(App::start(data.path()).await);
    let enough = Arc::new(AtomicBool::new(false));
    let mut guests = JoinSet::new();
    for _ in 0..8 {
        let (first, enough) = (Arc::clone(&first), Arc::clone(&enough));
        guests.spawn(async move {
            let mut ids = Vec::new();
            while !enough.load(Ordering::Relaxed) {
                ids.push(id(&first.post(&booking("Grace")).await));
            }
            ids
        });
    }
    // While the first delivers what they book, others start beside it, and one of them stays.
    for _ in 0..5 {
        assert!(App::start(data.path()).await.stop().await.success());
    }
    let second = App::start(data.path()).await;
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

#[tokio::test]
async fn idle_and_half_sent_requests_do_not_hold_up_a_stop() {
    let data = tempfile::tempdir().expect("a folder");
    let app = App::start(data.path()).await;
    let _idle = TcpStream::connect(app.api).await.expect("the API takes a connection");
    let mut half = TcpStream::connect(app.api).await.expect("the API takes a connection");
    half.write_all(b"POST /appointment HTTP/1.1\r\ncontent-le").await.expect("the API reads");
    assert!(app.stop().await.success());
}

#[tokio::test]
async fn request_heads_that_never_end_are_given_up_and_do_not_keep_others_out() {
    let data = tempfile::tempdir().expect("a folder");
    let app = App::start(data.path()).await;
    let mut halves = Vec::new();
    // More than are served at a time.
    for _ in 0..300 {
        let mut half = TcpStream::connect(app.api).await.expect("the API takes a connection");
        half.write_all(b"GET / HT").await.expect("the API reads");
        halves.push(half);
    }
    assert_eq!(app.post(&booking("Grace")).await.status, StatusCode::CREATED);
    for mut half in halves {
        let mut rest = Vec::new();
        let end = tokio::time::timeout(PATIENCE, half.read_to_end(&mut rest)).await;
        // Closed or reset, either will do.
        drop(end.expect("the API ends the connection"));
    }
}

const NOTHING_SPENT: &str = "no attempt was spent, so the relay cannot be used; the warnings above say why";

#[tokio::test]
#[ignore = "takes 30 s; scripts/test runs it"]
async fn once_fails_and_says_why_when_the_relay_is_down() {
    let data = tempfile::tempdir().expect("a folder");
    let gone = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let mut command = command(data.path());
    command.arg("--once").env("SMTP_URL", format!("smtp://{gone}"));
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
        ("DATABASE_URL", "postgres://user:hunter2@localhost/db", "runs on SQLite"),
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
