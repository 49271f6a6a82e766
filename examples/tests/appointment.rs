//! The HTTP API of the appointment example, and what lands in the mailbox.

mod support;

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Answer, App, JSON, PATIENCE, booking, id, mails, mails_about, stored};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn with(field: &str, value: Value) -> Value {
    let mut booking = booking("Grace");
    booking[field] = value;
    booking
}

#[track_caller]
fn assert_problem(answer: &Answer, status: StatusCode) {
    assert_eq!(answer.status, status, "{}", answer.body);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert_eq!(answer.body["status"], status.as_u16());
    assert!(answer.body["title"].is_string() && answer.body["detail"].is_string(), "{}", answer.body);
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
async fn reschedules_at_the_same_time_become_versions_of_their_own() {
    let data = tempfile::tempdir().expect("a folder");
    let app = App::start(data.path()).await;
    let id = id(&app.post(&booking("Grace")).await);
    let path = format!("/appointment/{id}");
    let to = [11, 12, 13, 14].map(|hour| {
        let times = [format!("2030-05-01T{hour}:30:00Z"), format!("2030-05-01T{hour}:45:00Z")];
        json!({"startsAtUtc": times[0], "endsAtUtc": times[1]})
    });
    let (a, b, c, d) = tokio::join!(
        app.put(&path, &to[0]),
        app.put(&path, &to[1]),
        app.put(&path, &to[2]),
        app.put(&path, &to[3])
    );
    for answer in [&a, &b, &c, &d] {
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    }
    let shown = app.delivered(&id).await;
    assert_eq!(shown["sequence"], 4);
    let mails = mails_about(data.path(), &id);
    let sequences: Vec<_> = mails.iter().map(|mail| mail.ics["SEQUENCE"].as_str()).collect();
    assert_eq!(sequences, ["0", "1", "2", "3", "4"]);
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
