//! Acts of a person are recorded and cannot race with the dispatcher.

use super::super::StoreFixture;
use super::super::probe::*;
use crate::{Act, Fence, MessageState, OnDead, OutboxAdmin, Selection, Settlement, StoreErrorKind};

pub async fn every_act_is_recorded_with_who_and_why<F: StoreFixture<Outbox: OutboxAdmin>>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let sent = keyed("a");
    probe.enqueue(std::slice::from_ref(&sent)).await;
    let claimed = only(probe.claim(&mut session).await);
    probe.settle(&mut session, &[(claimed.place, dead(OnDead::Park))]).await;
    let this = Selection::Ids(vec![sent.id()]);
    let outbox = probe.outbox();
    outbox.redrive(&this, &Act::new("on call", "the mailbox exists now")).await.expect("redrive succeeds");
    outbox.discard(&this, &Act::new("support", "the customer cancelled")).await.expect("discard succeeds");
    let acts = show(&probe, sent.id()).await.acts;
    let told: Vec<_> =
        acts.iter().map(|act| (act.who.as_str(), act.why.as_str(), act.what.as_str())).collect();
    let expected =
        [("on call", "the mailbox exists now", "redrive"), ("support", "the customer cancelled", "discard")];
    assert_eq!(told, expected, "who, why and what, oldest first");
    assert!(acts[0].at <= acts[1].at && acts[0].at > std::time::SystemTime::UNIX_EPOCH, "and when");
}

pub async fn an_act_that_does_not_say_who_and_why_is_refused<F: StoreFixture<Outbox: OutboxAdmin>>(
    fixture: F,
) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let sent = keyed("a");
    probe.enqueue(std::slice::from_ref(&sent)).await;
    let claimed = only(probe.claim(&mut session).await);
    probe.settle(&mut session, &[(claimed.place, dead(OnDead::Park))]).await;

    let (long_who, long_why) = ("ü".repeat(256), "ü".repeat(2_001));
    let refused = [
        ("", "a reason"),
        ("on call", ""),
        (" ", "a reason"),
        ("on call", "\u{a0} \u{3000}"),
        (&*long_who, "a reason"),
        ("on call", &*long_why),
        ("on\0call", "a reason"),
        ("on call", "two\nlines"),
    ];
    let this = Selection::Ids(vec![sent.id()]);
    let all = Selection::All { topic: None, state: Some(MessageState::Parked) };
    let outbox = probe.outbox();
    for (who, why) in refused {
        let act = Act::new(who, why);
        for what in [&this, &all, &Selection::Ids(Vec::new())] {
            for (name, answer) in
                [("redrive", outbox.redrive(what, &act).await), ("discard", outbox.discard(what, &act).await)]
            {
                let kind = answer.map_err(|error| error.kind());
                assert_eq!(kind, Err(StoreErrorKind::Invalid), "{name} of {what:?} by {who:?} for {why:?}");
            }
        }
    }
    let detail = show(&probe, sent.id()).await;
    assert_eq!(detail.summary.state, MessageState::Parked, "nothing was done");
    assert!(detail.acts.is_empty(), "and nothing was recorded");
}

pub async fn the_longest_who_and_why_are_recorded_whole<F: StoreFixture<Outbox: OutboxAdmin>>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let sent = keyed("a");
    probe.enqueue(std::slice::from_ref(&sent)).await;
    let claimed = only(probe.claim(&mut session).await);
    probe.settle(&mut session, &[(claimed.place, dead(OnDead::Park))]).await;
    let act = Act::new("ü".repeat(Act::MAX_WHO), "€".repeat(Act::MAX_WHY));
    let redriven = probe.outbox().redrive(&Selection::Ids(vec![sent.id()]), &act).await;
    assert_eq!(redriven.expect("redrive succeeds"), 1, "the limits are in characters");
    let detail = show(&probe, sent.id()).await;
    assert_eq!((&detail.acts[0].who, &detail.acts[0].why), (&act.who, &act.why), "nothing was cut");
}

pub async fn acts_are_recorded_for_each_message_of_a_selection<F: StoreFixture<Outbox: OutboxAdmin>>(
    fixture: F,
) {
    let probe = Probe::new(fixture);
    let messages = [unkeyed(), unkeyed()];
    probe.enqueue(&messages).await;
    let waiting = Selection::All { topic: None, state: Some(MessageState::Waiting) };
    probe.outbox().discard(&waiting, &act()).await.expect("discard succeeds");
    for message in &messages {
        assert_eq!(show(&probe, message.id()).await.acts.len(), 1, "each of them tells who discarded it");
    }
}

