//! A message exists exactly when its transaction committed.

use super::super::probe::*;
use super::StoreFixture;

pub async fn rollback_leaves_nothing_to_claim<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let mut tx = probe.fixture.begin().await;
    probe.enqueue_in(&mut tx, &[keyed("a"), unkeyed()]).await;
    probe.fixture.rollback(tx).await;
    assert!(probe.claim(&mut session).await.is_empty(), "a rolled back message was claimed");
}

pub async fn commit_makes_messages_claimable<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = [keyed("a"), unkeyed()];
    probe.enqueue(&messages).await;
    let claimed = probe.claim(&mut session).await;
    assert_eq!(claimed.len(), 2, "both committed messages are claimed");
    assert!(messages.iter().all(|message| has(&claimed, message)), "a committed message was not claimed");
}

pub async fn messages_of_an_open_transaction_are_not_claimed<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let mut tx = probe.fixture.begin().await;
    let messages = [keyed("a"), unkeyed()];
    probe.enqueue_in(&mut tx, &messages).await;
    assert!(probe.claim(&mut session).await.is_empty(), "an uncommitted message was claimed");
    probe.fixture.commit(tx).await;
    assert_eq!(probe.claim(&mut session).await.len(), 2, "after the commit they are claimed");
}

pub async fn what_follows_a_rollback_is_claimed<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let mut tx = probe.fixture.begin().await;
    probe.enqueue_in(&mut tx, &[keyed("a")]).await;
    probe.fixture.rollback(tx).await;
    let later = keyed("a");
    probe.enqueue(std::slice::from_ref(&later)).await;
    let claimed = only(probe.claim(&mut session).await);
    assert_eq!(message(&claimed).id, later.id(), "the message enqueued after the rollback is claimed");
    assert!(!claimed.behind, "a rolled back message blocks nothing");
}

pub async fn enqueueing_nothing_stores_nothing<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    assert!(probe.enqueue(&[]).await.is_empty(), "no message, no answer");
    assert!(probe.claim(&mut session).await.is_empty(), "nothing was enqueued");
}

pub async fn enqueue_answers_one_id_per_message_in_their_order<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let messages = [keyed("b"), unkeyed(), keyed("a"), of_topic("mail"), keyed("b")];
    let answers = probe.enqueue(&messages).await;
    assert!(answers.iter().all(|answer| !answer.is_duplicate()), "none of them has an idempotency key");
    let answered: Vec<_> = answers.iter().map(crate::Enqueued::id).collect();
    assert_eq!(answered, ids(&messages), "one answer per message, in the order given");
}

pub async fn several_enqueues_of_one_transaction_commit_together<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = line("a", 3);
    let mut tx = probe.fixture.begin().await;
    for message in &messages {
        probe.enqueue_in(&mut tx, std::slice::from_ref(message)).await;
    }
    probe.fixture.commit(tx).await;
    let claimed = probe.claim(&mut session).await;
    assert_eq!(claimed_ids(&claimed), ids(&messages), "all of the transaction, in its order");
}

pub async fn thousands_of_messages_go_into_one_enqueue<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = line("a", 5000);
    let answers = probe.enqueue(&messages).await;
    assert_eq!(answers.len(), messages.len(), "one answer per message");
    let claimed = probe.claim(&mut session).await;
    assert!(claimed_ids(&claimed) == ids(&messages), "all 5,000 are claimed, in their order");
}
