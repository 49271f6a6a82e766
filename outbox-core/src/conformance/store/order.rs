//! Messages of a key go out in the order of their places, whatever happens to those before them.

use std::time::Duration;

use super::super::probe::*;
use super::StoreFixture;
use crate::{OnDead, Verdict};

pub async fn messages_behind_a_retry_are_not_claimed<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    probe.enqueue(&line("a", 3)).await;
    let places = places(&probe.claim(&mut session).await);
    let verdicts = [(places[0], retry(HOUR)), (places[1], wait()), (places[2], wait())];
    probe.settle(&mut session, &verdicts).await;
    assert!(probe.claim_anew(&mut session).await.is_empty(), "the head of the key waits, so all of it does");
}

pub async fn messages_behind_a_retry_come_after_it_in_order<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = line("a", 4);
    probe.enqueue(&messages).await;
    let places = places(&probe.claim(&mut session).await);
    let mut verdicts = vec![(places[0], retry(Duration::ZERO))];
    verdicts.extend(places[1..].iter().map(|place| (*place, wait())));
    probe.settle(&mut session, &verdicts).await;
    let head = only(probe.claim(&mut session).await);
    assert_eq!(message(&head).id, messages[0].id(), "only the head, until it is settled");
    probe.deliver(&mut session, head.place).await;
    assert_eq!(probe.drain(&mut session).await, ids(&messages[1..]), "then the rest, in order");
}

pub async fn verdicts_of_one_settlement_come_in_any_order<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = line("a", 4);
    probe.enqueue(&messages).await;
    let places = places(&probe.claim(&mut session).await);
    let verdicts = [(places[3], wait()), (places[2], wait()), (places[1], wait()), (places[0], retry(HOUR))];
    probe.settle(&mut session, &verdicts).await;
    assert!(probe.claim_anew(&mut session).await.is_empty(), "the head of the key waits, so all of it does");
}

pub async fn a_retry_stands_even_when_those_before_it_leave_in_the_same_settlement<F: StoreFixture>(
    fixture: F,
) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = line("a", 3);
    probe.enqueue(&messages).await;
    let places = places(&probe.claim(&mut session).await);
    // All three stand in line, then become free together.
    probe.settle(&mut session, &[(places[0], retry(Duration::ZERO))]).await;
    probe.settle(&mut session, &[(places[1], wait()), (places[2], wait())]).await;
    probe.claim(&mut session).await;
    let verdicts = [(places[2], wait()), (places[1], retry(HOUR)), (places[0], delivered())];
    probe.settle(&mut session, &verdicts).await;
    assert!(probe.claim_anew(&mut session).await.is_empty(), "the second message waits for an hour");
}

pub async fn a_long_line_behind_a_key_comes_out_in_order<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = line("a", 250);
    probe.enqueue(&messages).await;
    let places = places(&probe.claim(&mut session).await);
    let mut verdicts: Vec<_> = places.iter().map(|place| (*place, wait())).collect();
    verdicts[0].1 = retry(Duration::ZERO);
    probe.settle(&mut session, &verdicts).await;
    assert!(probe.drain(&mut session).await == ids(&messages), "all 250, in the order of their places");
}

pub async fn another_failure_of_the_head_holds_the_rest_again<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = line("a", 5);
    probe.enqueue(&messages).await;
    let places = places(&probe.claim(&mut session).await);
    let mut verdicts: Vec<_> = places.iter().map(|place| (*place, wait())).collect();
    verdicts[0].1 = retry(Duration::ZERO);
    probe.settle(&mut session, &verdicts).await;
    let head = only(probe.claim(&mut session).await);
    probe.deliver(&mut session, head.place).await;

    // The rest is free now, but only the second message is read before it fails in its turn.
    let claim = probe.claim_some(&mut session, &|_| true, false, 1, usize::MAX).await;
    assert_eq!(claimed_ids(&claim.messages), ids(&messages[1..2]), "the next in line");
    probe.settle(&mut session, &[(claim.messages[0].place, retry(HOUR))]).await;
    assert!(probe.claim_anew(&mut session).await.is_empty(), "the third must not pass the second");
}

pub async fn messages_given_back_keep_their_order<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = line("a", 6);
    probe.enqueue(&messages).await;
    let places = places(&probe.claim(&mut session).await);
    let mut verdicts: Vec<_> = places.iter().map(|place| (*place, wait())).collect();
    verdicts[0].1 = retry(Duration::ZERO);
    probe.settle(&mut session, &verdicts).await;
    let head = only(probe.claim(&mut session).await);
    probe.deliver(&mut session, head.place).await;

    // Some of those that became free are read and given back, the first of them last.
    let claim = probe.claim_some(&mut session, &|_| true, false, 3, usize::MAX).await;
    for claimed in claim.messages.iter().rev() {
        probe.settle(&mut session, &[(claimed.place, wait())]).await;
    }
    assert_eq!(probe.drain(&mut session).await, ids(&messages[1..]), "in the order of their places");
}

pub async fn an_earlier_message_set_aside_late_goes_first<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = line("a", 3);
    probe.enqueue(&messages).await;
    let places = places(&probe.claim(&mut session).await);
    // The outcomes come in from behind.
    probe.settle(&mut session, &[(places[2], wait())]).await;
    probe.settle(&mut session, &[(places[1], wait())]).await;
    probe.settle(&mut session, &[(places[0], retry(Duration::ZERO))]).await;
    assert_eq!(probe.drain(&mut session).await, ids(&messages), "in the order of their places");
}

pub async fn an_earlier_message_that_fails_late_holds_those_set_aside_before<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    probe.enqueue(&line("a", 3)).await;
    let places = places(&probe.claim(&mut session).await);
    probe.settle(&mut session, &[(places[1], wait()), (places[2], wait())]).await;
    probe.settle(&mut session, &[(places[0], retry(HOUR))]).await;
    assert!(probe.claim_anew(&mut session).await.is_empty(), "the head of the key waits, so all of it does");
}

pub async fn a_message_parked_in_the_middle_holds_only_those_after_it<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = line("a", 4);
    probe.enqueue(&messages).await;
    let places = places(&probe.claim(&mut session).await);
    let verdicts = [
        (places[0], retry(Duration::ZERO)),
        (places[1], dead(OnDead::Park)),
        (places[2], wait()),
        (places[3], wait()),
    ];
    probe.settle(&mut session, &verdicts).await;
    assert_eq!(probe.drain(&mut session).await, ids(&messages[..1]), "the rest stands behind the parked one");
}

pub async fn lines_of_different_keys_do_not_mix<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let keys = ["a", "b", "c"];
    let messages: Vec<_> = (0..30).map(|n| keyed(keys[n % 3])).collect();
    probe.enqueue(&messages).await;
    let claimed = probe.claim(&mut session).await;
    let failed = |n: usize| if n < 3 { retry(Duration::ZERO) } else { wait() };
    let verdicts: Vec<(_, Verdict)> =
        messages.iter().enumerate().map(|(n, message)| (find(&claimed, message).place, failed(n))).collect();
    probe.settle(&mut session, &verdicts).await;
    let order = probe.drain(&mut session).await;
    assert_eq!(order.len(), 30, "every message comes out once");
    for key in keys {
        let of_key: Vec<_> = messages.iter().filter(|m| m.key() == Some(key)).map(|m| m.id()).collect();
        let came: Vec<_> = order.iter().filter(|id| of_key.contains(id)).copied().collect();
        assert_eq!(came, of_key, "the messages of the key {key:?} in their order");
    }
}
