//! What a message that was set aside does, and does to its key.

use std::time::{Duration, SystemTime};

use super::super::probe::*;
use super::StoreFixture;
use crate::{NewMessage, OnDead, Tally, Verdict};

pub async fn a_retry_is_not_claimed_before_its_time<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    probe.enqueue(&[keyed("a"), unkeyed()]).await;
    let places = places(&probe.claim(&mut session).await);
    probe.settle(&mut session, &[(places[0], retry(HOUR)), (places[1], retry(HOUR))]).await;
    assert!(probe.claim_anew(&mut session).await.is_empty(), "both wait for an hour");
}

pub async fn a_retry_is_claimed_with_its_tally_once_it_is_due<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    probe.enqueue(&[keyed("a")]).await;
    let mut claimed = only(probe.claim(&mut session).await);
    assert_eq!(claimed.tally, Tally::default(), "nothing has happened to it yet");
    for attempt in 1..=3 {
        let tally = Tally { attempts: attempt, crashes: 0, in_doubt: attempt == 2 };
        let retry = Verdict::Retry { delay: Duration::ZERO, tally, failure: note(attempt) };
        probe.settle(&mut session, &[(claimed.place, retry)]).await;
        claimed = only(probe.claim(&mut session).await);
        assert_eq!(claimed.tally, tally, "the tally of the verdict, as it is");
        assert_eq!(claimed.due_in, None, "it is due");
    }
}

pub async fn waiting_keeps_the_tally_of_the_verdict<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    probe.enqueue(&[unkeyed()]).await;
    let claimed = only(probe.claim(&mut session).await);
    let tally = Tally { attempts: 7, crashes: 2, in_doubt: true };
    probe.settle(&mut session, &[(claimed.place, Verdict::Wait { tally })]).await;
    assert_eq!(only(probe.claim(&mut session).await).tally, tally, "the tally of the verdict");
}

pub async fn a_retry_blocks_only_its_key<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let first = [keyed("a"), keyed("b"), unkeyed()];
    probe.enqueue(&first).await;
    let claimed = probe.claim(&mut session).await;
    probe.settle(&mut session, &[(find(&claimed, &first[0]).place, retry(HOUR))]).await;
    let other_topic = build(NewMessage::builder("mail").key("a"));
    let later = [keyed("a"), keyed("b"), unkeyed(), other_topic];
    probe.enqueue(&later).await;
    let claimed = probe.claim(&mut session).await;
    assert_eq!(claimed.len(), 4, "fresh messages are claimed, also behind");
    assert!(find(&claimed, &later[0]).behind, "an earlier message of its key is set aside");
    for free in &later[1..] {
        assert!(!find(&claimed, free).behind, "a failure blocks only its own topic and key");
    }
}

pub async fn an_unkeyed_retry_blocks_nothing<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    probe.enqueue(&[unkeyed()]).await;
    let first = only(probe.claim(&mut session).await);
    probe.settle(&mut session, &[(first.place, retry(HOUR))]).await;
    probe.enqueue(&[unkeyed(), keyed("a")]).await;
    let claimed = probe.claim(&mut session).await;
    assert_eq!(claimed.len(), 2, "both are claimed");
    assert!(claimed.iter().all(|claimed| !claimed.behind), "a message without a key holds up nobody");
}

pub async fn a_key_is_free_once_nothing_of_it_is_set_aside<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    probe.enqueue(&[keyed("a")]).await;
    let first = only(probe.claim(&mut session).await);
    probe.settle(&mut session, &[(first.place, retry(Duration::ZERO))]).await;
    let again = only(probe.claim(&mut session).await);
    probe.deliver(&mut session, again.place).await;
    probe.enqueue(&[keyed("a")]).await;
    assert!(!only(probe.claim(&mut session).await).behind, "the key is free again");
}

pub async fn a_key_stays_blocked_for_the_next_session<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = line("a", 3);
    probe.enqueue(&messages).await;
    let claimed = probe.claim(&mut session).await;
    probe.settle(&mut session, &[(claimed[0].place, retry(HOUR)), (claimed[1].place, wait())]).await;
    let mut successor = probe.take_over(&session).await;
    let claimed = only(probe.claim(&mut successor).await);
    assert_eq!(message(&claimed).id, messages[2].id(), "the only one that is fresh");
    assert!(claimed.behind, "what is set aside blocks its key, whoever dispatches");
}

pub async fn a_dead_letter_is_not_claimed<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    probe.enqueue(&[keyed("a"), keyed("b"), unkeyed()]).await;
    let places = places(&probe.claim(&mut session).await);
    let verdicts =
        [(places[0], dead(OnDead::Skip)), (places[1], dead(OnDead::Park)), (places[2], dead(OnDead::Park))];
    probe.settle(&mut session, &verdicts).await;
    assert!(probe.claim_anew(&mut session).await.is_empty(), "a dead letter waits for a person");
    let mut successor = probe.take_over(&session).await;
    assert!(probe.claim(&mut successor).await.is_empty(), "also after a takeover");
}

