//! Messages on their way in.

use outbox_core::{Enqueue, EnqueueExt, Enqueued, EnqueuedIn, NewMessage};

use crate::fixture::{File, delivered, message};

fn once(topic: &str, idempotency_key: &str) -> NewMessage {
    NewMessage::builder(topic).json("x").idempotency_key(idempotency_key).build().unwrap()
}

#[tokio::test]
async fn a_committed_message_is_claimed_as_it_was_built() {
    let file = File::new().await;
    let built = NewMessage::builder("orders")
        .message_type("order.placed")
        .key("k1")
        .payload(vec![0u8, 159, 146, 150], "application/x-own")
        .header("traceparent", "00-1-2-01")
        .idempotency_key("i1")
        .build()
        .unwrap();
    file.send(std::slice::from_ref(&built)).await;
    let claimed = file.session().await.claim().await.remove(0);
    assert!(claimed.fresh && !claimed.behind && claimed.due_in.is_none());
    let message = claimed.message.unwrap();
    assert_eq!(message.id, built.id());
    assert_eq!(message.topic, "orders");
    assert_eq!(message.message_type, "order.placed");
    assert_eq!(message.key.as_deref(), Some("k1"));
    assert_eq!(message.payload, built.payload());
    assert_eq!(message.content_type, "application/x-own");
    assert_eq!(message.headers, *built.headers());
    assert_eq!(message.idempotency_key.as_deref(), Some("i1"));
    assert!(message.created_at.elapsed().unwrap().as_secs() < 60);
}

#[tokio::test]
async fn a_rollback_leaves_nothing() {
    let file = File::new().await;
    let mut tx = file.outbox.begin().await.unwrap();
    file.outbox.enqueue(&mut tx, &[once("t", "a"), message("t", "k")]).await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(file.number("SELECT count(*) FROM outbox_messages").await, 0);
    assert_eq!(file.number("SELECT count(*) FROM outbox_idempotency").await, 0);
    assert!(!file.send(&[once("t", "a")]).await[0].is_duplicate(), "a rolled back key is free");
}

#[tokio::test]
async fn the_callers_own_connection_and_transaction_are_taken() {
    let file = File::new().await;
    let mut conn = file.pool.acquire().await.unwrap();
    file.outbox.enqueue(&mut conn, &[message("t", "a")]).await.unwrap();
    let mut tx = file.pool.begin().await.unwrap();
    file.outbox.enqueue_one(&mut tx, &message("t", "b")).await.unwrap();
    file.outbox.enqueue(&mut *tx, &[]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(file.session().await.claim().await.len(), 2);
}

#[tokio::test]
async fn many_messages_keep_their_order() {
    let file = File::new().await;
    let messages: Vec<_> = (0..237).map(|_| message("t", "k")).collect();
    file.send(&messages).await;
    let mut session = file.session().await;
    let claim = session.claim_all(1_000, false).await;
    let claimed: Vec<_> = claim.messages.into_iter().map(|claimed| claimed.message.unwrap().id).collect();
    let sent: Vec<_> = messages.iter().map(NewMessage::id).collect();
    assert_eq!(claimed, sent);
    assert!(!claim.more);
}

#[tokio::test]
async fn an_idempotency_key_is_stored_once_within_a_slice_and_across_transactions_and_after_delivery() {
    let file = File::new().await;
    let first = once("t", "a");
    let answers = file.send(&[first.clone(), once("t", "a"), once("u", "a"), message("t", "k")]).await;
    assert_eq!(answers[0], Enqueued::New(first.id()));
    assert_eq!(answers[1], Enqueued::Duplicate(first.id()));
    assert!(!answers[2].is_duplicate(), "keys belong to their topic");
    assert!(!answers[3].is_duplicate());
    assert_eq!(file.send(&[once("t", "a")]).await, [Enqueued::Duplicate(first.id())]);
    assert_eq!(file.send(std::slice::from_ref(&first)).await, [Enqueued::Duplicate(first.id())]);

    let mut session = file.session().await;
    let claimed = session.claim().await;
    assert_eq!(claimed.len(), 3);
    let verdicts: Vec<_> = claimed.iter().map(|claimed| (claimed.place, delivered())).collect();
    session.settle(&verdicts).await;
    assert_eq!(file.number("SELECT count(*) FROM outbox_messages").await, 0);
    assert_eq!(file.send(&[once("t", "a")]).await, [Enqueued::Duplicate(first.id())]);
}

#[tokio::test]
async fn a_test_sees_what_its_open_transaction_enqueued() {
    let file = File::new().await;
    file.send(&[message("t", "before")]).await;
    let mut tx = file.outbox.begin().await.unwrap();
    assert!(file.outbox.enqueued_in(&mut tx).await.unwrap().is_empty());
    let messages = [message("t", "a"), message("t", "b")];
    file.outbox.enqueue(&mut tx, &messages).await.unwrap();
    let seen: Vec<_> = file.outbox.enqueued_in(&mut tx).await.unwrap().into_iter().map(|m| m.id).collect();
    assert_eq!(seen, [messages[0].id(), messages[1].id()]);
    tx.commit().await.unwrap();
    let mut tx = file.outbox.begin().await.unwrap();
    assert!(file.outbox.enqueued_in(&mut tx).await.unwrap().is_empty());
}
