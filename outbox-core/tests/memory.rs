//! What only the memory store has: a clock that tests move, and retention that they set.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use outbox_core::{
    Act, Claim, ClaimRequest, DeliveryError, DispatcherId, EnqueueExt, Enqueued, FailureNote, Fence,
    HeldPlaces, Inbox, MemoryOutbox, MessageId, MessageState, NewMessage, OutboxAdmin, OutboxStore,
    Ownership, Place, Selection, Settlement, StoreErrorKind, Tally, Verdict,
};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test]
async fn advancing_the_clock_makes_a_retry_due() {
    let outbox = MemoryOutbox::new();
    enqueue(&outbox, NewMessage::builder("orders").key("a")).await;
    let me = owner(&outbox).await;
    let claimed = claim(&outbox, &me, &[]).await;
    settle(&outbox, &me, &[(claimed.messages[0].place, retry(HOUR))]).await;
    outbox.advance(HOUR - Duration::from_secs(60));
    assert!(claim(&outbox, &me, &[]).await.messages.is_empty(), "a minute is missing");
    outbox.advance(Duration::from_secs(60));
    assert_eq!(claim(&outbox, &me, &[]).await.messages.len(), 1, "the hour has passed");
}

#[tokio::test]
async fn advancing_the_clock_makes_a_scheduled_message_due() {
    let outbox = MemoryOutbox::new();
    enqueue(&outbox, NewMessage::builder("orders").not_before(SystemTime::now() + HOUR)).await;
    let me = owner(&outbox).await;
    assert!(claim(&outbox, &me, &[]).await.messages[0].due_in.is_some(), "it is scheduled");
    outbox.advance(2 * HOUR);
    assert!(restart(&outbox, &me).await.messages[0].due_in.is_none(), "its time has come");
}

#[tokio::test]
async fn advancing_the_clock_lets_a_lease_run_out() {
    let outbox = MemoryOutbox::new();
    let first = owner(&outbox).await;
    outbox.advance(2 * HOUR);
    let second = owner(&outbox).await;
    assert_ne!(second.epoch, first.epoch, "another session");
    assert!(!second.slots.is_empty(), "it took what the first one lost");
}

#[tokio::test]
async fn advancing_by_any_duration_does_not_panic() {
    let outbox = MemoryOutbox::new();
    enqueue(&outbox, NewMessage::builder("orders").key("a")).await;
    outbox.advance(Duration::MAX);
    outbox.advance(Duration::MAX);
    let me = owner(&outbox).await;
    let claimed = claim(&outbox, &me, &[]).await;
    settle(&outbox, &me, &[(claimed.messages[0].place, retry(Duration::MAX))]).await;
    enqueue(&outbox, NewMessage::builder("orders").key("a")).await;
    claim(&outbox, &me, &[]).await;
    outbox.counts().await.expect("counts succeeds");
}

#[tokio::test]
async fn a_retry_keeps_its_delay_when_those_before_it_leave_later() {
    let outbox = MemoryOutbox::new();
    enqueue(&outbox, NewMessage::builder("orders").key("a")).await;
    enqueue(&outbox, NewMessage::builder("orders").key("a")).await;
    let me = owner(&outbox).await;
    let claimed = claim(&outbox, &me, &[]).await;
    let places: Vec<Place> = claimed.messages.iter().map(|claimed| claimed.place).collect();
    settle(&outbox, &me, &[(places[0], retry(Duration::ZERO))]).await;
    settle(&outbox, &me, &[(places[1], retry(HOUR))]).await;
    settle(&outbox, &me, &[(places[0], Verdict::Delivered { receipt: None })]).await;
    assert!(restart(&outbox, &me).await.messages.is_empty(), "the second message waits for an hour");
    outbox.advance(HOUR);
    assert_eq!(restart(&outbox, &me).await.messages.len(), 1, "and no longer");
}

#[tokio::test]
async fn an_idempotency_key_is_free_again_after_its_retention() {
    let outbox = MemoryOutbox::builder().idempotency_retention(DAY).build();
    let once = || NewMessage::builder("orders").idempotency_key("k");
    let first = enqueue(&outbox, once()).await;
    outbox.advance(DAY - HOUR);
    assert_eq!(enqueue(&outbox, once()).await, Enqueued::Duplicate(first.id()), "within the retention");
    outbox.advance(2 * HOUR);
    assert!(!enqueue(&outbox, once()).await.is_duplicate(), "after the retention");
}

