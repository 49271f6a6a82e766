//! Who owns what, and for how long.

use std::collections::HashSet;
use std::time::Duration;

use super::super::probe::*;
use super::StoreFixture;
use crate::{Epoch, Fence, OutboxStore, Settlement};

pub async fn the_first_session_owns_the_outbox<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let session = probe.start().await;
    assert!(!session.slots.is_empty(), "free slots are taken");
}

pub async fn a_renewed_session_keeps_its_epoch_and_slots<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let session = probe.start().await;
    let renewed = probe.renew(&session, HOUR).await;
    assert_eq!(renewed.epoch, session.epoch, "the same session");
    assert_eq!(renewed.slots, session.slots, "the same slots");
}

pub async fn an_expired_session_that_nobody_fenced_renews<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let session = probe.start_for(Duration::ZERO).await;
    let renewed = probe.renew(&session, HOUR).await;
    assert_eq!(renewed.epoch, session.epoch, "nobody fenced it, so it goes on");
    assert_eq!(renewed.slots, session.slots, "with what it owned");
}

pub async fn an_expired_session_that_nobody_fenced_settles<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    probe.enqueue(&[keyed("a")]).await;
    let claimed = only(probe.claim(&mut session).await);
    let batch = probe.begin(&mut session, &[claimed.place]).await;
    probe.expire(&session).await;
    let verdicts = [(claimed.place, delivered())];
    let settlement = Settlement { verdicts: &verdicts, ended: &[batch], begin: None };
    assert_eq!(probe.try_settle(&mut session, settlement).await, Fence::Held, "what was sent is recorded");
    let mut successor = probe.take_over(&session).await;
    assert!(probe.claim(&mut successor).await.is_empty(), "delivered, and not sent again");
}

pub async fn no_slot_is_owned_by_two_live_sessions<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let first = probe.start().await;
    let second = probe.start().await;
    assert_ne!(first.epoch, second.epoch, "two sessions have two numbers");
    assert!(
        second.slots.iter().all(|slot| !first.slots.contains(slot)),
        "the first is alive and owns its slots"
    );
    let renewed = probe.renew(&first, HOUR).await;
    assert!(renewed.slots.iter().all(|slot| !second.slots.contains(slot)), "and so it stays");
}

pub async fn an_expired_session_loses_its_slots_to_the_next<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let first = probe.start_for(Duration::ZERO).await;
    let second = probe.start().await;
    assert_ne!(second.epoch, first.epoch, "a new session");
    assert_eq!(second.slots, first.slots, "it takes what was abandoned");
}

pub async fn a_session_that_stands_by_takes_over_when_it_renews<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let first = probe.start().await;
    let standby = probe.start().await;
    probe.expire(&first).await;
    let renewed = probe.renew(&standby, HOUR).await;
    assert_eq!(renewed.epoch, standby.epoch, "its own session goes on");
    assert!(first.slots.iter().all(|slot| renewed.slots.contains(slot)), "it takes what was abandoned");
}

pub async fn a_fenced_session_gets_a_new_epoch_and_none_of_its_slots<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let first = probe.start().await;
    let second = probe.take_over(&first).await;
    let renewed = probe.renew(&first, HOUR).await;
    assert_ne!(renewed.epoch, first.epoch, "a fenced session is over");
    assert_ne!(renewed.epoch, second.epoch, "and it is not its successor");
    assert!(renewed.slots.iter().all(|slot| !second.slots.contains(slot)), "the successor keeps its slots");
}

pub async fn an_unknown_epoch_gets_a_new_session<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    session.epoch = Epoch(session.epoch.0 + 1_000_000);
    let renewed = probe.renew(&session, HOUR).await;
    assert_ne!(renewed.epoch, session.epoch, "a number that was never given is not taken over");
}

pub async fn epochs_are_never_used_again<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut seen = HashSet::new();
    let mut session = probe.start().await;
    for round in 0..6 {
        assert!(seen.insert(session.epoch), "the epoch {} was given twice", session.epoch);
        if round % 2 == 0 {
            probe.outbox().release(session.epoch, &session.slots).await.expect("release succeeds");
            session = probe.start().await;
        } else {
            session = probe.take_over(&session).await;
        }
        probe.outbox().tidy(1000).await.expect("tidy succeeds");
    }
}

