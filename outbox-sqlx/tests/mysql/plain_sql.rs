//! Messages that other clients write, with nothing but SQL.

use std::process::Stdio;

use outbox_core::{Enqueue, Enqueued, NewMessage};
use tokio::process::Command;

use crate::fixture::{Database, Session, message, texts};

#[path = "../documented/statements.rs"]
mod documented;

/// Runs the server's own client, which is not our code; what it said on error.
async fn try_client(database: &Database, sql: &str) -> Result<String, String> {
    let url = std::env::var("TEST_MYSQL_URL").unwrap();
    // mysql://user:password@host:port/database
    let (login, place) = url.strip_prefix("mysql://").and_then(|url| url.split_once('@')).unwrap();
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let (host, port) = place.split('/').next().and_then(|place| place.split_once(':')).unwrap();
    let answer = Command::new(std::env::var("MARIADB").unwrap_or_else(|_| "mariadb".to_owned()))
        .args(["--no-defaults", "--protocol=tcp", "--batch", "--skip-column-names"])
        .args(["--default-character-set=utf8mb4", "--user", user, "--host", host, "--port", port])
        .args(["--database", &database.name, "--execute", sql])
        .env("MYSQL_PWD", password)
        .stdin(Stdio::null())
        .output()
        .await
        .expect("the client is installed; MARIADB names it");
    match answer.status.success() {
        true => Ok(String::from_utf8(answer.stdout).unwrap().trim().to_owned()),
        false => Err(String::from_utf8_lossy(&answer.stderr).into_owned()),
    }
}