#[tokio::test]
async fn tidying_removes_what_retention_no_longer_keeps_in_small_steps() {
    let outbox = MemoryOutbox::builder().history(DAY).idempotency_retention(DAY).inbox_retention(DAY).build();
    let me = owner(&outbox).await;
    for n in 0..3 {
        enqueue(&outbox, NewMessage::builder("orders").idempotency_key(n.to_string())).await;
        let mut tx = outbox.begin();
        assert!(
            outbox.first_time(&mut tx, "mailer", MessageId::generate()).await.expect("first_time succeeds")
        );
        outbox.commit(tx);
    }
    let claimed = claim(&outbox, &me, &[]).await;
    let delivered = |place| (place, Verdict::Delivered { receipt: None });
    let verdicts: Vec<_> = claimed.messages.iter().map(|claimed| delivered(claimed.place)).collect();
    settle(&outbox, &me, &verdicts).await;
    assert_eq!(outbox.tidy(100).await.expect("tidy succeeds"), 0, "everything is within its retention");
    outbox.advance(DAY);
    let mut steps = Vec::new();
    loop {
        match outbox.tidy(4).await.expect("tidy succeeds") {
            0 => break,
            removed => steps.push(removed),
        }
    }
    assert_eq!(steps, [4, 4, 1], "three of each kind, no more than four at a time");
    assert!(outbox.counts().await.expect("counts succeeds").is_empty(), "no history is left");
}

#[tokio::test]
async fn an_inbox_forgets_after_its_retention() {
    let outbox = MemoryOutbox::builder().inbox_retention(DAY).build();
    let message = MessageId::generate();
    let first_time = async || {
        let mut tx = outbox.begin();
        let first = outbox.first_time(&mut tx, "mailer", message).await.expect("first_time succeeds");
        outbox.commit(tx);
        first
    };
    assert!(first_time().await, "new");
    outbox.advance(DAY - HOUR);
    assert!(!first_time().await, "remembered");
    outbox.advance(2 * HOUR);
    assert!(first_time().await, "forgotten");
}

#[tokio::test]
async fn without_a_history_a_delivered_message_is_unknown() {
    let outbox = MemoryOutbox::new();
    let id = enqueue(&outbox, NewMessage::builder("orders")).await.id();
    let me = owner(&outbox).await;
    let place = claim(&outbox, &me, &[]).await.messages[0].place;
    settle(&outbox, &me, &[(place, Verdict::Delivered { receipt: None })]).await;
    assert_eq!(outbox.show(id).await.expect("show succeeds"), None, "it has left the outbox");
}

#[tokio::test]
async fn a_transaction_of_another_outbox_is_refused() {
    let (one, other) = (MemoryOutbox::new(), MemoryOutbox::new());
    let mut tx = one.begin();
    let message = NewMessage::builder("orders").build().expect("the message is valid");
    let refused =
        other.enqueue_one(&mut tx, &message).await.expect_err("it is not a transaction of this outbox");
    assert_eq!(refused.kind(), StoreErrorKind::Invalid, "{refused}");
}

