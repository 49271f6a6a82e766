//! Migrations, prefixes, roles, and how durable a delivery is.

use outbox_core::{DispatcherId, Enqueue, OutboxAdmin, OutboxStore, StoreErrorKind};
use outbox_sqlx::PostgresOutbox;
use sqlx::ConnectOptions;

use crate::fixture::{LEASE, Schema, Session, message, server, texts};

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn processes_that_migrate_at_once_do_it_once() {
    let schema = Schema::new().await;
    let fresh = |name: &'static str| {
        let outbox = PostgresOutbox::builder(schema.pool.clone()).table_prefix(name).build().unwrap();
        tokio::spawn(async move { outbox.migrate().await })
    };
    let migrating: Vec<_> = (0..4).map(|_| fresh("new_")).collect();
    for one in migrating {
        one.await.unwrap().unwrap();
    }
    let steps = PostgresOutbox::migrations("new_").unwrap().len();
    assert_eq!(schema.number("SELECT count(*) FROM new_schema").await, steps as i64);
}

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn missing_tables_are_told_with_the_migration_to_run() {
    let schema = Schema::new().await;
    let outbox = PostgresOutbox::builder(schema.pool.clone()).table_prefix("other_").build().unwrap();
    let error = outbox.renew(&DispatcherId::new("d"), None, LEASE).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Schema);
    assert!(error.to_string().contains("0001_outbox"), "{error}");
    let mut conn = schema.pool.acquire().await.unwrap();
    let error = outbox.enqueue(&mut conn, &[message("k", "1")]).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Schema);
    // It works as soon as the tables are there, without a new start.
    outbox.migrate().await.unwrap();
    outbox.enqueue(&mut conn, &[message("k", "1")]).await.unwrap();
    outbox.renew(&DispatcherId::new("d"), None, LEASE).await.unwrap();
}

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn tables_of_a_newer_version_are_left_alone() {
    let schema = Schema::new().await;
    schema.execute("INSERT INTO outbox_schema (version, name) VALUES (999, 'later')").await;
    let outbox = schema.elsewhere().await;
    assert_eq!(outbox.migrate().await.unwrap_err().kind(), StoreErrorKind::Schema);
    let error = outbox.renew(&DispatcherId::new("d"), None, LEASE).await.unwrap_err();
    assert!(error.to_string().contains("999"), "{error}");
}

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn two_prefixes_in_a_schema_are_two_outboxes() {
    let schema = Schema::new().await;
    let other = PostgresOutbox::builder(schema.pool.clone()).table_prefix("Billing2_").build().unwrap();
    other.migrate().await.unwrap();
    let mut tx = schema.outbox.begin().await.unwrap();
    schema.outbox.enqueue(&mut tx, &[message("k", "one")]).await.unwrap();
    other.enqueue(&mut tx, &[message("k", "two")]).await.unwrap();
    schema.outbox.commit(tx).await.unwrap();
    assert_eq!(Session::start(&schema.outbox).await.deliver(10).await, ["one"]);
    assert_eq!(Session::start(&other).await.deliver(10).await, ["two"]);
}

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn nothing_is_delivered_before_it_is_durable_even_when_the_default_is_off() {
    let schema = Schema::new().await;
    let name = &schema.name;
    schema
        .execute(&format!(
            "CREATE ROLE {name} LOGIN SUPERUSER; ALTER ROLE {name} SET synchronous_commit = off"
        ))
        .await;
    let options = server().username(name).options([("search_path", name)]);
    let pool = sqlx::postgres::PgPoolOptions::new().connect_with(options).await.unwrap();
    let off: String = sqlx::query_scalar("SHOW synchronous_commit").fetch_one(&pool).await.unwrap();
    assert_eq!(off, "off", "the application chose so");
    // What the outbox's own connections are set to, they tell by a trigger on the journal.
    schema
        .execute(
            "CREATE TABLE seen (setting text);
             CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NEW; END $$;
             CREATE TRIGGER look BEFORE INSERT ON outbox_journal FOR EACH ROW EXECUTE FUNCTION look()",
        )
        .await;
    let outbox = PostgresOutbox::new(pool.clone());
    let session = Session::start(&outbox).await;
    let batch = outbox_core::Batch { number: outbox_core::BatchNo(1), places: vec![], alone: false };
    let settlement = outbox_core::Settlement { begin: Some(&batch), ..Default::default() };
    outbox.settle(session.owned.epoch, &settlement).await.unwrap();
    let seen: String = sqlx::query_scalar("SELECT setting FROM seen").fetch_one(&schema.pool).await.unwrap();
    assert_eq!(seen, "on");
    drop((session, outbox));
    pool.close().await;
    schema.execute(&format!("DROP OWNED BY {name}; DROP ROLE {name}")).await;
}

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn a_producer_role_can_enqueue_and_nothing_else() {
    let schema = Schema::new().await;
    let role = format!("{}_p", schema.name);
    schema
        .execute(&format!(
            "CREATE ROLE {role} LOGIN;
             GRANT USAGE ON SCHEMA {} TO {role};
             GRANT INSERT, SELECT (id) ON outbox_messages TO {role};
             GRANT USAGE ON SEQUENCE outbox_places TO {role};
             GRANT INSERT, SELECT ON outbox_idempotency TO {role};
             GRANT SELECT (id, state) ON outbox_deferred TO {role}",
            schema.name
        ))
        .await;
    let options = server().username(&role).options([("search_path", &schema.name)]);
    let mut conn = options.connect().await.unwrap();
    let once =
        || outbox_core::NewMessage::builder("t").key("k").idempotency_key("once").json("2").build().unwrap();
    schema.outbox.enqueue(&mut conn, &[message("k", "1"), once()]).await.unwrap();
    let again = schema.outbox.enqueue(&mut conn, &[once()]).await.unwrap();
    assert!(again[0].is_duplicate());
    for forbidden in [
        "SELECT payload FROM outbox_messages",
        "DELETE FROM outbox_messages",
        "UPDATE outbox_leases SET epoch = 1",
        "SELECT payload FROM outbox_deferred",
    ] {
        assert!(sqlx::raw_sql(forbidden).execute(&mut conn).await.is_err(), "{forbidden}");
    }
    assert_eq!(texts(&Session::start(&schema.outbox).await.claim(10).await), ["1", "\"2\""]);
    assert_eq!(schema.outbox.counts().await.unwrap().len(), 1);
    drop(conn);
    schema.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn ids_that_the_database_gives_are_in_the_order_of_time() {
    let schema = Schema::new().await;
    for _ in 0..3 {
        schema
            .execute("INSERT INTO outbox_messages (topic, payload) VALUES ('t', 'x'); SELECT pg_sleep(0.002)")
            .await;
    }
    let mut session = Session::start(&schema.outbox).await;
    let ids: Vec<_> = session
        .claim(10)
        .await
        .iter()
        .map(|claimed| *claimed.message.as_ref().unwrap().id.as_uuid())
        .collect();
    assert!(ids.is_sorted(), "{ids:?}");
    for id in ids {
        assert_eq!((id.get_version_num(), id.get_variant()), (7, uuid::Variant::RFC4122));
        let (seconds, _) = id.get_timestamp().expect("version 7 has one").to_unix();
        let now = schema.number("SELECT extract(epoch FROM clock_timestamp())::bigint").await;
        assert!(now.unsigned_abs().abs_diff(seconds) < 600, "{id} is of now");
    }
}

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn a_message_that_is_restored_and_delivered_again_is_in_the_history_twice() {
    let schema = Schema::with(|builder| builder.history(true)).await;
    let mut session = Session::start(&schema.outbox).await;
    schema.execute("CREATE TABLE saved (LIKE outbox_messages)").await;
    schema.send(&[message("k", "1")]).await;
    schema.execute("INSERT INTO saved SELECT * FROM outbox_messages").await;
    assert_eq!(session.deliver(10).await, ["1"]);
    schema
        .execute(
            "INSERT INTO outbox_messages (seq, id, topic, message_key, payload)
                  SELECT seq, id, topic, message_key, payload FROM saved",
        )
        .await;
    assert_eq!(session.deliver(10).await, ["1"]);
    assert_eq!(schema.number("SELECT count(*) FROM outbox_history").await, 2);
}
