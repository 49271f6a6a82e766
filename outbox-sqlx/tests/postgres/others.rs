//! Enqueueing with clients that are not ours, by the statement that is handed out for them.

use std::process::Command;
use std::time::SystemTime;

use outbox_core::{MessageId, OutboxAdmin};
use outbox_sqlx::PostgresOutbox;
use tokio_postgres::NoTls;
use uuid::Uuid;

use crate::fixture::{Schema, Session, server, texts};

/// A connection of tokio-postgres to the schema.
async fn connect(schema: &Schema) -> tokio_postgres::Client {
    let server = server();
    let (client, connection) = tokio_postgres::Config::new()
        .host(server.get_host())
        .port(server.get_port())
        .user(server.get_username())
        .dbname(server.get_database().unwrap_or("postgres"))
        .password(std::env::var("PGPASSWORD").unwrap_or_default())
        .options(format!("-c search_path={}", schema.name))
        .connect(NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

/// Enqueues texts with their idempotency keys, in the client's own transaction; the ids that were stored.
async fn enqueue(
    tx: &tokio_postgres::Transaction<'_>,
    messages: &[(Uuid, &str, Option<&str>)],
) -> Result<Vec<Uuid>, tokio_postgres::Error> {
    let sql = PostgresOutbox::enqueue_sql("outbox_").unwrap();
    let count = messages.len();
    let ids: Vec<Uuid> = messages.iter().map(|message| message.0).collect();
    let payloads: Vec<&[u8]> = messages.iter().map(|message| message.1.as_bytes()).collect();
    let once: Vec<Option<&str>> = messages.iter().map(|message| message.2).collect();
    let rows = tx
        .query(
            &sql,
            &[
                &ids,
                &vec!["t"; count],
                &vec!["greeting"; count],
                &vec![Some("k"); count],
                &vec!["text/plain"; count],
                &vec![Some(r#"{"from": "elsewhere"}"#); count],
                &once,
                &vec![None::<SystemTime>; count],
                &payloads,
            ],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn tokio_postgres_enqueues_in_its_own_transaction_and_hears_of_duplicates() {
    let schema = Schema::new().await;
    let mut client = connect(&schema).await;
    let id = || *MessageId::generate().as_uuid();

    let tx = client.transaction().await.unwrap();
    enqueue(&tx, &[(id(), "never", None)]).await.unwrap();
    tx.rollback().await.unwrap();

    let tx = client.transaction().await.unwrap();
    let (first, second, third) = (id(), id(), id());
    let messages = [(first, "1", None), (second, "2", Some("once")), (third, "3", None)];
    let mut stored = enqueue(&tx, &messages).await.unwrap();
    stored.sort_unstable();
    let mut all = vec![first, second, third];
    all.sort_unstable();
    assert_eq!(stored, all);
    tx.commit().await.unwrap();

    let tx = client.transaction().await.unwrap();
    let fourth = id();
    let again = enqueue(&tx, &[(id(), "2 again", Some("once")), (fourth, "4", None)]).await.unwrap();
    assert_eq!(again, [fourth], "the duplicate was left out, and the transaction lives");
    tx.commit().await.unwrap();

    let shown = schema.outbox.show(second.into()).await.unwrap().unwrap().message.unwrap();
    assert_eq!((shown.message_type.as_str(), shown.key.as_deref()), ("greeting", Some("k")));
    assert_eq!(shown.headers.get("from"), Some("elsewhere"));
    let mut session = Session::start(&schema.outbox).await;
    assert_eq!(texts(&session.claim(10).await), ["1", "2", "3", "4"], "in the order given");
}

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn psql_runs_the_same_statement() {
    let schema = Schema::new().await;
    let sql = PostgresOutbox::enqueue_sql("outbox_").unwrap();
    let nulls = "array[null, null]";
    let script = format!(
        "SET search_path = {};
         PREPARE enqueue AS {sql};
         BEGIN;
         EXECUTE enqueue(array[gen_random_uuid(), gen_random_uuid()], array['t', 't'], array['', ''],
             array['k', 'k'], array['text/plain', 'text/plain'], {nulls}, {nulls}, {nulls}::timestamptz[],
             array['one'::bytea, 'two'::bytea]);
         COMMIT;
         NOTIFY outbox_messages;",
        schema.name
    );
    let psql = std::env::var("PSQL").expect("PSQL names the client; see scripts/services");
    let url = std::env::var("TEST_POSTGRES_URL").unwrap();
    let ran = Command::new(psql)
        .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", &url, "-c", &script])
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let mut session = Session::start(&schema.outbox).await;
    assert_eq!(session.deliver(10).await, ["one", "two"]);
}

#[test]
fn the_statement_carries_the_prefix_and_a_bad_prefix_is_refused() {
    assert!(PostgresOutbox::enqueue_sql("billing_").unwrap().contains("INSERT INTO billing_messages"));
    assert!(PostgresOutbox::enqueue_sql("x; DROP TABLE y; --").is_err());
}
