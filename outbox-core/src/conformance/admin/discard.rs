//! Ending messages without delivering them.

use std::time::Duration;

use super::super::StoreFixture;
use super::super::probe::*;
use crate::{MessageState, NewMessage, OnDead, OutboxAdmin, Selection, StoreErrorKind, Verdict};

pub async fn a_discarded_message_never_goes_out<F: StoreFixture<Outbox: OutboxAdmin>>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages: Vec<_> = (0..6).map(|n| keyed(&n.to_string())).collect();
    probe.enqueue(&messages).await;
    let claimed = probe.claim(&mut session).await;
    let place = |n: usize| find(&claimed, &messages[n]).place;
    let verdicts = [
        (place(1), retry(Duration::ZERO)),
        (place(2), wait()),
        (place(3), Verdict::Schedule { delay: Duration::ZERO }),
        (place(4), dead(OnDead::Skip)),
        (place(5), dead(OnDead::Park)),
    ];
    probe.settle(&mut session, &verdicts).await;
    let all: Vec<_> = messages.iter().collect();
    assert_eq!(discard(&probe, &all).await, 6, "any state but delivered");
    assert!(probe.claim_anew(&mut session).await.is_empty(), "none is left");
    assert_eq!(discard(&probe, &all).await, 0, "they have ended already");
    let mut successor = probe.take_over(&session).await;
    assert!(probe.claim(&mut successor).await.is_empty(), "also for the next session");
}

pub async fn a_delivered_message_cannot_be_discarded<F: StoreFixture<Outbox: OutboxAdmin>>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let sent = keyed("a");
    probe.enqueue(std::slice::from_ref(&sent)).await;
    let claimed = only(probe.claim(&mut session).await);
    probe.deliver(&mut session, claimed.place).await;
    assert_eq!(discard(&probe, &[&sent]).await, 0, "it is too late");
    assert_eq!(
        show(&probe, sent.id()).await.summary.state,
        MessageState::Delivered,
        "the history stays true"
    );
}

pub async fn discarding_the_head_frees_its_key<F: StoreFixture<Outbox: OutboxAdmin>>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    for head in [retry(HOUR), dead(OnDead::Park)] {
        let messages = line("a", 4);
        probe.enqueue(&messages).await;
        let claimed = places(&probe.claim(&mut session).await);
        let verdicts = [(claimed[0], head), (claimed[1], wait()), (claimed[2], wait()), (claimed[3], wait())];
        probe.settle(&mut session, &verdicts).await;
        assert!(probe.claim_anew(&mut session).await.is_empty(), "the whole key waits");
        assert_eq!(discard(&probe, &[&messages[0]]).await, 1, "the head");
        let claimed = probe.claim_anew(&mut session).await;
        assert_eq!(
            probe.drain_from(&mut session, claimed).await,
            ids(&messages[1..]),
            "the rest follows in order"
        );
    }
}

pub async fn discarding_from_the_middle_keeps_the_order<F: StoreFixture<Outbox: OutboxAdmin>>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = line("a", 4);
    probe.enqueue(&messages).await;
    let claimed = places(&probe.claim(&mut session).await);
    let verdicts = [
        (claimed[0], retry(Duration::ZERO)),
        (claimed[1], wait()),
        (claimed[2], wait()),
        (claimed[3], wait()),
    ];
    probe.settle(&mut session, &verdicts).await;
    assert_eq!(discard(&probe, &[&messages[1], &messages[2]]).await, 2, "two of the line");
    let claimed = probe.claim_anew(&mut session).await;
    let order = probe.drain_from(&mut session, claimed).await;
    assert_eq!(order, [messages[0].id(), messages[3].id()], "the others, in order");
}

pub async fn all_messages_of_a_state_and_topic_are_discarded_at_once<F: StoreFixture<Outbox: OutboxAdmin>>(
    fixture: F,
) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = [of_topic("mail"), of_topic("orders"), of_topic("mail"), of_topic("mail")];
    probe.enqueue(&messages).await;
    let claimed = probe.claim(&mut session).await;
    let last = find(&claimed, &messages[3]).place;
    probe.settle(&mut session, &[(last, dead(OnDead::Skip))]).await;
    let waiting_mail = Selection::All { topic: Some("mail".to_owned()), state: Some(MessageState::Waiting) };
    assert_eq!(probe.outbox().discard(&waiting_mail, &act()).await.expect("discard succeeds"), 2, "two wait");
    assert_eq!(
        claimed_ids(&probe.claim_anew(&mut session).await),
        [messages[1].id()],
        "the other topic is untouched"
    );
    assert_eq!(show(&probe, messages[3].id()).await.summary.state, MessageState::Dead, "the other state too");
}

