//! Messages that other clients write, with nothing but SQL.

use std::process::Stdio;

use outbox_core::{Enqueue, Enqueued};
use tokio::process::Command;

use crate::fixture::{Schema, Session, message, texts};

#[path = "../documented/statements.rs"]
mod documented;

/// Runs `psql`, which is not our code, in the schema.
async fn psql(schema: &Schema, sql: &str) -> String {
    let url = std::env::var("TEST_POSTGRES_URL").unwrap();
    let answer = Command::new(std::env::var("PSQL").unwrap_or_else(|_| "psql".to_owned()))
        .args(["-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-c", sql, &url])
        .env("PGOPTIONS", format!("-c search_path={}", schema.name))
        .stdin(Stdio::null())
        .output()
        .await
        .expect("psql is installed");
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    String::from_utf8(answer.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn an_insert_with_only_topic_and_payload_is_delivered() {
    let schema = Schema::new().await;
    let mut session = Session::start(&schema.outbox).await;
    psql(&schema, "INSERT INTO outbox_messages (topic, payload) VALUES ('t', 'hello')").await;
    let claimed = session.claim(10).await;
    let message = claimed[0].message.as_ref().unwrap();
    assert_eq!((message.topic.as_str(), &message.payload[..]), ("t", &b"hello"[..]));
    assert_eq!(message.content_type, "application/octet-stream");
    assert_eq!((message.key.as_deref(), message.headers.len()), (None, 0));
}

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn the_function_takes_json_as_it_is() {
    let schema = Schema::new().await;
    let mut session = Session::start(&schema.outbox).await;
    psql(&schema, r#"SELECT outbox_send('t', 'k', '{"path": "C:\\new"}')"#).await;
    psql(&schema, "SELECT outbox_send('t', NULL, '[]')").await;
    let claimed = session.claim(10).await;
    assert_eq!(texts(&claimed), [r#"{"path": "C:\\new"}"#, "[]"]);
    let message = claimed[0].message.as_ref().unwrap();
    assert_eq!((message.key.as_deref(), message.content_type.as_str()), (Some("k"), "application/json"));
}

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn a_key_has_the_same_slot_whoever_writes_it() {
    let schema = Schema::new().await;
    psql(&schema, "INSERT INTO outbox_messages (topic, message_key, payload) VALUES ('t', 'Ærø', 'x')").await;
    schema.send(&[message("Ærø", "y")]).await;
    let slots = schema.number("SELECT count(DISTINCT partition_no) FROM outbox_messages").await;
    assert_eq!(slots, 1);
}

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn an_idempotency_key_is_stored_once_whoever_writes_it() {
    let schema = Schema::new().await;
    let insert = "INSERT INTO outbox_messages (topic, idempotency_key, payload) VALUES ('t', 'once', 'x')";
    psql(&schema, insert).await;
    psql(&schema, insert).await;
    let id = psql(&schema, "SELECT id FROM outbox_messages").await;
    let again = outbox_core::NewMessage::builder("t").idempotency_key("once").json("y").build().unwrap();
    assert_eq!(schema.send(&[again]).await, [Enqueued::Duplicate(id.parse().unwrap())]);
    assert_eq!(schema.number("SELECT count(*) FROM outbox_messages").await, 1);
}

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn a_duplicate_leaves_the_transaction_of_the_caller_alive_and_whole() {
    let schema = Schema::new().await;
    schema.execute("CREATE TABLE business (n bigint)").await;
    let once = || outbox_core::NewMessage::builder("t").idempotency_key("once").json("y").build().unwrap();
    schema.send(&[once()]).await;
    let mut tx = schema.outbox.begin().await.unwrap();
    sqlx::query("INSERT INTO business VALUES (1)").execute(&mut *tx).await.unwrap();
    let answers = schema.outbox.enqueue(&mut tx, &[once(), message("a", "1")]).await.unwrap();
    assert!(answers[0].is_duplicate() && !answers[1].is_duplicate());
    schema.outbox.commit(tx).await.unwrap();
    assert_eq!(schema.number("SELECT count(*) FROM business").await, 1);
    assert_eq!(schema.number("SELECT count(*) FROM outbox_messages").await, 2);
}

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn a_schema_outside_the_search_path_of_the_client_works() {
    let schema = Schema::new().await;
    let name = &schema.name;
    let insert = format!(
        "SET search_path = pg_catalog; SELECT {name}.outbox_send('t', 'k', '1');
         INSERT INTO {name}.outbox_messages (topic, idempotency_key, payload) VALUES ('t', 'once', '2')"
    );
    psql(&schema, &insert).await;
    assert_eq!(texts(&Session::start(&schema.outbox).await.claim(10).await), ["1", "2"]);
}

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn the_documented_statements_run_as_they_stand() {
    let schema = Schema::new().await;
    let _session = Session::start(&schema.outbox).await;
    let answer = psql(&schema, &documented::statements("PostgreSQL")).await;
    let lines: Vec<&str> = answer.lines().collect();
    assert_eq!(lines.len(), 2, "one message waits, and one session delivers: {answer}");
    assert!(lines[0].contains("waiting") && lines[1].contains("test"), "{answer}");
}
