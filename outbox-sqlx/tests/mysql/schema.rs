//! Migrations, prefixes, rights, and who waits for whom.

use outbox_core::{
    Batch, BatchNo, DispatcherId, Enqueue, Fence, OutboxAdmin, OutboxStore, Settlement, StoreErrorKind,
};
use outbox_sqlx::MySqlOutbox;
use sqlx::ConnectOptions;
use sqlx::mysql::MySqlConnectOptions;

use crate::fixture::{Database, LEASE, Session, message, on_server, server, texts};

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn processes_that_migrate_at_once_do_it_once() {
    let database = Database::new().await;
    let fresh = |name: &'static str| {
        let outbox = MySqlOutbox::builder(database.pool.clone()).table_prefix(name).build().unwrap();
        tokio::spawn(async move { outbox.migrate().await })
    };
    let migrating: Vec<_> = (0..4).map(|_| fresh("new_")).collect();
    for one in migrating {
        one.await.unwrap().unwrap();
    }
    assert_eq!(database.number("SELECT COUNT(*) FROM new_schema").await, 1);
}

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn a_migration_that_was_cut_off_anywhere_can_be_run_again() {
    let database = Database::new().await;
    let statements = |prefix: &str| -> Vec<String> {
        let text = &MySqlOutbox::migrations(prefix).unwrap()[0].sql;
        let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
        code.join("\n").split(";\n").map(str::to_owned).filter(|one| !one.trim().is_empty()).collect()
    };
    let count = statements("x").len();
    assert!(count > 12, "{count} statements");
    for done in [1, 3, count / 2, count - 1] {
        let prefix = format!("cut{done}_");
        for statement in &statements(&prefix)[..done] {
            database.execute(statement).await;
        }
        let outbox = MySqlOutbox::builder(database.pool.clone()).table_prefix(&prefix).build().unwrap();
        let error = outbox.renew(&DispatcherId::new("d"), None, LEASE).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Schema, "half of the tables are none");
        outbox.migrate().await.unwrap();
        let mut tx = outbox.begin().await.unwrap();
        outbox.enqueue(&mut tx, &[message("k", "1")]).await.unwrap();
        outbox.commit(tx).await.unwrap();
        assert_eq!(Session::start(&outbox).await.deliver(10).await, ["1"], "after {done} statements");
    }
}

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn missing_tables_are_told_with_the_migration_to_run() {
    let database = Database::new().await;
    let outbox = MySqlOutbox::builder(database.pool.clone()).table_prefix("other_").build().unwrap();
    let error = outbox.renew(&DispatcherId::new("d"), None, LEASE).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Schema);
    assert!(error.to_string().contains("0001_outbox"), "{error}");
    let mut conn = database.pool.acquire().await.unwrap();
    let error = outbox.enqueue(&mut conn, &[message("k", "1")]).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Schema);
    // It works as soon as the tables are there, without a new start.
    outbox.migrate().await.unwrap();
    outbox.enqueue(&mut conn, &[message("k", "1")]).await.unwrap();
    outbox.renew(&DispatcherId::new("d"), None, LEASE).await.unwrap();
}

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn tables_of_a_newer_version_are_left_alone() {
    let database = Database::new().await;
    database.execute("INSERT INTO outbox_schema (version, name) VALUES (999, 'later')").await;
    let outbox = database.elsewhere().await;
    assert_eq!(outbox.migrate().await.unwrap_err().kind(), StoreErrorKind::Schema);
    let error = outbox.renew(&DispatcherId::new("d"), None, LEASE).await.unwrap_err();
    assert!(error.to_string().contains("999"), "{error}");
}

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn two_prefixes_in_a_database_are_two_outboxes() {
    let database = Database::new().await;
    let other = MySqlOutbox::builder(database.pool.clone()).table_prefix("Billing2_").build().unwrap();
    other.migrate().await.unwrap();
    let mut tx = database.outbox.begin().await.unwrap();
    database.outbox.enqueue(&mut tx, &[message("k", "one")]).await.unwrap();
    other.enqueue(&mut tx, &[message("k", "two")]).await.unwrap();
    database.outbox.commit(tx).await.unwrap();
    assert_eq!(Session::start(&database.outbox).await.deliver(10).await, ["one"]);
    assert_eq!(Session::start(&other).await.deliver(10).await, ["two"]);
}

