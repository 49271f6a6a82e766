//! Producers do not wait for each other, at the isolation that servers have unless told otherwise (REPEATABLE READ).

use outbox_core::{Enqueue, Inbox, NewMessage, OutboxStore};
use sqlx::{MySql, Transaction};

use crate::fixture::{Database, message};

fn once(key: &str) -> NewMessage {
    NewMessage::builder("t").idempotency_key(key).json("x").build().unwrap()
}

/// A transaction that soon gives up waiting.
async fn begin(database: &Database) -> Transaction<'static, MySql> {
    let mut tx = database.outbox.begin().await.unwrap();
    sqlx::raw_sql("SET SESSION innodb_lock_wait_timeout = 2").execute(&mut *tx).await.unwrap();
    tx
}

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn transactions_with_different_idempotency_keys_do_not_wait_for_each_other() {
    let database = Database::new().await;
    let (mut one, mut other) = (begin(&database).await, begin(&database).await);
    for (mine, theirs) in [("b", "a"), ("e", "f"), ("c", "d")] {
        database.outbox.enqueue(&mut one, &[once(mine)]).await.unwrap();
        database.outbox.enqueue(&mut other, &[once(theirs)]).await.unwrap();
    }
    one.commit().await.unwrap();
    other.commit().await.unwrap();
    assert_eq!(database.number("SELECT COUNT(*) FROM outbox_idempotency").await, 6);
}

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn transactions_that_meet_a_key_known_long_since_do_not_wait_for_each_other() {
    let database = Database::new().await;
    database.send(&[once("known 1"), once("known 2")]).await;
    let (mut one, mut other) = (begin(&database).await, begin(&database).await);
    for (mine, theirs) in [("x", "y"), ("z", "w")] {
        let answers = database.outbox.enqueue(&mut one, &[once("known 1"), once(mine)]).await.unwrap();
        assert_eq!(answers.iter().filter(|answer| answer.is_duplicate()).count(), 1);
        let answers = database.outbox.enqueue(&mut other, &[once("known 2"), once(theirs)]).await.unwrap();
        assert_eq!(answers.iter().filter(|answer| answer.is_duplicate()).count(), 1);
    }
    one.commit().await.unwrap();
    other.commit().await.unwrap();
    assert_eq!(database.number("SELECT COUNT(*) FROM outbox_idempotency").await, 6);
}

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn transactions_that_meet_a_known_key_behind_new_ones_do_not_wait_for_each_other() {
    let database = Database::new().await;
    database.send(&[once("known")]).await;
    let (mut one, mut other) = (begin(&database).await, begin(&database).await);
    for (mine, theirs) in [("x", "y"), ("z", "w")] {
        for (tx, new) in [(&mut one, mine), (&mut other, theirs)] {
            let messages = [message("k", new), once(new), once("known")];
            let answers = database.outbox.enqueue(tx, &messages).await.unwrap();
            assert_eq!(answers.iter().filter(|answer| answer.is_duplicate()).count(), 1);
        }
    }
    one.commit().await.unwrap();
    other.commit().await.unwrap();
    assert_eq!(database.number("SELECT COUNT(*) FROM outbox_messages").await, 9);
}

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn retention_does_not_wait_for_open_transactions() {
    let keep = std::time::Duration::from_secs(3600);
    let database = Database::with(|builder| builder.idempotency_retention(keep).inbox_retention(keep)).await;
    database.send(&[once("old 1"), once("old \"2\\ ")]).await;
    let id = outbox_core::MessageId::generate();
    let mut conn = database.pool.acquire().await.unwrap();
    assert!(database.outbox.first_time(&mut conn, "consumer", id).await.unwrap());
    database
        .execute("UPDATE outbox_idempotency SET created_at = 1; UPDATE outbox_inbox SET created_at = 1")
        .await;
    let mut tx = begin(&database).await;
    database.outbox.enqueue(&mut tx, &[once("new")]).await.unwrap();
    assert!(database.outbox.first_time(&mut tx, "consumer 2", id).await.unwrap());
    assert_eq!(database.outbox.tidy(100).await.unwrap(), 3);
    tx.commit().await.unwrap();
    assert_eq!(database.outbox.tidy(100).await.unwrap(), 0);
    assert_eq!(database.number("SELECT COUNT(*) FROM outbox_idempotency").await, 1);
}
