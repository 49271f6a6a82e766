//! What a successor finds of a session that died.

use std::time::Duration;

use super::super::probe::*;
use super::StoreFixture;
use crate::{Fence, OnDead, Settlement, Tally};

pub async fn takeover_marks_what_the_journal_lists_as_in_doubt<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = [keyed("a"), keyed("b"), unkeyed()];
    probe.enqueue(&messages).await;
    let begun = places(&probe.claim(&mut session).await);
    probe.begin(&mut session, &begun).await;
    let mut successor = probe.take_over(&session).await;
    let claimed = probe.claim(&mut successor).await;
    assert_eq!(claimed.len(), 3, "all are due at once");
    for claimed in &claimed {
        assert_eq!(
            claimed.tally,
            Tally { attempts: 0, crashes: 1, in_doubt: true },
            "one crash, no attempt spent"
        );
        assert!(!claimed.fresh, "it was set aside");
    }
}

pub async fn takeover_finds_every_open_batch<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    probe.enqueue(&(0..9).map(|_| unkeyed()).collect::<Vec<_>>()).await;
    let begun = places(&probe.claim(&mut session).await);
    for batch in begun.chunks(2) {
        probe.begin(&mut session, batch).await;
    }
    let mut successor = probe.take_over(&session).await;
    let claimed = probe.claim(&mut successor).await;
    assert_eq!(claimed.len(), 9, "all are due at once");
    assert!(claimed.iter().all(|claimed| claimed.tally.in_doubt), "whichever batch they were in");
}

pub async fn takeover_counts_a_message_of_two_open_batches_once<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = [unkeyed(), unkeyed(), unkeyed()];
    probe.enqueue(&messages).await;
    let claimed = probe.claim(&mut session).await;
    let [slow, fresh, other] = [0, 1, 2].map(|n| find(&claimed, &messages[n]).place);
    let failed = [(other, retry(Duration::ZERO))];
    probe.settle(&mut session, &failed).await;
    let set_aside = only(probe.claim(&mut session).await).place;
    // Two of the first batch come back unsent, and are begun again while the third is in flight still.
    probe.begin(&mut session, &[slow, fresh, set_aside]).await;
    probe.begin(&mut session, &[fresh, set_aside]).await;
    let mut successor = probe.take_over(&session).await;
    let claimed = probe.claim(&mut successor).await;
    assert_eq!(claimed.len(), 3, "all are due at once");
    let tally = |n: usize| find(&claimed, &messages[n]).tally;
    assert_eq!(tally(0), Tally { attempts: 0, crashes: 1, in_doubt: true }, "it was in flight");
    assert_eq!(tally(1), Tally { attempts: 0, crashes: 1, in_doubt: true }, "it was in flight once");
    assert_eq!(tally(2), Tally { attempts: 1, crashes: 1, in_doubt: true }, "it was in flight once");
}

pub async fn takeover_goes_by_the_last_batch_of_a_message<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = [unkeyed(), unkeyed()];
    probe.enqueue(&messages).await;
    for _ in 0..Tally::ALONE_FROM {
        let begun = places(&probe.claim(&mut session).await);
        probe.begin(&mut session, &begun).await;
        session = probe.take_over(&session).await;
    }
    let claimed = probe.claim(&mut session).await;
    let suspect = find(&claimed, &messages[0]).place;
    probe.begin(&mut session, &places(&claimed)).await;
    probe.begin_batch(&mut session, &[suspect], true).await;
    let mut successor = probe.take_over(&session).await;
    let claimed = probe.claim(&mut successor).await;
    let crashes = [0, 1].map(|n| find(&claimed, &messages[n]).tally.crashes);
    assert_eq!(crashes, [3, 2], "the first died alone, the second in company");
}

pub async fn takeover_leaves_what_was_not_begun_untouched<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = [unkeyed(), unkeyed(), unkeyed()];
    probe.enqueue(&messages).await;
    let claimed = probe.claim(&mut session).await;
    probe.begin(&mut session, &[find(&claimed, &messages[1]).place]).await;
    let mut successor = probe.take_over(&session).await;
    let claimed = probe.claim(&mut successor).await;
    for untouched in [&messages[0], &messages[2]] {
        let claimed = find(&claimed, untouched);
        assert_eq!(claimed.tally, Tally::default(), "it was only claimed, never begun");
        assert!(claimed.fresh, "it was not set aside");
    }
    assert!(find(&claimed, &messages[1]).tally.in_doubt, "the one that was begun is in doubt");
}

