//! Producers do not wait for each other, at the isolation that servers have unless told otherwise (REPEATABLE READ).

use outbox_core::{Enqueue, NewMessage};
use sqlx::{MySql, Transaction};

use crate::fixture::Database;

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
