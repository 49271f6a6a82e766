//! Migrations, ours and the application's.

use std::borrow::Cow;

use outbox_core::{DispatcherId, Enqueue, OutboxStore, StoreErrorKind};
use outbox_sqlx::SqliteOutbox;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr};

use crate::fixture::{File, LEASE, message, pool};

#[tokio::test]
async fn migrating_again_changes_nothing() {
    let file = File::new().await;
    file.send(&[message("t", "k")]).await;
    file.outbox.migrate().await.unwrap();
    assert_eq!(file.number("SELECT count(*) FROM outbox_messages").await, 1);
    assert_eq!(file.number("SELECT count(*) FROM outbox_schema").await, 1);
}

#[tokio::test]
async fn migrating_what_is_there_waits_for_nobody_who_writes() {
    let file = File::new().await;
    let writing = file.outbox.begin().await.unwrap();
    file.elsewhere().await.migrate().await.unwrap();
    writing.rollback().await.unwrap();
}

#[tokio::test]
async fn missing_tables_are_told_with_the_migration_to_run() {
    let folder = tempfile::tempdir().unwrap();
    let pool = pool(&folder.path().join("empty.db")).await;
    let outbox = SqliteOutbox::new(pool.clone());
    let error = outbox.renew(&DispatcherId::new("d"), None, LEASE).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Schema);
    assert!(error.to_string().contains("0001_outbox"), "{error}");
    let mut conn = pool.acquire().await.unwrap();
    let error = outbox.enqueue(&mut conn, &[message("t", "k")]).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Schema);
    // It works as soon as the tables are there, without a new start.
    outbox.migrate().await.unwrap();
    outbox.enqueue(&mut conn, &[message("t", "k")]).await.unwrap();
    outbox.renew(&DispatcherId::new("d"), None, LEASE).await.unwrap();
}

#[tokio::test]
async fn tables_of_a_newer_version_are_left_alone() {
    let file = File::new().await;
    file.execute("INSERT INTO outbox_schema (version, name) VALUES (999, 'later')").await;
    let outbox = SqliteOutbox::new(file.pool.clone());
    assert_eq!(outbox.migrate().await.unwrap_err().kind(), StoreErrorKind::Schema);
    let error = outbox.renew(&DispatcherId::new("d"), None, LEASE).await.unwrap_err();
    assert!(error.to_string().contains("999"), "{error}");
}

/// The application's own migrations, as `sqlx migrate` runs them.
fn application(steps: Vec<(i64, &'static str, String)>) -> Migrator {
    let step = |(version, name, sql): (i64, &'static str, String)| {
        let sql = AssertSqlSafe(sql).into_sql_str();
        Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, sql, false)
    };
    Migrator::with_migrations(steps.into_iter().map(step).collect())
}

#[tokio::test]
async fn migrations_of_the_application_run_beside_ours() {
    let file = File::new().await;
    let rooms = || (1, "rooms", "CREATE TABLE rooms (name TEXT)".to_owned());
    application(vec![rooms()]).run(&file.pool).await.unwrap();
    file.outbox.migrate().await.unwrap();
    let beds = (2, "beds", "CREATE TABLE beds (name TEXT)".to_owned());
    application(vec![rooms(), beds]).run(&file.pool).await.unwrap();
    assert_eq!(file.number("SELECT count(*) FROM _sqlx_migrations").await, 2);
}

#[tokio::test]
async fn our_sql_copied_into_the_applications_migrations_counts_as_applied() {
    let folder = tempfile::tempdir().unwrap();
    let pool = pool(&folder.path().join("copied.db")).await;
    let ours = SqliteOutbox::migrations("mail_").unwrap();
    let steps = ours.into_iter().map(|step| (step.version, step.name, step.sql)).collect();
    application(steps).run(&pool).await.unwrap();
    let outbox = SqliteOutbox::builder(pool).table_prefix("mail_").build().unwrap();
    outbox.renew(&DispatcherId::new("d"), None, LEASE).await.unwrap();
    outbox.migrate().await.unwrap();
}