pub async fn takeover_leaves_ended_batches_untouched<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = [unkeyed(), unkeyed()];
    probe.enqueue(&messages).await;
    let begun = places(&probe.claim(&mut session).await);
    let batch = probe.begin(&mut session, &begun).await;
    // One was delivered, the other given back unsent.
    let verdicts = [(begun[0], delivered())];
    let settlement = Settlement { verdicts: &verdicts, ended: &[batch], begin: None };
    assert_eq!(probe.try_settle(&mut session, settlement).await, Fence::Held, "the session is alive");
    let mut successor = probe.take_over(&session).await;
    let left = only(probe.claim(&mut successor).await);
    assert_eq!(left.tally, Tally::default(), "its batch has ended, so it was not in flight");
}

pub async fn takeover_keeps_the_attempts_of_a_retry_in_flight<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    probe.enqueue(&[keyed("a")]).await;
    let claimed = only(probe.claim(&mut session).await);
    probe.settle(&mut session, &[(claimed.place, retry(Duration::ZERO))]).await;
    let again = only(probe.claim(&mut session).await);
    probe.begin(&mut session, &[again.place]).await;
    let mut successor = probe.take_over(&session).await;
    let claimed = only(probe.claim(&mut successor).await);
    assert_eq!(claimed.tally, Tally { attempts: 1, crashes: 1, in_doubt: true }, "a crash is not an attempt");
}

pub async fn takeover_keeps_the_order_of_a_key<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = line("a", 6);
    probe.enqueue(&messages).await;
    let claimed = places(&probe.claim(&mut session).await);
    probe.begin(&mut session, &claimed[..2]).await;
    probe.begin(&mut session, &claimed[2..4]).await;
    let mut successor = probe.take_over(&session).await;
    let claimed = probe.claim(&mut successor).await;
    let behind: Vec<bool> = messages[4..].iter().map(|message| find(&claimed, message).behind).collect();
    assert_eq!(behind, [true, true], "those that were not begun stand behind those in doubt");
    let mut third = probe.take_over(&successor).await;
    assert_eq!(probe.drain(&mut third).await, ids(&messages), "in the order of their places");
}

pub async fn takeover_deletes_the_journal<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    probe.enqueue(&[unkeyed()]).await;
    let claimed = only(probe.claim(&mut session).await);
    probe.begin(&mut session, &[claimed.place]).await;
    let second = probe.take_over(&session).await;
    let mut third = probe.take_over(&second).await;
    let claimed = only(probe.claim(&mut third).await);
    assert_eq!(claimed.tally.crashes, 1, "the second session began nothing, so its death counts for nothing");
}

pub async fn takeover_does_not_bring_back_a_delivered_message_of_an_open_batch<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = [unkeyed(), unkeyed()];
    probe.enqueue(&messages).await;
    let begun = places(&probe.claim(&mut session).await);
    probe.begin(&mut session, &begun).await;
    probe.deliver(&mut session, begun[0]).await;
    let mut successor = probe.take_over(&session).await;
    assert_eq!(only(probe.claim(&mut successor).await).place, begun[1], "only the one without a verdict");
}

pub async fn takeover_does_not_bring_back_a_dead_letter_of_an_open_batch<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = [unkeyed(), unkeyed(), keyed("a")];
    probe.enqueue(&messages).await;
    let begun = places(&probe.claim(&mut session).await);
    probe.begin(&mut session, &begun).await;
    let first_two = [(begun[0], dead(OnDead::Skip)), (begun[2], dead(OnDead::Park))];
    probe.settle(&mut session, &first_two).await;
    let mut successor = probe.take_over(&session).await;
    assert_eq!(only(probe.claim(&mut successor).await).place, begun[1], "only the one without a verdict");
}

