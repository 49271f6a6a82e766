//! Answers of the store that cross each other: races too short to meet from outside.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Ledger;
use crate::dispatcher::route::Route;
use crate::{
    Claimed, Delivery, DeliveryReport, Message, MessageId, Place, Slot, Tally, Transport, Verdict,
    async_trait,
};

struct Unused;

#[async_trait]
impl Transport for Unused {
    async fn deliver(&self, _batch: &[Delivery], _report: &DeliveryReport) {}
}

fn ledger() -> Ledger {
    Ledger::new(Arc::new(vec![Route::topic("t", Unused)]), 100, 1 << 20, 10, true)
}

fn claimed(seq: i64, fresh: bool, behind: bool) -> Claimed {
    let mut message = Message::new(MessageId::generate(), "t", "x");
    message.key = Some("k".to_owned());
    Claimed {
        place: Place { slot: Slot(0), seq, hint: 0 },
        message: Ok(message),
        fresh,
        tally: Tally::default(),
        age: Duration::ZERO,
        behind,
        due_in: None,
    }
}

fn planned(ledger: &mut Ledger) -> Vec<i64> {
    let plan = ledger.plan(10, Instant::now());
    plan.map(|plan| plan.batch.places.iter().map(|place| place.seq).collect()).unwrap_or_default()
}

fn waits(ledger: &mut Ledger) -> (Vec<i64>, super::Judged) {
    let judged = ledger.take_judged(usize::MAX);
    let wait = |verdict: &(Place, Verdict)| match verdict {
        (place, Verdict::Wait { .. }) => place.seq,
        other => panic!("{other:?}"),
    };
    (judged.verdicts.iter().map(wait).collect(), judged)
}

#[test]
fn a_fresh_message_cannot_overtake_one_that_is_just_being_set_aside() {
    let mut ledger = ledger();
    ledger.take_in(vec![claimed(6, true, true)], 1);
    // The head of the key went meanwhile, so the store says that 7 is not behind; 6 is not set aside yet.
    ledger.take_in(vec![claimed(7, true, false)], 2);
    assert!(planned(&mut ledger).is_empty());
    let (seqs, judged) = waits(&mut ledger);
    assert_eq!(seqs, [6, 7]);

    ledger.written(&judged, 3);
    // Claim 3 may have read before the write: what it says of the key is stale.
    ledger.take_in(vec![claimed(8, true, false)], 3);
    assert!(planned(&mut ledger).is_empty());
    let (seqs, judged) = waits(&mut ledger);
    assert_eq!(seqs, [8]);
    ledger.written(&judged, 3);

    ledger.take_in(vec![claimed(6, false, false), claimed(9, true, false)], 4);
    assert_eq!(planned(&mut ledger), [6], "one of a key at a time, the earliest first");
}

#[test]
fn what_was_set_aside_earlier_goes_on_while_a_fresh_message_joins_behind_it() {
    let mut ledger = ledger();
    ledger.take_in(vec![claimed(3, false, false), claimed(6, true, true)], 1);
    ledger.take_in(vec![claimed(4, false, false)], 2);
    assert_eq!(planned(&mut ledger), [3], "a key with constant arrivals must not starve");
    let (seqs, _) = waits(&mut ledger);
    assert_eq!(seqs, [6]);
}

fn suspect(seq: i64) -> Claimed {
    let tally = Tally { crashes: Tally::ALONE_FROM, ..Tally::default() };
    let mut claimed = claimed(seq, false, false);
    if let Ok(message) = &mut claimed.message {
        message.key = Some(seq.to_string());
    }
    Claimed { tally, ..claimed }
}

#[test]
fn a_message_that_must_go_alone_goes_at_once_when_nothing_else_can() {
    let mut ledger = ledger();
    ledger.take_in(vec![suspect(1), suspect(2)], 1);
    assert_eq!(planned(&mut ledger), [1]);
    assert!(planned(&mut ledger).is_empty(), "while it is in flight nothing else begins");
}

#[test]
fn a_session_that_starts_over_uses_no_batch_number_twice() {
    let mut ledger = ledger();
    ledger.take_in(vec![claimed(1, true, false)], 1);
    let first = ledger.plan(10, Instant::now()).expect("one message").batch.number;
    ledger.reset();
    ledger.take_in(vec![claimed(1, true, false)], 2);
    let second = ledger.plan(10, Instant::now()).expect("the same message").batch.number;
    assert!(second > first);
}

#[test]
fn a_claim_reads_more_than_a_small_batch_and_only_into_room_for_all_of_it() {
    let mut ledger = Ledger::new(Arc::new(vec![Route::topic("t", Unused)]), 4_000, usize::MAX, 10, true);
    let asks = |ledger: &Ledger, batch| ledger.claim_room(batch).map(|(limit, _)| limit);
    assert_eq!((asks(&ledger, 10), asks(&ledger, 1_000)), (Some(500), Some(1_000)));
    ledger.take_in((0..3_500).map(|seq| claimed(seq, true, false)).collect(), 1);
    assert_eq!(asks(&ledger, 10), Some(500));
    ledger.take_in(vec![claimed(3_500, true, false)], 2);
    assert_eq!(asks(&ledger, 10), None, "a message that finds no room would be set aside");
    assert_eq!(ledger.wanting(500, Instant::now()), [false]);
}