pub async fn a_released_slot_can_be_taken_at_once<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut first = probe.start().await;
    probe.enqueue(&[keyed("a")]).await;
    probe.claim(&mut first).await;
    probe.outbox().release(first.epoch, &first.slots).await.expect("release succeeds");
    let mut second = probe.start().await;
    assert_eq!(second.slots, first.slots, "though the lease of the first would run for an hour");
    let claimed = only(probe.claim(&mut second).await);
    assert!(claimed.fresh && !claimed.tally.in_doubt, "what was only claimed is untouched");
}

pub async fn releasing_with_an_open_batch_leaves_it_in_doubt<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut first = probe.start().await;
    probe.enqueue(&[keyed("a")]).await;
    let claimed = only(probe.claim(&mut first).await);
    probe.begin(&mut first, &[claimed.place]).await;
    probe.outbox().release(first.epoch, &first.slots).await.expect("release succeeds");
    let mut second = probe.start().await;
    assert_eq!(second.slots, first.slots, "a released slot can be taken at once");
    let claimed = only(probe.claim(&mut second).await);
    assert!(claimed.tally.in_doubt, "it was begun and never settled, so it may have been delivered");
}

pub async fn a_session_that_released_its_slots_settles_nothing<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut first = probe.start().await;
    let message = keyed("a");
    probe.enqueue(std::slice::from_ref(&message)).await;
    let claimed = only(probe.claim(&mut first).await);
    probe.outbox().release(first.epoch, &first.slots).await.expect("release succeeds");
    let verdicts = [(claimed.place, delivered())];
    let settlement = Settlement { verdicts: &verdicts, ..Settlement::default() };
    assert_eq!(probe.try_settle(&mut first, settlement).await, Fence::Lost, "it owns nothing any more");
    let mut second = probe.start().await;
    assert!(has(&probe.claim(&mut second).await, &message), "nothing was written");
}

pub async fn a_session_that_released_its_slots_starts_anew<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    probe.enqueue(&[keyed("a")]).await;
    let claimed = only(probe.claim(&mut session).await);
    probe.begin(&mut session, &[claimed.place]).await;
    probe.outbox().release(session.epoch, &session.slots).await.expect("release succeeds");
    let renewed = probe.renew(&session, HOUR).await;
    assert_ne!(renewed.epoch, session.epoch, "a session that keeps no slot has ended");
    (session.epoch, session.slots) = (renewed.epoch, renewed.slots);
    let claimed = only(probe.claim_anew(&mut session).await);
    assert!(claimed.tally.in_doubt, "what it left in flight is in doubt, also for itself");
}

pub async fn releasing_from_a_fenced_session_takes_nothing_from_its_successor<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let first = probe.start().await;
    let mut second = probe.take_over(&first).await;
    probe.outbox().release(first.epoch, &first.slots).await.expect("release succeeds");
    let third = probe.start().await;
    assert!(third.slots.iter().all(|slot| !second.slots.contains(slot)), "the successor keeps its slots");
    let fence = probe.try_settle(&mut second, Settlement::default()).await;
    assert_eq!(fence, Fence::Held, "and goes on");
}

pub async fn tidying_removes_nothing_that_still_counts<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let once = build(crate::NewMessage::builder("orders").idempotency_key("once"));
    probe.enqueue(&[once.clone(), keyed("a"), keyed("a"), keyed("b")]).await;
    let claimed = probe.claim(&mut session).await;
    probe.settle(&mut session, &[(claimed[1].place, retry(Duration::ZERO))]).await;
    probe.outbox().tidy(10_000).await.expect("tidy succeeds");
    assert_eq!(probe.claim_anew(&mut session).await.len(), 4, "every message is still there");
    let again = build(crate::NewMessage::builder("orders").idempotency_key("once"));
    let answers = probe.enqueue(&[again]).await;
    assert_eq!(answers[0], crate::Enqueued::Duplicate(once.id()), "its idempotency key is still known");
}
