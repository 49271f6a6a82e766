//! A settlement is written whole, by the owner alone, and may be repeated.

use std::time::Duration;

use super::super::probe::*;
use super::StoreFixture;
use crate::{Fence, OnDead, Place, Settlement, Tally, Verdict};

pub async fn a_delivered_message_is_gone<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    probe.enqueue(&[keyed("a"), unkeyed()]).await;
    for claimed in probe.claim(&mut session).await {
        probe.deliver(&mut session, claimed.place).await;
    }
    assert!(probe.claim_anew(&mut session).await.is_empty(), "delivered once");
    let mut successor = probe.take_over(&session).await;
    assert!(probe.claim(&mut successor).await.is_empty(), "delivered once, also for the next session");
}

pub async fn a_mixed_settlement_gives_each_message_its_verdict<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages: Vec<_> = (0..7).map(|n| keyed(&n.to_string())).collect();
    probe.enqueue(&messages).await;
    let claimed = probe.claim(&mut session).await;
    let place = |n: usize| find(&claimed, &messages[n]).place;
    let tally = Tally { attempts: 3, crashes: 1, in_doubt: true };
    let verdicts = [
        (place(0), delivered()),
        (place(1), retry(Duration::ZERO)),
        (place(2), retry(HOUR)),
        (place(3), Verdict::Wait { tally }),
        (place(4), Verdict::Schedule { delay: HOUR }),
        (place(5), dead(OnDead::Skip)),
        (place(6), dead(OnDead::Park)),
    ];
    probe.settle(&mut session, &verdicts).await;
    let due = probe.claim_anew(&mut session).await;
    assert_eq!(due.len(), 2, "one retry and the one that waits are due");
    assert_eq!(find(&due, &messages[1]).tally, attempts(1), "the retry");
    assert_eq!(find(&due, &messages[3]).tally, tally, "the one that waits");

    let later: Vec<_> = (0..7).map(|n| keyed(&n.to_string())).collect();
    probe.enqueue(&later).await;
    let claimed = probe.claim(&mut session).await;
    let behind: Vec<bool> = later.iter().map(|message| find(&claimed, message).behind).collect();
    assert_eq!(behind, [false, true, true, true, false, false, true], "which keys are blocked now");
}

pub async fn settling_from_a_fenced_session_changes_nothing<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = [keyed("a"), keyed("b"), keyed("c")];
    probe.enqueue(&messages).await;
    let claimed = probe.claim(&mut session).await;
    let mut successor = probe.take_over(&session).await;
    let place = |n: usize| find(&claimed, &messages[n]).place;
    let verdicts = [(place(0), delivered()), (place(1), retry(HOUR)), (place(2), dead(OnDead::Skip))];
    let settlement = Settlement { verdicts: &verdicts, ..Settlement::default() };
    assert_eq!(probe.try_settle(&mut session, settlement).await, Fence::Lost, "a fenced session is told so");
    let claimed = probe.claim(&mut successor).await;
    assert_eq!(claimed.len(), 3, "nothing was written");
    assert!(
        claimed.iter().all(|claimed| claimed.fresh && claimed.tally == Tally::default()),
        "nothing was written"
    );
}

pub async fn a_fenced_session_ends_no_batch_of_its_successor<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    probe.enqueue(&[unkeyed()]).await;
    let claimed = only(probe.claim(&mut session).await);
    let batch = probe.begin(&mut session, &[claimed.place]).await;
    let mut successor = probe.take_over(&session).await;
    let claimed = only(probe.claim(&mut successor).await);
    // Batches are numbered per session: both sessions have a first one.
    assert_eq!(probe.begin(&mut successor, &[claimed.place]).await, batch, "each session counts from one");
    let settlement = Settlement { ended: &[batch], ..Settlement::default() };
    assert_eq!(probe.try_settle(&mut session, settlement).await, Fence::Lost, "a fenced session is told so");
    let mut third = probe.take_over(&successor).await;
    assert_eq!(only(probe.claim(&mut third).await).tally.crashes, 2, "the successor's batch was still open");
}

pub async fn a_fenced_session_cannot_begin<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    probe.enqueue(&[unkeyed()]).await;
    let claimed = only(probe.claim(&mut session).await);
    let successor = probe.take_over(&session).await;
    let batch = session.batch(&[claimed.place], false);
    let settlement = Settlement { begin: Some(&batch), ..Settlement::default() };
    assert_eq!(probe.try_settle(&mut session, settlement).await, Fence::Lost, "it must send nothing more");
    let mut third = probe.take_over(&successor).await;
    assert_eq!(only(probe.claim(&mut third).await).tally, Tally::default(), "no journal was written");
}