pub async fn all_of_a_topic_are_discarded_whatever_their_state<F: StoreFixture<Outbox: OutboxAdmin>>(
    fixture: F,
) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let mail: Vec<_> = (0..7).map(|_| of_topic("mail")).collect();
    let other = of_topic("orders");
    probe.enqueue(&mail).await;
    probe.enqueue(std::slice::from_ref(&other)).await;
    let claimed = probe.claim(&mut session).await;
    let place = |message| find(&claimed, message).place;
    let verdicts = [
        (place(&mail[0]), retry(HOUR)),
        (place(&mail[1]), wait()),
        (place(&mail[2]), Verdict::Schedule { delay: HOUR }),
        (place(&mail[3]), dead(OnDead::Skip)),
        (place(&mail[4]), dead(OnDead::Park)),
        (place(&mail[5]), delivered()),
    ];
    probe.settle(&mut session, &verdicts).await;
    let of_mail = Selection::All { topic: Some("mail".to_owned()), state: None };
    for (discarded, why) in [(6, "everything that has not ended"), (0, "they have ended now")] {
        let answer = probe.outbox().discard(&of_mail, &act()).await.expect("discard succeeds");
        assert_eq!(answer, discarded, "{why}");
    }
    let state = async |message: &NewMessage| show(&probe, message.id()).await.summary.state;
    assert_eq!(state(&mail[4]).await, MessageState::Discarded, "one of them");
    assert_eq!(state(&mail[5]).await, MessageState::Delivered, "the history stays true");
    assert_eq!(claimed_ids(&probe.claim_anew(&mut session).await), [other.id()], "the other topic stays");
}

pub async fn a_message_in_flight_refuses_to_be_discarded<F: StoreFixture<Outbox: OutboxAdmin>>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = [unkeyed(), unkeyed()];
    probe.enqueue(&messages).await;
    let claimed = probe.claim(&mut session).await;
    let in_flight = find(&claimed, &messages[0]).place;
    let batch = probe.begin(&mut session, &[in_flight]).await;
    let both = Selection::Ids(ids(&messages));
    let refused = probe.outbox().discard(&both, &act()).await.expect_err("one of them is in flight");
    assert_eq!(refused.kind(), StoreErrorKind::InFlight, "the error says why");
    assert_eq!(show(&probe, messages[1].id()).await.summary.state, MessageState::Waiting, "nothing was done");
    assert!(show(&probe, messages[1].id()).await.acts.is_empty(), "nothing was recorded");

    let verdicts = [(in_flight, retry(HOUR))];
    let settlement = crate::Settlement { verdicts: &verdicts, ended: &[batch], begin: None };
    probe.try_settle(&mut session, settlement).await;
    assert_eq!(
        discard(&probe, &[&messages[0], &messages[1]]).await,
        2,
        "once it is settled, both can be discarded"
    );
}

pub async fn a_retry_in_flight_refuses_to_be_redriven<F: StoreFixture<Outbox: OutboxAdmin>>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let sent = keyed("a");
    probe.enqueue(std::slice::from_ref(&sent)).await;
    let claimed = only(probe.claim(&mut session).await);
    probe.settle(&mut session, &[(claimed.place, retry(Duration::ZERO))]).await;
    let again = only(probe.claim(&mut session).await);
    probe.begin(&mut session, &[again.place]).await;
    let refused = probe.outbox().redrive(&Selection::Ids(vec![sent.id()]), &act()).await;
    assert_eq!(refused.expect_err("it is in flight").kind(), StoreErrorKind::InFlight, "the error says why");
}

pub async fn messages_in_flight_of_a_dead_session_refuse_until_a_takeover<
    F: StoreFixture<Outbox: OutboxAdmin>,
>(
    fixture: F,
) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let sent = keyed("a");
    probe.enqueue(std::slice::from_ref(&sent)).await;
    let claimed = only(probe.claim(&mut session).await);
    probe.begin(&mut session, &[claimed.place]).await;
    probe.expire(&session).await;
    let refused = probe.outbox().discard(&Selection::Ids(vec![sent.id()]), &act()).await;
    assert_eq!(refused.expect_err("it may come back").kind(), StoreErrorKind::InFlight, "the error says why");
    let _successor = probe.start().await;
    assert_eq!(discard(&probe, &[&sent]).await, 1, "in doubt now, and nobody delivers it");
}

pub async fn discarding_all_leaves_messages_in_flight_alone<F: StoreFixture<Outbox: OutboxAdmin>>(
    fixture: F,
) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = [unkeyed(), unkeyed(), unkeyed()];
    probe.enqueue(&messages).await;
    let claimed = probe.claim(&mut session).await;
    probe.begin(&mut session, &[find(&claimed, &messages[1]).place]).await;
    let waiting = Selection::All { topic: None, state: Some(MessageState::Waiting) };
    assert_eq!(
        probe.outbox().discard(&waiting, &act()).await.expect("discard succeeds"),
        2,
        "those not in flight"
    );
    let detail = show(&probe, messages[1].id()).await;
    assert_eq!(detail.summary.state, MessageState::Waiting, "the one in flight is delivered as it would be");
}