#[tokio::test]
async fn a_transaction_waits_for_another_with_the_same_idempotency_key() {
    let outbox = MemoryOutbox::new();
    let once = || NewMessage::builder("orders").idempotency_key("k").build().expect("the message is valid");
    let mut first = outbox.begin();
    outbox.enqueue_one(&mut first, &once()).await.expect("enqueue succeeds");
    let waiting = tokio::spawn({
        let outbox = outbox.clone();
        async move {
            let mut second = outbox.begin();
            let answer = outbox.enqueue_one(&mut second, &once()).await.expect("enqueue succeeds");
            outbox.commit(second);
            answer
        }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished(), "it cannot know yet whether the first commits");
    drop(first);
    let answer = tokio::time::timeout(HOUR, waiting).await.expect("it ends").expect("it does not panic");
    assert!(!answer.is_duplicate(), "the first was rolled back");
}

#[tokio::test(start_paused = true)]
async fn a_transaction_does_not_wait_for_another_for_ever() {
    let outbox = MemoryOutbox::new();
    let once = || NewMessage::builder("orders").idempotency_key("k").build().expect("the message is valid");
    let (mut first, mut second) = (outbox.begin(), outbox.begin());
    outbox.enqueue_one(&mut first, &once()).await.expect("enqueue succeeds");
    let refused = outbox.enqueue_one(&mut second, &once()).await.expect_err("the first never ends");
    assert_eq!(refused.kind(), StoreErrorKind::Unavailable, "{refused}");
    outbox.commit(first);
    assert!(
        outbox.enqueue_one(&mut second, &once()).await.expect("enqueue succeeds").is_duplicate(),
        "it has ended"
    );
}

#[tokio::test]
async fn an_outbox_is_shared_by_its_clones_and_across_threads() {
    let outbox = MemoryOutbox::new();
    let tasks: Vec<_> = (0..8)
        .map(|n| {
            let outbox = outbox.clone();
            tokio::spawn(async move {
                for _ in 0..50 {
                    enqueue(&outbox, NewMessage::builder("orders").key(format!("key-{n}"))).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no task panics");
    }
    let store: Arc<dyn OutboxStore> = Arc::new(outbox.clone());
    let me = owner(&outbox).await;
    let slots = me.slots.clone();
    let held = HeldPlaces::default();
    let request = ClaimRequest {
        epoch: me.epoch,
        slots: &slots,
        wants: &|_| true,
        held: &held,
        restart: false,
        limit: 1000,
        max_bytes: usize::MAX,
    };
    assert_eq!(store.claim(&request).await.expect("claim succeeds").messages.len(), 400, "all of all clones");
}

#[tokio::test]
async fn discarding_by_topic_and_state_counts_what_it_did() {
    let outbox = MemoryOutbox::new();
    for topic in ["mail", "orders", "mail"] {
        enqueue(&outbox, NewMessage::builder(topic)).await;
    }
    let mail = Selection::All { topic: Some("mail".to_owned()), state: Some(MessageState::Waiting) };
    let discarded =
        outbox.discard(&mail, &Act::new("on call", "wrong topic")).await.expect("discard succeeds");
    assert_eq!(discarded, 2, "both mails");
}

async fn enqueue(outbox: &MemoryOutbox, builder: outbox_core::MessageBuilder) -> Enqueued {
    let mut tx = outbox.begin();
    let message = builder.build().expect("the message is valid");
    let answer = outbox.enqueue_one(&mut tx, &message).await.expect("enqueue succeeds");
    outbox.commit(tx);
    answer
}

async fn owner(outbox: &MemoryOutbox) -> Ownership {
    outbox.renew(&DispatcherId::new("test"), None, HOUR).await.expect("renew succeeds")
}

async fn claim(outbox: &MemoryOutbox, me: &Ownership, held: &[Place]) -> Claim {
    claim_from(outbox, me, held, false).await
}

async fn restart(outbox: &MemoryOutbox, me: &Ownership) -> Claim {
    claim_from(outbox, me, &[], true).await
}

async fn claim_from(outbox: &MemoryOutbox, me: &Ownership, held: &[Place], restart: bool) -> Claim {
    let held: HeldPlaces = held.iter().copied().collect();
    let request = ClaimRequest {
        epoch: me.epoch,
        slots: &me.slots,
        wants: &|_| true,
        held: &held,
        restart,
        limit: 100,
        max_bytes: usize::MAX,
    };
    outbox.claim(&request).await.expect("claim succeeds")
}

async fn settle(outbox: &MemoryOutbox, me: &Ownership, verdicts: &[(Place, Verdict)]) {
    let settlement = Settlement { verdicts, ..Settlement::default() };
    assert_eq!(
        outbox.settle(me.epoch, &settlement).await.expect("settle succeeds"),
        Fence::Held,
        "it owns the outbox"
    );
}

fn retry(delay: Duration) -> Verdict {
    let failure = FailureNote::new(1, "transient", &DeliveryError::new("try again"));
    Verdict::Retry { delay, tally: Tally { attempts: 1, ..Tally::default() }, failure }
}

#[tokio::test]
async fn a_redriven_dead_letter_counts_its_age_anew() {
    let outbox = MemoryOutbox::new();
    enqueue(&outbox, NewMessage::builder("orders")).await;
    let me = owner(&outbox).await;
    outbox.advance(HOUR);
    let claimed = claim(&outbox, &me, &[]).await;
    assert!(claimed.messages[0].age >= HOUR);
    let failure = FailureNote::new(1, "permanent", &DeliveryError::new("no"));
    let dead = Verdict::Dead { tally: Tally::default(), failure, then: outbox_core::OnDead::Park };
    settle(&outbox, &me, &[(claimed.messages[0].place, dead)]).await;
    let parked = Selection::All { topic: None, state: Some(MessageState::Parked) };
    assert_eq!(outbox.redrive(&parked, &Act::new("on call", "mended")).await.expect("redrive succeeds"), 1);
    let again = restart(&outbox, &me).await;
    assert!(again.messages[0].age < HOUR && again.messages[0].due_in.is_none());
}
