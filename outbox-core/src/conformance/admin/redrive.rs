//! Sending dead letters and retries out again.

use std::time::Duration;

use super::super::StoreFixture;
use super::super::probe::*;
use crate::{MessageId, MessageState, OnDead, OutboxAdmin, Selection, Tally, Verdict};

pub async fn a_redriven_dead_letter_goes_out_with_a_tally_anew<F: StoreFixture<Outbox: OutboxAdmin>>(
    fixture: F,
) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = [keyed("a"), unkeyed(), keyed("b")];
    probe.enqueue(&messages).await;
    let claimed = probe.claim(&mut session).await;
    let tally = Tally { attempts: 20, crashes: 5, in_doubt: true };
    let place = |n: usize| find(&claimed, &messages[n]).place;
    let dead = |then| Verdict::Dead { tally, failure: note(20), then };
    let verdicts =
        [(place(0), dead(OnDead::Skip)), (place(1), dead(OnDead::Skip)), (place(2), dead(OnDead::Park))];
    probe.settle(&mut session, &verdicts).await;
    assert_eq!(redrive(&probe, &[&messages[0], &messages[1], &messages[2]]).await, 3, "three dead letters");
    let claimed = probe.claim_anew(&mut session).await;
    assert_eq!(claimed.len(), 3, "all go out again");
    for again in &claimed {
        let Tally { attempts, crashes, .. } = again.tally;
        assert_eq!((attempts, crashes), (0, 0), "attempts and crashes start anew");
        assert!(!again.behind, "nothing of their keys is set aside before them");
    }
}

pub async fn a_redriven_message_that_was_skipped_joins_at_the_end<F: StoreFixture<Outbox: OutboxAdmin>>(
    fixture: F,
) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = line("a", 3);
    probe.enqueue(&messages).await;
    let claimed = probe.claim(&mut session).await;
    probe.settle(&mut session, &[(claimed[0].place, dead(OnDead::Skip))]).await;
    assert_eq!(redrive(&probe, &[&messages[0]]).await, 1, "one dead letter");
    session.held.clear();
    let claimed = probe.claim_anew(&mut session).await;
    let expected = [messages[1].id(), messages[2].id(), messages[0].id()];
    assert_eq!(claimed_ids(&claimed), expected, "its key went on without it");
    assert_eq!(probe.drain_from(&mut session, claimed).await, expected, "and is delivered in that order");
}

pub async fn a_redriven_message_that_was_parked_stays_the_head<F: StoreFixture<Outbox: OutboxAdmin>>(
    fixture: F,
) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = line("a", 4);
    probe.enqueue(&messages).await;
    let claimed = places(&probe.claim(&mut session).await);
    let verdicts = [(claimed[0], dead(OnDead::Park)), (claimed[1], wait()), (claimed[2], wait())];
    probe.settle(&mut session, &verdicts).await;
    assert_eq!(redrive(&probe, &[&messages[0]]).await, 1, "one parked dead letter");
    let claimed = probe.claim_anew(&mut session).await;
    assert!(!has(&claimed, &messages[1]), "the rest waits until the head is through");
    assert_eq!(probe.drain_from(&mut session, claimed).await, ids(&messages), "then it follows in order");
}

pub async fn a_redriven_retry_is_due_now<F: StoreFixture<Outbox: OutboxAdmin>>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = line("a", 3);
    probe.enqueue(&messages).await;
    let claimed = places(&probe.claim(&mut session).await);
    let verdicts = [(claimed[0], retry(HOUR)), (claimed[1], wait()), (claimed[2], wait())];
    probe.settle(&mut session, &verdicts).await;
    assert_eq!(redrive(&probe, &[&messages[0]]).await, 1, "one message that waits for a retry");
    let claimed = probe.claim_anew(&mut session).await;
    assert_eq!(claimed_ids(&claimed), [messages[0].id()], "the head of its key, and only that");
    assert_eq!(claimed[0].tally, attempts(1), "its attempts are still counted");
    assert_eq!(probe.drain_from(&mut session, claimed).await, ids(&messages), "then the rest in order");
}

pub async fn redriving_leaves_other_states_alone<F: StoreFixture<Outbox: OutboxAdmin>>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = [keyed("a"), keyed("a"), keyed("b"), unkeyed(), unkeyed()];
    probe.enqueue(&messages).await;
    let claimed = probe.claim(&mut session).await;
    let place = |n: usize| find(&claimed, &messages[n]).place;
    let verdicts = [
        (place(0), retry(HOUR)),
        (place(1), wait()),
        (place(2), Verdict::Schedule { delay: HOUR }),
        (place(3), delivered()),
    ];
    probe.settle(&mut session, &verdicts).await;
    let others = [&messages[1], &messages[2], &messages[3], &messages[4]];
    assert_eq!(redrive(&probe, &others).await, 0, "behind, scheduled, delivered and waiting");
    let unknown = Selection::Ids(vec![MessageId::generate()]);
    assert_eq!(probe.outbox().redrive(&unknown, &act()).await.expect("redrive succeeds"), 0, "an unknown id");
    assert_eq!(
        claimed_ids(&probe.claim_anew(&mut session).await),
        [messages[4].id()],
        "nothing else became due"
    );
}