pub async fn takeover_does_not_doubt_what_an_open_batch_has_settled<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = [unkeyed(), unkeyed()];
    probe.enqueue(&messages).await;
    let claimed = probe.claim(&mut session).await;
    let begun = places(&claimed);
    probe.begin(&mut session, &begun).await;
    let failed = (find(&claimed, &messages[0]).place, retry(Duration::ZERO));
    probe.settle(&mut session, &[failed]).await;
    let mut successor = probe.take_over(&session).await;
    let claimed = probe.claim(&mut successor).await;
    assert_eq!(
        find(&claimed, &messages[0]).tally,
        attempts(1),
        "its outcome is known: one attempt, no crash"
    );
    assert!(find(&claimed, &messages[1]).tally.in_doubt, "the outcome of the other is not known");
}

pub async fn a_message_that_dies_in_company_counts_two_crashes_at_most<F: StoreFixture>(fixture: F) {
    assert_eq!(crashes_after(fixture, &[false; 4]).await, 2, "any of its neighbours may have been the cause");
}

pub async fn a_message_that_dies_alone_counts_every_crash<F: StoreFixture>(fixture: F) {
    let deaths = [false, false, true, true, true];
    assert_eq!(crashes_after(fixture, &deaths).await, Tally::DEAD_AT, "two in company and three alone");
}

pub async fn beginning_a_batch_again_is_the_same_as_once<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    probe.enqueue(&[unkeyed()]).await;
    let claimed = only(probe.claim(&mut session).await);
    let batch = session.batch(&[claimed.place], false);
    let settlement = Settlement { begin: Some(&batch), ..Settlement::default() };
    for _ in 0..2 {
        assert_eq!(probe.try_settle(&mut session, settlement).await, Fence::Held, "the session is alive");
    }
    let mut successor = probe.take_over(&session).await;
    let claimed = only(probe.claim(&mut successor).await);
    assert_eq!(claimed.tally.crashes, 1, "one batch, one crash");
}

pub async fn a_settlement_ends_one_batch_and_begins_the_next<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = [unkeyed(), unkeyed()];
    probe.enqueue(&messages).await;
    let claimed = places(&probe.claim(&mut session).await);
    let first = probe.begin(&mut session, &claimed[..1]).await;
    let next = session.batch(&claimed[1..], false);
    let verdicts = [(claimed[0], retry(Duration::ZERO))];
    let settlement = Settlement { verdicts: &verdicts, ended: &[first], begin: Some(&next) };
    assert_eq!(probe.try_settle(&mut session, settlement).await, Fence::Held, "the session is alive");
    let mut successor = probe.take_over(&session).await;
    let claimed = probe.claim(&mut successor).await;
    let doubted: Vec<_> = claimed.iter().filter(|claimed| claimed.tally.in_doubt).map(|c| c.place).collect();
    assert_eq!(doubted, [next.places[0]], "what was begun last, and nothing else");
}

pub async fn a_batch_of_thousands_is_begun_and_found<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    probe.enqueue(&line("a", 3000)).await;
    let begun = places(&probe.claim(&mut session).await);
    probe.begin(&mut session, &begun).await;
    let successor = probe.take_over(&session).await;
    // The line of the key becomes free step by step; the successor starts over, so that nothing is fresh to it.
    let mut third = probe.take_over(&successor).await;
    let claimed = probe.claim(&mut third).await;
    assert!(!claimed.is_empty(), "the head of the key is due");
    assert!(
        claimed.iter().all(|claimed| claimed.tally.in_doubt && !claimed.fresh),
        "all of them were in flight"
    );
    assert_eq!(probe.drain_from(&mut third, claimed).await.len(), 3000, "none is lost");
}

/// The crashes of a message in whose flight one session after another died, alone or not.
async fn crashes_after<F: StoreFixture>(fixture: F, deaths: &[bool]) -> u32 {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    probe.enqueue(&[unkeyed()]).await;
    for alone in deaths {
        let claimed = only(probe.claim(&mut session).await);
        probe.begin_batch(&mut session, &[claimed.place], *alone).await;
        session = probe.take_over(&session).await;
    }
    only(probe.claim(&mut session).await).tally.crashes
}
