//! Within its retention, an idempotency key of a topic is stored once.

use futures_util::future::join_all;

use super::super::probe::*;
use super::StoreFixture;
use crate::{Enqueue, Enqueued, NewMessage, StoreErrorKind};

pub async fn a_known_idempotency_key_is_a_duplicate<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let first = once("k");
    assert_eq!(probe.enqueue(std::slice::from_ref(&first)).await, [Enqueued::New(first.id())]);
    let answers = probe.enqueue(&[once("k")]).await;
    assert_eq!(answers, [Enqueued::Duplicate(first.id())], "a duplicate, with the id of the stored message");
    assert_eq!(claimed_ids(&probe.claim(&mut session).await), [first.id()], "stored once");
}

pub async fn a_duplicate_within_one_slice_is_stored_once<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = [once("k"), once("other"), once("k"), unkeyed()];
    let answers = probe.enqueue(&messages).await;
    let expected = [
        Enqueued::New(messages[0].id()),
        Enqueued::New(messages[1].id()),
        Enqueued::Duplicate(messages[0].id()),
        Enqueued::New(messages[3].id()),
    ];
    assert_eq!(answers, expected, "the third repeats the first; the others go their way");
    let claimed = probe.claim(&mut session).await;
    assert_eq!(claimed.len(), 3, "stored once");
    assert!(!has(&claimed, &messages[2]), "and it is the first that is stored");
}

pub async fn a_duplicate_within_one_transaction_is_stored_once<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let (first, later) = (once("k"), unkeyed());
    let mut tx = probe.fixture.begin().await;
    probe.enqueue_in(&mut tx, std::slice::from_ref(&first)).await;
    let answers = probe.enqueue_in(&mut tx, &[once("k"), later.clone()]).await;
    probe.fixture.commit(tx).await;
    assert_eq!(
        answers,
        [Enqueued::Duplicate(first.id()), Enqueued::New(later.id())],
        "the transaction goes on"
    );
    assert_eq!(probe.claim(&mut session).await.len(), 2, "the first and the later one");
}

pub async fn an_idempotency_key_is_known_after_delivery<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let first = once("k");
    probe.enqueue(std::slice::from_ref(&first)).await;
    let claimed = only(probe.claim(&mut session).await);
    probe.deliver(&mut session, claimed.place).await;
    assert_eq!(probe.enqueue(&[once("k")]).await, [Enqueued::Duplicate(first.id())], "still a duplicate");
    assert!(probe.claim_anew(&mut session).await.is_empty(), "nothing was stored");
}

pub async fn an_idempotency_key_belongs_to_its_topic<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let of = |topic: &str| build(NewMessage::builder(topic).idempotency_key("k"));
    let messages = [of("orders"), of("mail"), of("Orders")];
    let answers = probe.enqueue(&messages).await;
    assert!(
        answers.iter().all(|answer| !answer.is_duplicate()),
        "the same key in another topic is another key"
    );
}

pub async fn idempotency_keys_are_told_apart_byte_by_byte<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let answers = probe.enqueue(&[once("k"), once("K"), once("k "), once("k\u{301}")]).await;
    assert!(answers.iter().all(|answer| !answer.is_duplicate()), "four different keys");
}

pub async fn a_rolled_back_idempotency_key_is_free<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let mut tx = probe.fixture.begin().await;
    probe.enqueue_in(&mut tx, &[once("k")]).await;
    probe.fixture.rollback(tx).await;
    let second = once("k");
    assert_eq!(
        probe.enqueue(std::slice::from_ref(&second)).await,
        [Enqueued::New(second.id())],
        "never stored"
    );
    assert_eq!(claimed_ids(&probe.claim(&mut session).await), [second.id()], "the second is");
}

pub async fn messages_without_an_idempotency_key_are_never_duplicates<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let answers = probe.enqueue(&[keyed("a"), keyed("a"), unkeyed(), unkeyed()]).await;
    assert!(answers.iter().all(|answer| !answer.is_duplicate()), "nobody asked for idempotency");
    assert_eq!(probe.claim(&mut session).await.len(), 4, "all are stored");
}

pub async fn of_transactions_side_by_side_one_stores_the_key<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let answers = join_all((0..4).map(|_| enqueue_patiently(&probe))).await;
    let new: Vec<_> = answers.iter().filter(|answer| !answer.is_duplicate()).collect();
    assert_eq!(new.len(), 1, "exactly one of them is new: {answers:?}");
    assert!(answers.iter().all(|answer| answer.id() == new[0].id()), "the others name it");
    assert_eq!(claimed_ids(&probe.claim(&mut session).await), [new[0].id()], "stored once");
}

/// Tries again, as an application would, when the database was busy with another transaction.
async fn enqueue_patiently<F: StoreFixture>(probe: &Probe<F>) -> Enqueued {
    loop {
        let mut tx = probe.fixture.begin().await;
        match probe.outbox().enqueue(F::conn(&mut tx), &[once("k")]).await {
            Ok(answers) => {
                // Gives the others their chance to meet the open transaction.
                tokio::task::yield_now().await;
                probe.fixture.commit(tx).await;
                return answers[0];
            }
            Err(error) if error.kind() == StoreErrorKind::Unavailable => probe.fixture.rollback(tx).await,
            Err(error) => panic!("enqueue failed: {error}"),
        }
    }
}

fn once(key: &str) -> NewMessage {
    build(NewMessage::builder("orders").idempotency_key(key))
}