pub async fn a_parked_dead_letter_holds_its_key<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = line("a", 2);
    probe.enqueue(&messages).await;
    let claimed = probe.claim(&mut session).await;
    let verdicts = [(claimed[0].place, dead(OnDead::Park)), (claimed[1].place, wait())];
    probe.settle(&mut session, &verdicts).await;
    let later = keyed("a");
    probe.enqueue(std::slice::from_ref(&later)).await;
    let claimed = only(probe.claim(&mut session).await);
    assert_eq!(message(&claimed).id, later.id(), "what is set aside behind a parked one is not claimed");
    assert!(claimed.behind, "a fresh message of its key is behind it");
}

pub async fn a_skipped_dead_letter_lets_its_key_go_on<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = line("a", 3);
    probe.enqueue(&messages).await;
    let claimed = probe.claim(&mut session).await;
    // The head failed before, so the second stands behind it.
    probe
        .settle(&mut session, &[(claimed[0].place, retry(Duration::ZERO)), (claimed[1].place, wait())])
        .await;
    let head = only(probe.claim(&mut session).await);
    probe.settle(&mut session, &[(head.place, dead(OnDead::Skip))]).await;
    let second = only(probe.claim(&mut session).await);
    assert_eq!(message(&second).id, messages[1].id(), "the next of the key is free to go");
    probe.deliver(&mut session, second.place).await;
    let rest = only(probe.claim_anew(&mut session).await);
    assert_eq!(message(&rest).id, messages[2].id(), "and the one after it");
    assert!(!rest.behind, "a skipped dead letter blocks nothing");
}

pub async fn a_scheduled_message_is_not_claimed_before_its_time<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    probe.enqueue(&[keyed("a"), unkeyed()]).await;
    let places = places(&probe.claim(&mut session).await);
    let later = Verdict::Schedule { delay: HOUR };
    let now = Verdict::Schedule { delay: Duration::ZERO };
    probe.settle(&mut session, &[(places[0], later), (places[1], now)]).await;
    let due = only(probe.claim_anew(&mut session).await);
    assert_eq!(due.place, places[1], "only the one whose time has come");
    assert_eq!(due.due_in, None, "it is due");
}

pub async fn a_scheduled_message_blocks_nothing<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    probe.enqueue(&[keyed("a")]).await;
    let first = only(probe.claim(&mut session).await);
    probe.settle(&mut session, &[(first.place, Verdict::Schedule { delay: HOUR })]).await;
    probe.enqueue(&[keyed("a")]).await;
    assert!(!only(probe.claim(&mut session).await).behind, "a scheduled message does not hold its key");
}

pub async fn a_scheduled_message_that_is_due_says_whether_its_key_is_blocked<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = [keyed("a"), keyed("a"), keyed("b")];
    probe.enqueue(&messages).await;
    let claimed = probe.claim(&mut session).await;
    let verdicts = [
        (find(&claimed, &messages[0]).place, retry(HOUR)),
        (find(&claimed, &messages[1]).place, Verdict::Schedule { delay: Duration::ZERO }),
        (find(&claimed, &messages[2]).place, Verdict::Schedule { delay: Duration::ZERO }),
    ];
    probe.settle(&mut session, &verdicts).await;
    let claimed = probe.claim(&mut session).await;
    assert_eq!(claimed.len(), 2, "both scheduled messages are due");
    assert!(find(&claimed, &messages[1]).behind, "its key is blocked");
    assert!(!find(&claimed, &messages[2]).behind, "its key is free");
}

pub async fn a_scheduled_message_joins_the_order_of_its_key_when_due<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = line("a", 3);
    probe.enqueue(&messages).await;
    let claimed = probe.claim(&mut session).await;
    let verdicts = [
        (claimed[0].place, retry(Duration::ZERO)),
        (claimed[1].place, Verdict::Schedule { delay: Duration::ZERO }),
        (claimed[2].place, wait()),
    ];
    probe.settle(&mut session, &verdicts).await;
    // The scheduled one comes as behind, and is told to wait.
    assert_eq!(probe.drain(&mut session).await, ids(&messages), "in the order of their places");
}

pub async fn a_not_before_time_is_told_with_the_claim<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let at = |moment| build(NewMessage::builder("orders").not_before(moment));
    let now = SystemTime::now();
    let messages = [at(now + HOUR), at(now - HOUR), unkeyed()];
    probe.enqueue(&messages).await;
    let claimed = probe.claim(&mut session).await;
    assert_eq!(
        claimed.len(),
        3,
        "fresh messages are claimed whatever their time, so that they can be scheduled"
    );
    let due_in = find(&claimed, &messages[0]).due_in.expect("its time has not come");
    assert!(due_in > HOUR / 2 && due_in < HOUR * 3 / 2, "about an hour, not {due_in:?}");
    assert_eq!(find(&claimed, &messages[1]).due_in, None, "its time has come");
    assert_eq!(find(&claimed, &messages[2]).due_in, None, "it has none");
}

pub async fn a_not_before_time_long_past_does_not_make_a_message_old<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let past = SystemTime::now() - 24 * HOUR;
    probe.enqueue(&[build(NewMessage::builder("orders").not_before(past))]).await;
    let claimed = only(probe.claim(&mut session).await);
    assert!(
        claimed.age < HOUR,
        "it could not be delivered before it was enqueued, but is {:?} old",
        claimed.age
    );
}