/// A user with `grants` on tables of the database; dropped by the caller. Without a password, which MySQL takes only over
/// TLS or encrypted.
async fn user(database: &Database, kind: &str, grants: &[&str]) -> MySqlConnectOptions {
    let user = format!("{kind}_{}", &database.name[database.name.len() - 12..]);
    on_server(format!("CREATE USER '{user}'@'%'")).await.unwrap();
    for grant in grants {
        let (rights, table) = grant.split_once(" ON ").unwrap();
        on_server(format!("GRANT {rights} ON {}.{table} TO '{user}'@'%'", database.name)).await.unwrap();
    }
    let server = server();
    MySqlConnectOptions::new()
        .host(server.get_host())
        .port(server.get_port())
        .username(&user)
        .database(&database.name)
}

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn a_producer_can_enqueue_and_nothing_else() {
    let database = Database::new().await;
    let grants =
        ["INSERT ON outbox_messages", "SELECT (topic, idempotency_key, message_id) ON outbox_idempotency"];
    let options = user(&database, "producer", &grants).await;
    let mut conn = options.connect().await.unwrap();
    let once =
        || outbox_core::NewMessage::builder("t").key("k").idempotency_key("once").json("2").build().unwrap();
    database.outbox.enqueue(&mut conn, &[message("k", "1"), once()]).await.unwrap();
    let again = database.outbox.enqueue(&mut conn, &[once()]).await.unwrap();
    assert!(again[0].is_duplicate());
    for forbidden in [
        "SELECT payload FROM outbox_messages",
        "DELETE FROM outbox_messages",
        "UPDATE outbox_leases SET epoch = 1",
        "SELECT payload FROM outbox_deferred",
        "INSERT INTO outbox_idempotency (topic, idempotency_key, message_id) VALUES ('t', 'x', '')",
        "DELETE FROM outbox_idempotency",
    ] {
        assert!(sqlx::raw_sql(forbidden).execute(&mut conn).await.is_err(), "{forbidden}");
    }
    assert_eq!(texts(&Session::start(&database.outbox).await.claim(10).await), ["1", "\"2\""]);
    drop(conn);
    on_server(format!("DROP USER '{}'@'%'", options.get_username())).await.unwrap();
}

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn a_dispatcher_needs_no_right_to_change_the_schema_and_a_reader_none_to_write() {
    let database = Database::new().await;
    let options = user(&database, "dispatcher", &["SELECT, INSERT, UPDATE, DELETE ON *"]).await;
    let pool = sqlx::mysql::MySqlPoolOptions::new().connect_with(options.clone()).await.unwrap();
    let outbox = MySqlOutbox::builder(pool.clone()).history(true).build().unwrap();
    database.send(&[message("k", "1"), message("k", "2")]).await;
    let mut session = Session::start(&outbox).await;
    assert_eq!(session.deliver(1).await, ["1"]);
    let why = outbox_core::Act::new("somebody", "a test");
    let all = outbox_core::Selection::All { topic: None, state: None };
    assert_eq!(outbox.discard(&all, &why).await.unwrap(), 1);
    outbox.tidy(100).await.unwrap();

    let reading = user(&database, "reader", &["SELECT ON *"]).await;
    let reader = sqlx::mysql::MySqlPoolOptions::new().connect_with(reading.clone()).await.unwrap();
    let looking = MySqlOutbox::new(reader.clone());
    assert_eq!(looking.counts().await.unwrap().len(), 1);
    assert_eq!(looking.list(&outbox_core::PageRequest::default()).await.unwrap().messages.len(), 2);
    assert!(sqlx::raw_sql("SELECT * FROM outbox_overview").execute(&reader).await.is_ok());
    assert_eq!(looking.discard(&all, &why).await.unwrap_err().kind(), StoreErrorKind::Schema);
    drop((session, outbox, looking));
    pool.close().await;
    reader.close().await;
    for options in [options, reading] {
        on_server(format!("DROP USER '{}'@'%'", options.get_username())).await.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn nobody_waits_for_a_producer_or_for_slots_that_change_hands() {
    let database = Database::new().await;
    let mut session = Session::start(&database.outbox).await;
    // Tables that look small, rows around those that are settled that others hold, and the slots locked.
    let before = database.open("a", "before").await;
    database.send(&[message("b", "1"), message("c", "2")]).await;
    let after = database.open("a", "after").await;
    let mut handing_over = database.pool.begin().await.unwrap();
    sqlx::raw_sql("SELECT * FROM outbox_leases FOR UPDATE").execute(&mut *handing_over).await.unwrap();
    let without_waiting = async {
        assert_eq!(session.deliver(1).await, ["1"]);
        let batch = Batch { number: BatchNo(1), places: vec![], alone: false };
        let settlement = Settlement { begin: Some(&batch), ..Settlement::default() };
        assert_eq!(session.outbox.settle(session.owned.epoch, &settlement).await.unwrap(), Fence::Held);
        session.outbox.tidy(100).await.unwrap();
        assert_eq!(session.deliver(1).await, ["2"]);
    };
    // A lock that does not come is given up after five seconds, and asked for again.
    tokio::time::timeout(std::time::Duration::from_secs(4), without_waiting).await.expect("nobody waits");
    handing_over.rollback().await.unwrap();
    drop((before, after));
}
