//! A future that is dropped half-way (a deadline passed) leaves the store usable and nothing half-written.

use super::super::drop_after;
use super::super::probe::*;
use super::StoreFixture;
use crate::{ClaimRequest, Enqueue, Fence, OutboxStore, Settlement};

/// How many times a future is polled before it is dropped: from "hardly begun" to "nearly done".
const POLLS: std::ops::Range<u32> = 0..12;

pub async fn a_dropped_claim_loses_nothing<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    for polls in POLLS {
        let messages = line("a", 5);
        probe.enqueue(&messages).await;
        let request = ClaimRequest {
            epoch: session.epoch,
            slots: &session.slots,
            wants: &|_| true,
            held: &session.held,
            restart: false,
            limit: 100,
            max_bytes: usize::MAX,
        };
        // A claim that was answered has handed its messages over; one that was dropped has not.
        let answered = drop_after(polls, probe.outbox().claim(&request)).await;
        let mut came = match answered {
            Some(claim) => claim.expect("claim succeeds").messages,
            None => Vec::new(),
        };
        session.held.extend(places(&came));
        came.extend(probe.claim(&mut session).await);
        assert_eq!(claimed_ids(&came), ids(&messages), "after {polls} polls, everything is claimed");
        for place in places(&came) {
            probe.deliver(&mut session, place).await;
        }
    }
}

pub async fn a_dropped_settlement_is_written_whole_or_not_at_all<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    for polls in POLLS {
        let messages = [unkeyed(), unkeyed(), unkeyed()];
        probe.enqueue(&messages).await;
        let claimed = probe.claim_anew(&mut session).await;
        assert_eq!(claimed.len(), 3, "what earlier rounds settled is gone");
        let begun = places(&claimed);
        let verdicts = [(begun[0], delivered()), (begun[1], delivered())];
        let settlement = Settlement { verdicts: &verdicts, ..Settlement::default() };
        drop_after(polls, probe.outbox().settle(session.epoch, &settlement)).await;
        let left = probe.claim_anew(&mut session).await.len();
        assert!(left == 3 || left == 1, "after {polls} polls, {left} of 3 are left: half of it was written");
        let verdicts: Vec<_> = begun.iter().map(|place| (*place, delivered())).collect();
        probe.settle(&mut session, &verdicts).await;
    }
    assert!(probe.claim_anew(&mut session).await.is_empty(), "everything was delivered in the end");
}

pub async fn a_dropped_begin_can_be_asked_again<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    probe.enqueue(&[unkeyed()]).await;
    let claimed = only(probe.claim(&mut session).await);
    let batch = session.batch(&[claimed.place], false);
    let settlement = Settlement { begin: Some(&batch), ..Settlement::default() };
    for polls in POLLS {
        drop_after(polls, probe.outbox().settle(session.epoch, &settlement)).await;
        assert_eq!(probe.try_settle(&mut session, settlement).await, Fence::Held, "after {polls} polls");
    }
    let mut successor = probe.take_over(&session).await;
    assert_eq!(only(probe.claim(&mut successor).await).tally.crashes, 1, "begun once");
}

pub async fn a_dropped_renewal_leaves_the_session_as_it_was<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let session = probe.start().await;
    for polls in POLLS {
        drop_after(polls, probe.outbox().renew(&session.me, Some(session.epoch), HOUR)).await;
        let renewed = probe.renew(&session, HOUR).await;
        assert_eq!(
            (renewed.epoch, renewed.slots),
            (session.epoch, session.slots.clone()),
            "after {polls} polls"
        );
    }
}

pub async fn a_dropped_enqueue_shares_the_fate_of_its_transaction<F: StoreFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    for polls in POLLS {
        let mut tx = probe.fixture.begin().await;
        drop_after(polls, probe.outbox().enqueue(F::conn(&mut tx), &[keyed("a"), unkeyed()])).await;
        probe.fixture.rollback(tx).await;
        assert!(
            probe.claim(&mut session).await.is_empty(),
            "after {polls} polls, the rollback takes all of it back"
        );
    }
    let later = unkeyed();
    probe.enqueue(std::slice::from_ref(&later)).await;
    assert_eq!(
        claimed_ids(&probe.claim(&mut session).await),
        [later.id()],
        "the next transaction is unharmed"
    );
}