pub async fn a_session_settles_nothing_of_slots_it_does_not_own<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut owner = probe.start().await;
    let mut other = probe.start().await;
    let message = keyed("a");
    probe.enqueue(std::slice::from_ref(&message)).await;
    let claimed = only(probe.claim(&mut owner).await);
    let verdicts = [(claimed.place, delivered())];
    let settlement = Settlement { verdicts: &verdicts, ..Settlement::default() };
    assert_eq!(
        probe.try_settle(&mut other, settlement).await,
        Fence::Lost,
        "the slot is the other session's"
    );
    assert!(has(&probe.claim_anew(&mut owner).await, &message), "nothing was written");
}

pub async fn an_empty_settlement_of_a_live_session_holds<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    assert_eq!(probe.try_settle(&mut session, Settlement::default()).await, Fence::Held, "it is alive");
    let _successor = probe.take_over(&session).await;
    assert_eq!(probe.try_settle(&mut session, Settlement::default()).await, Fence::Lost, "it is fenced");
}

pub async fn settling_twice_is_the_same_as_once<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages: Vec<_> = (0..6).map(|n| keyed(&n.to_string())).collect();
    probe.enqueue(&messages).await;
    let claimed = probe.claim(&mut session).await;
    let place = |n: usize| find(&claimed, &messages[n]).place;
    let first = probe.begin(&mut session, &[place(0), place(1)]).await;
    let next = session.batch(&[place(5)], false);
    let verdicts = [
        (place(0), delivered()),
        (place(1), retry(Duration::ZERO)),
        (place(2), wait()),
        (place(3), dead(OnDead::Park)),
        (place(4), Verdict::Schedule { delay: Duration::ZERO }),
    ];
    let settlement = Settlement { verdicts: &verdicts, ended: &[first], begin: Some(&next) };
    for _ in 0..3 {
        assert_eq!(probe.try_settle(&mut session, settlement).await, Fence::Held, "the session is alive");
    }
    let mut successor = probe.take_over(&session).await;
    let claimed = probe.claim(&mut successor).await;
    assert_eq!(claimed.len(), 4, "neither the delivered nor the parked one");
    assert_eq!(find(&claimed, &messages[1]).tally, attempts(1), "one attempt, however often it was said");
    assert_eq!(find(&claimed, &messages[2]).tally, Tally::default(), "nothing was spent");
    assert_eq!(find(&claimed, &messages[4]).tally, Tally::default(), "nothing was spent");
    let begun = find(&claimed, &messages[5]).tally;
    assert_eq!(begun, Tally { attempts: 0, crashes: 1, in_doubt: true }, "begun once");
}

pub async fn a_verdict_on_a_place_that_is_gone_changes_nothing<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = line("a", 2);
    probe.enqueue(&messages).await;
    let places = places(&probe.claim(&mut session).await);
    probe.deliver(&mut session, places[0]).await;
    for verdict in [delivered(), retry(HOUR), wait(), dead(OnDead::Park), Verdict::Schedule { delay: HOUR }] {
        probe.settle(&mut session, &[(places[0], verdict)]).await;
    }
    let left = only(probe.claim_anew(&mut session).await);
    assert_eq!(message(&left).id, messages[1].id(), "the delivered message does not come back");
    assert!(!left.behind, "and blocks nothing");
}

pub async fn verdicts_are_written_for_messages_that_were_not_begun<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    probe.enqueue(&[unkeyed(), unkeyed()]).await;
    let places = places(&probe.claim(&mut session).await);
    probe.settle(&mut session, &[(places[0], retry(HOUR)), (places[1], delivered())]).await;
    assert!(probe.claim_anew(&mut session).await.is_empty(), "both verdicts were written");
}

pub async fn ending_a_batch_that_is_not_open_changes_nothing<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    probe.enqueue(&[unkeyed()]).await;
    let claimed = only(probe.claim(&mut session).await);
    probe.begin(&mut session, &[claimed.place]).await;
    let settlement = Settlement { ended: &[crate::BatchNo(999)], ..Settlement::default() };
    assert_eq!(probe.try_settle(&mut session, settlement).await, Fence::Held, "the session is alive");
    let mut successor = probe.take_over(&session).await;
    assert!(only(probe.claim(&mut successor).await).tally.in_doubt, "the open batch stayed open");
}

pub async fn thousands_of_verdicts_go_into_one_settlement<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages: Vec<_> = (0..5000).map(|n| keyed(&(n % 50).to_string())).collect();
    probe.enqueue(&messages).await;
    let claimed = places(&probe.claim(&mut session).await);
    let kind = |n: usize| match n % 5 {
        0..=2 => delivered(),
        3 => dead(OnDead::Skip),
        _ => Verdict::Schedule { delay: Duration::ZERO },
    };
    let verdicts: Vec<(Place, Verdict)> =
        claimed.iter().enumerate().map(|(n, place)| (*place, kind(n))).collect();
    probe.settle(&mut session, &verdicts).await;
    assert_eq!(probe.claim_anew(&mut session).await.len(), 1000, "each got its verdict");
}