pub async fn an_act_keeps_a_batch_from_beginning<F: StoreFixture<Outbox: OutboxAdmin>>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = [unkeyed(), unkeyed(), unkeyed()];
    probe.enqueue(&messages).await;
    let claimed = probe.claim(&mut session).await;
    let place = |n: usize| find(&claimed, &messages[n]).place;
    let first = probe.begin(&mut session, &[place(0)]).await;
    assert_eq!(discard(&probe, &[&messages[1]]).await, 1, "claimed but not begun, so it can be discarded");

    let next = session.batch(&[place(1)], false);
    let verdicts = [(place(0), delivered())];
    let settlement = Settlement { verdicts: &verdicts, ended: &[first], begin: Some(&next) };
    assert_eq!(probe.try_settle(&mut session, settlement).await, Fence::Changed, "the dispatcher is told");
    let claimed = probe.claim_anew(&mut session).await;
    assert_eq!(
        claimed_ids(&claimed),
        [messages[2].id()],
        "the verdict was written, the discarded one is gone"
    );
    let mut successor = probe.take_over(&session).await;
    assert!(!only(probe.claim(&mut successor).await).tally.in_doubt, "no batch is open");
}

pub async fn after_a_claim_from_the_beginning_batches_begin_again<F: StoreFixture<Outbox: OutboxAdmin>>(
    fixture: F,
) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = [unkeyed(), unkeyed()];
    probe.enqueue(&messages).await;
    probe.claim(&mut session).await;
    discard(&probe, &[&messages[0]]).await;
    let claimed = only(probe.claim_anew(&mut session).await);
    probe.begin(&mut session, &[claimed.place]).await;
}

pub async fn an_act_counts_until_the_next_claim_from_the_beginning<F: StoreFixture<Outbox: OutboxAdmin>>(
    fixture: F,
) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = [unkeyed(), unkeyed()];
    probe.enqueue(&messages).await;
    let claimed = probe.claim(&mut session).await;
    discard(&probe, &[&messages[0]]).await;
    // The dispatcher reads on, still holding the message that was discarded.
    probe.claim(&mut session).await;
    let batch = session.batch(&[find(&claimed, &messages[0]).place], false);
    let settlement = Settlement { begin: Some(&batch), ..Settlement::default() };
    let fence = probe.try_settle(&mut session, settlement).await;
    assert_eq!(fence, Fence::Changed, "a discarded message must not go out");
}

pub async fn a_redrive_keeps_a_batch_from_beginning<F: StoreFixture<Outbox: OutboxAdmin>>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = [keyed("a"), keyed("b")];
    probe.enqueue(&messages).await;
    let claimed = probe.claim(&mut session).await;
    probe.settle(&mut session, &[(find(&claimed, &messages[0]).place, dead(OnDead::Skip))]).await;
    redrive(&probe, &[&messages[0]]).await;
    let batch = session.batch(&[find(&claimed, &messages[1]).place], false);
    let settlement = Settlement { begin: Some(&batch), ..Settlement::default() };
    assert_eq!(probe.try_settle(&mut session, settlement).await, Fence::Changed, "the dispatcher reads anew");
}

pub async fn a_repeated_settlement_that_finds_an_act_leaves_its_batch_unbegun<
    F: StoreFixture<Outbox: OutboxAdmin>,
>(
    fixture: F,
) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = [unkeyed(), unkeyed()];
    probe.enqueue(&messages).await;
    let claimed = probe.claim(&mut session).await;
    let batch = session.batch(&[find(&claimed, &messages[0]).place], false);
    let settlement = Settlement { begin: Some(&batch), ..Settlement::default() };
    // The answer is lost on the way; a person acts; the dispatcher asks again and forgets its batch.
    assert_eq!(probe.try_settle(&mut session, settlement).await, Fence::Held, "nobody interfered yet");
    assert_eq!(discard(&probe, &[&messages[1]]).await, 1, "the other one is not in flight");
    assert_eq!(probe.try_settle(&mut session, settlement).await, Fence::Changed, "somebody interfered");
    assert_eq!(discard(&probe, &[&messages[0]]).await, 1, "the batch is not begun, so nothing is in flight");
}

pub async fn an_act_on_nothing_changes_nothing<F: StoreFixture<Outbox: OutboxAdmin>>(fixture: F) {
    let probe = Probe::new(fixture);
    let outbox = probe.outbox();
    let none = Selection::Ids(Vec::new());
    assert_eq!(outbox.discard(&none, &act()).await.expect("discard succeeds"), 0, "nothing was selected");
    assert_eq!(outbox.redrive(&none, &act()).await.expect("redrive succeeds"), 0, "nothing was selected");
}