async fn client(database: &Database, sql: &str) -> String {
    try_client(database, sql).await.unwrap()
}

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn an_insert_with_only_topic_and_payload_is_delivered() {
    let database = Database::new().await;
    let mut session = Session::start(&database.outbox).await;
    client(&database, "INSERT INTO outbox_messages (topic, payload) VALUES ('t', 'hello')").await;
    let claimed = session.claim(10).await;
    let message = claimed[0].message.as_ref().unwrap();
    assert_eq!((message.topic.as_str(), &message.payload[..]), ("t", &b"hello"[..]));
    assert_eq!(message.content_type, "application/octet-stream");
    assert_eq!((message.key.as_deref(), message.headers.len()), (None, 0));
}

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn a_key_has_the_same_slot_whoever_writes_it() {
    let database = Database::new().await;
    let insert = "INSERT INTO outbox_messages (topic, message_key, payload) VALUES ('t', 'Ærø', 'x')";
    client(&database, insert).await;
    // A client that writes in another encoding means the same text.
    client(
        &database,
        "SET NAMES latin1; INSERT INTO outbox_messages (topic, message_key, payload) VALUES ('t', _latin1 X'C672F8', 'z')",
    )
    .await;
    database.send(&[message("Ærø", "y")]).await;
    assert_eq!(database.number("SELECT COUNT(DISTINCT partition_no) FROM outbox_messages").await, 1);
    assert_eq!(database.number("SELECT COUNT(DISTINCT message_key) FROM outbox_messages").await, 1);
}

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn messages_without_a_key_spread_over_the_slots() {
    let database = Database::new().await;
    let rows = vec!["('t', 'x')"; 800].join(", ");
    client(&database, &format!("INSERT INTO outbox_messages (topic, payload) VALUES {rows}")).await;
    let of_ours: Vec<_> =
        (0..800).map(|_| NewMessage::builder("ours").payload("x", "text/plain").build().unwrap()).collect();
    database.send(&of_ours).await;
    for topic in ["t", "ours"] {
        let sql = format!(
            "SELECT CONCAT(COUNT(*), ' ', MIN(messages) > 20, ' ', MAX(messages) < 100) FROM (
             SELECT COUNT(*) AS messages FROM outbox_messages WHERE topic = '{topic}' GROUP BY partition_no) AS slots"
        );
        assert_eq!(client(&database, &sql).await, "16 1 1", "about fifty in each of sixteen slots");
    }
}

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn a_known_idempotency_key_is_refused_whoever_writes_it_and_the_transaction_lives_on() {
    let database = Database::new().await;
    let insert = "INSERT INTO outbox_messages (topic, idempotency_key, payload) VALUES ('t', 'once', 'x')";
    client(&database, insert).await;
    let ignoring = "INSERT IGNORE INTO outbox_messages (topic, idempotency_key, payload)
                    VALUES ('t', 'other', 'x'), ('t', 'once', 'x')";
    for again in [insert, ignoring] {
        let error = try_client(&database, again).await.unwrap_err();
        assert!(error.contains("1062"), "{error}");
    }
    let mut tx = database.outbox.begin().await.unwrap();
    sqlx::raw_sql("INSERT INTO outbox_messages (topic, payload) VALUES ('t', 'kept')")
        .execute(&mut *tx)
        .await
        .unwrap();
    assert!(sqlx::raw_sql(insert).execute(&mut *tx).await.is_err());
    database.outbox.commit(tx).await.unwrap();
    let id = client(&database, "SELECT id FROM outbox_overview WHERE message_key IS NULL LIMIT 1").await;
    let again = NewMessage::builder("t").idempotency_key("once").json("y").build().unwrap();
    assert_eq!(database.send(&[again]).await, [Enqueued::Duplicate(id.parse().unwrap())]);
    assert_eq!(database.number("SELECT COUNT(*) FROM outbox_messages").await, 2);
    assert_eq!(database.number("SELECT COUNT(*) FROM outbox_idempotency").await, 1, "nothing half-written");
}

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn a_duplicate_leaves_the_transaction_of_the_caller_alive_and_whole_in_every_isolation() {
    let database = Database::new().await;
    database.execute("CREATE TABLE business (n BIGINT)").await;
    let once = || NewMessage::builder("t").idempotency_key("once").json("y").build().unwrap();
    for (n, isolation) in
        ["READ UNCOMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"].into_iter().enumerate()
    {
        let mut conn = database.pool.acquire().await.unwrap();
        database.number("SELECT 1").await;
        let set = format!("SET TRANSACTION ISOLATION LEVEL {isolation}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(set)).execute(&mut *conn).await.unwrap();
        let mut tx = sqlx::Connection::begin(&mut *conn).await.unwrap();
        sqlx::query("INSERT INTO business VALUES (1)").execute(&mut *tx).await.unwrap();
        // Its snapshot, where it has one, is older than the commit of the key.
        sqlx::raw_sql("SELECT COUNT(*) FROM business").execute(&mut *tx).await.unwrap();
        if n == 0 {
            database.send(&[once()]).await;
        }
        let answers = database.outbox.enqueue(&mut tx, &[once(), message("a", "1")]).await.unwrap();
        assert!(answers[0].is_duplicate() && !answers[1].is_duplicate(), "{isolation}");
        tx.commit().await.unwrap();
    }
    assert_eq!(database.number("SELECT COUNT(*) FROM business").await, 4);
    assert_eq!(database.number("SELECT COUNT(*) FROM outbox_messages").await, 5);
}

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn the_settings_of_a_client_change_nothing() {
    let database = Database::new().await;
    let mut session = Session::start(&database.outbox).await;
    let mut conn = database.pool.acquire().await.unwrap();
    sqlx::raw_sql(
        "SET SESSION sql_mode = 'ANSI,NO_BACKSLASH_ESCAPES,NO_AUTO_VALUE_ON_ZERO,PIPES_AS_CONCAT', time_zone = '-11:00';
         SET NAMES latin1",
    )
    .execute(&mut *conn)
    .await
    .unwrap();
    let text = "it's \"Ærø\" \\ 😀";
    let sent = NewMessage::builder("t").key(text).payload(text, "text/plain").build().unwrap();
    database.outbox.enqueue(&mut conn, std::slice::from_ref(&sent)).await.unwrap();
    let claimed = session.claim(10).await;
    assert_eq!(texts(&claimed), [text]);
    let message = claimed[0].message.as_ref().unwrap();
    assert_eq!(message.key.as_deref(), Some(text));
    assert!(message.created_at.elapsed().unwrap().as_secs() < 600, "the clock is UTC");
}

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn the_documented_statements_run_as_they_stand() {
    let database = Database::new().await;
    let _session = Session::start(&database.outbox).await;
    let answer = client(&database, &documented::statements("MySQL and MariaDB")).await;
    let lines: Vec<&str> = answer.lines().collect();
    assert_eq!(lines.len(), 2, "one message waits, and one session delivers: {answer}");
    assert!(lines[0].contains("waiting") && lines[1].contains("test"), "{answer}");
}
