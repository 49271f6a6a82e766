//! Several outboxes in a file, prefixes, retention and history.

use std::time::Duration;

use outbox_core::{
    Enqueue, Inbox, MessageId, MessageState, NewMessage, OutboxAdmin, OutboxStore, StoreErrorKind, Verdict,
};
use outbox_sqlx::SqliteOutbox;
use sqlx::sqlite::SqlitePool;

use crate::fixture::{File, LEASE, Session, delivered, message};

#[tokio::test]
async fn a_prefix_that_is_no_plain_name_is_refused() {
    let file = File::new().await;
    for bad in ["", "1st_", "a b", "x'; DROP TABLE outbox_messages; --", "a.b", "sqlite_", "é"] {
        let error = SqliteOutbox::builder(file.pool.clone()).table_prefix(bad).build().unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Invalid, "{bad:?}");
        assert_eq!(SqliteOutbox::migrations(bad).unwrap_err().kind(), StoreErrorKind::Invalid, "{bad:?}");
    }
}

#[tokio::test]
async fn two_prefixes_in_a_file_are_two_outboxes() {
    let file = File::new().await;
    let other = SqliteOutbox::builder(file.pool.clone()).table_prefix("Billing2_").build().unwrap();
    other.migrate().await.unwrap();
    let mut tx = file.outbox.begin().await.unwrap();
    file.outbox.enqueue(&mut tx, &[message("t", "one")]).await.unwrap();
    other.enqueue(&mut tx, &[message("t", "two"), message("t", "three")]).await.unwrap();
    file.outbox.commit(tx).await.unwrap();

    let (mut mine, mut others) = (file.session().await, Session::start(&other, LEASE).await);
    assert!(others.owner, "each outbox has an owner of its own");
    let keys = |claimed: Vec<outbox_core::Claimed>| -> Vec<_> {
        claimed.into_iter().map(|claimed| claimed.message.unwrap().key.unwrap()).collect()
    };
    assert_eq!(keys(mine.claim().await), ["one"]);
    assert_eq!(keys(others.claim().await), ["two", "three"]);
    assert_eq!(file.outbox.counts().await.unwrap()[0].of(MessageState::Waiting), 1);
    assert_eq!(other.counts().await.unwrap()[0].of(MessageState::Waiting), 2);
}

#[tokio::test]
async fn without_a_history_a_delivered_message_leaves_no_trace() {
    let file = File::new().await;
    let sent = message("t", "k");
    file.send(std::slice::from_ref(&sent)).await;
    let mut session = file.session().await;
    let place = session.claim().await[0].place;
    session.settle(&[(place, delivered())]).await;
    assert!(file.outbox.show(sent.id()).await.unwrap().is_none());
    assert_eq!(file.number("SELECT count(*) FROM outbox_history").await, 0);
}

#[tokio::test]
async fn a_history_keeps_what_was_delivered_until_its_retention_ends() {
    for (keep, left) in [(Duration::from_secs(3_600), 2), (Duration::ZERO, 0)] {
        let file = File::with(|builder| builder.history(true).history_retention(keep)).await;
        let sent = [message("t", "a"), message("t", "b")];
        file.send(&sent).await;
        let mut session = file.session().await;
        let claimed = session.claim().await;
        let receipt = Verdict::Delivered { receipt: Some("250 queued as 7".into()) };
        session.settle(&[(claimed[0].place, receipt), (claimed[1].place, delivered())]).await;
        let detail = file.outbox.show(sent[0].id()).await.unwrap().unwrap();
        assert_eq!(detail.summary.state, MessageState::Delivered);
        assert_eq!(detail.receipt.as_deref(), Some("250 queued as 7"));
        assert!(detail.message.is_none(), "the history keeps no payload");
        assert_eq!(file.outbox.tidy(10).await.unwrap(), 2 - left);
        assert_eq!(file.outbox.show(sent[0].id()).await.unwrap().is_some(), left > 0);
    }
}

#[tokio::test]
async fn tidying_goes_in_steps_and_forgets_only_what_is_old() {
    let settings = |builder: outbox_sqlx::SqliteOutboxBuilder| {
        builder.idempotency_retention(Duration::ZERO).inbox_retention(Duration::from_secs(3_600))
    };
    let file = File::with(settings).await;
    let once = |key: &str| NewMessage::builder("t").idempotency_key(key).build().unwrap();
    file.send(&[once("a"), once("b"), once("c")]).await;
    let mut tx = file.outbox.begin().await.unwrap();
    let id = MessageId::generate();
    assert!(file.outbox.first_time(&mut tx, "mailer", id).await.unwrap());
    assert!(!file.outbox.first_time(&mut tx, "mailer", id).await.unwrap());
    assert!(file.outbox.first_time(&mut tx, "ledger", id).await.unwrap());
    file.outbox.commit(tx).await.unwrap();

    assert!(!file.send(&[once("a")]).await[0].is_duplicate(), "its retention has passed, tidied or not");
    assert_eq!(file.outbox.tidy(2).await.unwrap(), 2);
    assert_eq!(file.outbox.tidy(10).await.unwrap(), 1);
    assert_eq!(file.outbox.tidy(10).await.unwrap(), 0);
    let mut tx = file.outbox.begin().await.unwrap();
    assert!(!file.outbox.first_time(&mut tx, "mailer", id).await.unwrap());
}

#[tokio::test]
async fn an_inbox_entry_is_rolled_back_with_its_transaction() {
    let file = File::new().await;
    let id = MessageId::generate();
    for _ in 0..2 {
        let mut tx = file.outbox.begin().await.unwrap();
        assert!(file.outbox.first_time(&mut tx, "mailer", id).await.unwrap());
        tx.rollback().await.unwrap();
    }
}

#[tokio::test]
async fn a_database_in_memory_is_refused_with_a_sentence() {
    let outbox = SqliteOutbox::new(SqlitePool::connect("sqlite::memory:").await.unwrap());
    let error = outbox.migrate().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Invalid);
    assert!(error.to_string().contains("WAL"), "{error}");
}
