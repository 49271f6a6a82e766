//! A claim reads what may go out, in order, and writes nothing.

use std::time::Duration;

use super::super::probe::*;
use super::StoreFixture;
use crate::{ClaimRequest, NewMessage, OutboxStore};

pub async fn messages_of_one_transaction_are_claimed_in_the_order_given<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = line("a", 50);
    probe.enqueue(&messages).await;
    let claimed = probe.claim(&mut session).await;
    assert_eq!(claimed_ids(&claimed), ids(&messages), "the order given to enqueue");
}

pub async fn transactions_are_claimed_in_the_order_of_their_commits<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = line("a", 20);
    for message in &messages {
        probe.enqueue(std::slice::from_ref(message)).await;
    }
    let claimed = probe.claim(&mut session).await;
    assert_eq!(claimed_ids(&claimed), ids(&messages), "one transaction after another");
}

pub async fn messages_of_a_slot_are_claimed_in_order_of_place<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages: Vec<_> =
        (0..60).map(|n| if n % 3 == 0 { unkeyed() } else { keyed(&n.to_string()) }).collect();
    for chunk in messages.chunks(7) {
        probe.enqueue(chunk).await;
    }
    let claimed = probe.claim(&mut session).await;
    assert_eq!(claimed.len(), messages.len(), "all are claimed");
    for slot in &session.slots {
        let of_slot = claimed.iter().filter(|claimed| claimed.place.slot == *slot);
        let places: Vec<i64> = of_slot.map(|claimed| claimed.place.seq).collect();
        assert!(places.is_sorted(), "places of {slot:?} come in rising order, not {places:?}");
    }
}

pub async fn a_held_message_is_not_claimed_again<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = [keyed("a"), unkeyed()];
    probe.enqueue(&messages).await;
    assert_eq!(probe.claim(&mut session).await.len(), 2, "both are claimed");
    assert!(probe.claim(&mut session).await.is_empty(), "both are held");
    // Also when the store reads from the beginning; the probe itself fails on a place that is held.
    let claim = probe.claim_some(&mut session, &|_| true, true, 100, usize::MAX).await;
    assert!(claim.messages.is_empty(), "both are held");
}

pub async fn a_held_message_that_was_set_aside_is_not_claimed_again<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    probe.enqueue(&[keyed("a")]).await;
    let first = only(probe.claim(&mut session).await);
    probe.settle(&mut session, &[(first.place, retry(Duration::ZERO))]).await;
    only(probe.claim(&mut session).await);
    assert!(probe.claim(&mut session).await.is_empty(), "it is held again");
}

pub async fn restart_reads_from_the_beginning<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = line("a", 5);
    probe.enqueue(&messages).await;
    probe.claim(&mut session).await;
    let again = probe.claim_anew(&mut session).await;
    assert_eq!(claimed_ids(&again), ids(&messages), "what was forgotten is read again, in its order");
}

pub async fn claiming_changes_nothing<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    probe.enqueue(&line("a", 3)).await;
    let first = probe.claim(&mut session).await;
    let again = probe.claim_anew(&mut session).await;
    let what = |claimed: &[crate::Claimed]| -> Vec<_> {
        claimed.iter().map(|c| (c.place, message(c).clone(), c.tally, c.fresh, c.behind)).collect()
    };
    assert_eq!(what(&again), what(&first), "a message that was only claimed is as it was");
}

pub async fn a_claim_answers_no_more_than_its_limit<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = line("a", 10);
    probe.enqueue(&messages).await;
    let mut order = Vec::new();
    while order.len() < messages.len() {
        let claim = probe.claim_some(&mut session, &|_| true, false, 3, usize::MAX).await;
        let left = messages.len() - order.len();
        assert!((1..=3).contains(&claim.messages.len()), "1 to 3, not {}", claim.messages.len());
        order.extend(claimed_ids(&claim.messages));
        assert!(claim.more || left <= 3, "there is more, and the claim must say so");
    }
    assert_eq!(order, ids(&messages), "small claims leave nothing out and keep the order");
}

pub async fn a_claim_with_nothing_left_does_not_promise_more<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let claim = probe.claim_some(&mut session, &|_| true, false, 10, usize::MAX).await;
    assert!(!claim.more, "an empty outbox has no more");
    probe.enqueue(&[unkeyed()]).await;
    probe.claim(&mut session).await;
    let claim = probe.claim_some(&mut session, &|_| true, false, 10, usize::MAX).await;
    assert!(!claim.more, "everything is held, so a claim that says `more` would make the dispatcher spin");
}