pub async fn all_dead_letters_of_a_topic_are_redriven_at_once<F: StoreFixture<Outbox: OutboxAdmin>>(
    fixture: F,
) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = [of_topic("mail"), of_topic("mail"), of_topic("orders"), of_topic("mail")];
    probe.enqueue(&messages).await;
    let claimed = probe.claim(&mut session).await;
    let place = |n: usize| find(&claimed, &messages[n]).place;
    let verdicts = [
        (place(0), dead(OnDead::Skip)),
        (place(1), dead(OnDead::Skip)),
        (place(2), dead(OnDead::Skip)),
        (place(3), retry(HOUR)),
    ];
    probe.settle(&mut session, &verdicts).await;
    let of_mail = Selection::All { topic: Some("mail".to_owned()), state: Some(MessageState::Dead) };
    assert_eq!(
        probe.outbox().redrive(&of_mail, &act()).await.expect("redrive succeeds"),
        2,
        "two of the topic"
    );
    let claimed = probe.claim_anew(&mut session).await;
    assert!(
        claimed.len() == 2 && has(&claimed, &messages[0]) && has(&claimed, &messages[1]),
        "those two go out"
    );
    let everywhere = Selection::All { topic: None, state: Some(MessageState::Dead) };
    assert_eq!(
        probe.outbox().redrive(&everywhere, &act()).await.expect("redrive succeeds"),
        1,
        "the other topic"
    );
    let retries = Selection::All { topic: None, state: Some(MessageState::Retrying) };
    assert_eq!(probe.outbox().redrive(&retries, &act()).await.expect("redrive succeeds"), 1, "another state");
}

pub async fn all_of_a_topic_are_redriven_whatever_their_state<F: StoreFixture<Outbox: OutboxAdmin>>(
    fixture: F,
) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let mail: Vec<_> = (0..5).map(|_| of_topic("mail")).collect();
    let other = of_topic("orders");
    probe.enqueue(&mail).await;
    probe.enqueue(std::slice::from_ref(&other)).await;
    let claimed = probe.claim(&mut session).await;
    let place = |message| find(&claimed, message).place;
    let verdicts = [
        (place(&mail[0]), dead(OnDead::Skip)),
        (place(&mail[1]), dead(OnDead::Park)),
        (place(&mail[2]), retry(HOUR)),
        (place(&mail[3]), Verdict::Schedule { delay: HOUR }),
        (place(&other), dead(OnDead::Skip)),
    ];
    probe.settle(&mut session, &verdicts).await;
    let of_mail = Selection::All { topic: Some("mail".to_owned()), state: None };
    let redriven = probe.outbox().redrive(&of_mail, &act()).await.expect("redrive succeeds");
    assert_eq!(redriven, 3, "dead, parked and retrying");
    let claimed = probe.claim_anew(&mut session).await;
    for (message, go) in mail.iter().zip([true, true, true, false, true]) {
        assert_eq!(
            has(&claimed, message),
            go,
            "of the others the waiting one goes, the scheduled one does not"
        );
    }
    assert_eq!(show(&probe, other.id()).await.summary.state, MessageState::Dead, "the other topic stays");
}

pub async fn a_redriven_message_can_fail_and_be_redriven_again<F: StoreFixture<Outbox: OutboxAdmin>>(
    fixture: F,
) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let sent = keyed("a");
    probe.enqueue(std::slice::from_ref(&sent)).await;
    for then in [OnDead::Skip, OnDead::Park, OnDead::Skip] {
        let claimed = only(probe.claim_anew(&mut session).await);
        probe.settle(&mut session, &[(claimed.place, dead(then))]).await;
        assert_eq!(redrive(&probe, &[&sent]).await, 1, "it is dead again");
    }
    let claimed = only(probe.claim_anew(&mut session).await);
    probe.settle(&mut session, &[(claimed.place, retry(Duration::ZERO))]).await;
    let detail = show(&probe, sent.id()).await;
    assert_eq!(detail.acts.len(), 3, "every redrive is recorded");
    assert_eq!(detail.summary.state, MessageState::Retrying, "it is on its way");
}