pub async fn a_claim_stops_at_its_byte_limit_but_not_before_one_message<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let thousand = || NewMessage::builder("orders").key("a").payload(vec![7; 1000], "text/plain").build();
    let messages: Vec<_> = (0..4).map(|_| thousand().expect("the message is valid")).collect();
    probe.enqueue(&messages).await;
    let one = probe.claim_some(&mut session, &|_| true, false, 100, 1).await;
    assert_eq!(claimed_ids(&one.messages), ids(&messages[..1]), "one message, however large");
    assert!(one.more, "there is more");
    let two = probe.claim_some(&mut session, &|_| true, false, 100, 1500).await;
    assert_eq!(
        claimed_ids(&two.messages),
        ids(&messages[1..3]),
        "up to the message that reaches 1,500 bytes"
    );
    let last = probe.claim(&mut session).await;
    assert_eq!(claimed_ids(&last), ids(&messages[3..]), "the rest");
}

pub async fn a_claim_of_no_slot_answers_nothing<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let session = probe.start().await;
    probe.enqueue(&[unkeyed()]).await;
    let request = ClaimRequest {
        epoch: session.epoch,
        slots: &[],
        wants: &|_| true,
        held: &session.held,
        restart: true,
        limit: 10,
        max_bytes: usize::MAX,
    };
    let claim = probe.outbox().claim(&request).await.expect("claim succeeds");
    assert!(claim.messages.is_empty(), "no slot was asked for");
}

pub async fn fresh_messages_of_unwanted_topics_are_claimed<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = [of_topic("mail"), of_topic("orders")];
    probe.enqueue(&messages).await;
    let claim = probe.claim_some(&mut session, &|topic| topic == "orders", false, 10, usize::MAX).await;
    assert!(has(&claim.messages, &messages[0]), "what no route takes must be seen, so that it is set aside");
    assert!(has(&claim.messages, &messages[1]), "what a route takes is claimed");
}

pub async fn of_messages_set_aside_only_wanted_topics_are_claimed<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = [of_topic("mail"), of_topic("orders"), of_topic("mail.urgent")];
    probe.enqueue(&messages).await;
    let verdicts: Vec<_> =
        places(&probe.claim(&mut session).await).into_iter().map(|p| (p, wait())).collect();
    probe.settle(&mut session, &verdicts).await;
    let claim = probe.claim_some(&mut session, &|topic| topic == "orders", false, 10, usize::MAX).await;
    assert_eq!(claimed_ids(&claim.messages), ids(&messages[1..2]), "only the wanted topic");
    let rest = probe.claim(&mut session).await;
    assert!(
        rest.len() == 2 && has(&rest, &messages[0]) && has(&rest, &messages[2]),
        "the others, once wanted"
    );
}

pub async fn messages_set_aside_do_not_come_as_fresh<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    probe.enqueue(&[unkeyed()]).await;
    let first = only(probe.claim(&mut session).await);
    assert!(first.fresh, "never set aside");
    probe.settle(&mut session, &[(first.place, wait())]).await;
    assert!(!only(probe.claim(&mut session).await).fresh, "set aside before");
}

pub async fn fresh_messages_do_not_starve_those_set_aside<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let aside = of_topic("aside");
    probe.enqueue(std::slice::from_ref(&aside)).await;
    let first = only(probe.claim(&mut session).await);
    probe.settle(&mut session, &[(first.place, wait())]).await;
    probe.enqueue(&(0..100).map(|_| unkeyed()).collect::<Vec<_>>()).await;
    let mut seen = false;
    for _ in 0..4 {
        let claim = probe.claim_some(&mut session, &|_| true, false, 10, usize::MAX).await;
        seen |= has(&claim.messages, &aside);
    }
    assert!(seen, "a message that is due comes within a few claims, however many fresh ones there are");
}

pub async fn messages_set_aside_do_not_starve_fresh_ones<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    probe.enqueue(&(0..100).map(|_| unkeyed()).collect::<Vec<_>>()).await;
    let verdicts: Vec<_> =
        places(&probe.claim(&mut session).await).into_iter().map(|p| (p, wait())).collect();
    probe.settle(&mut session, &verdicts).await;
    let fresh = of_topic("fresh");
    probe.enqueue(std::slice::from_ref(&fresh)).await;
    let mut seen = false;
    for _ in 0..4 {
        let claim = probe.claim_some(&mut session, &|_| true, false, 10, usize::MAX).await;
        seen |= has(&claim.messages, &fresh);
    }
    assert!(seen, "a fresh message comes within a few claims, however many of those set aside are due");
}

pub async fn the_next_due_time_is_told<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    probe.enqueue(&[keyed("a"), keyed("b")]).await;
    let places = places(&probe.claim(&mut session).await);
    let claim = probe.claim_some(&mut session, &|_| true, false, 10, usize::MAX).await;
    assert_eq!(claim.next_due, None, "nothing is set aside");
    probe.settle(&mut session, &[(places[0], retry(HOUR)), (places[1], retry(4 * HOUR))]).await;
    let claim = probe.claim_some(&mut session, &|_| true, false, 10, usize::MAX).await;
    let next = claim.next_due.expect("two messages wait for a time");
    assert!(next > HOUR / 2 && next <= HOUR, "the earlier of the two, not {next:?}");
}
