//! Many messages behind one blocked key.

use std::time::Duration;

use outbox_core::{Act, Claimed, MessageState, NewMessage, OnDead, OutboxAdmin, Selection, Tally, Verdict};

use crate::fixture::{File, Session, delivered, failure, message, retry};

const HOUR: Duration = Duration::from_secs(3_600);
const MANY: usize = 350;

/// A key whose head waits for an hour, and everything else of it behind.
async fn blocked(file: &File) -> (Session, Vec<NewMessage>, Claimed) {
    let messages: Vec<_> = (0..MANY).map(|_| message("t", "k")).collect();
    file.send(&messages).await;
    let mut session = file.session().await;
    let head = session.claim_all(1, false).await.messages.remove(0);
    session.settle(&[(head.place, retry(HOUR))]).await;
    loop {
        let behind = session.claim().await;
        if behind.is_empty() {
            return (session, messages, head);
        }
        assert!(behind.iter().all(|claimed| claimed.behind));
        wait(&mut session, &behind).await;
    }
}

async fn wait(session: &mut Session, claimed: &[Claimed]) {
    let verdict = Verdict::Wait { tally: Tally::default() };
    let verdicts: Vec<_> = claimed.iter().map(|claimed| (claimed.place, verdict.clone())).collect();
    session.settle(&verdicts).await;
}

async fn with_a_time(file: &File) -> i64 {
    file.number("SELECT count(*) FROM outbox_deferred WHERE due_at IS NOT NULL").await
}

#[tokio::test]
async fn messages_behind_a_blocked_key_have_no_time_and_are_not_read() {
    let file = File::new().await;
    let (mut session, ..) = blocked(&file).await;
    assert_eq!(with_a_time(&file).await, 1, "only the head");
    assert_eq!(file.number("SELECT count(*) FROM outbox_messages").await, 0);
    let claim = session.claim_all(100, true).await;
    assert!(claim.messages.is_empty() && !claim.more);
    let next_due = claim.next_due.unwrap();
    assert!(next_due > HOUR / 2 && next_due <= HOUR, "{next_due:?}");
}

#[tokio::test]
async fn what_waited_behind_a_freed_key_comes_in_order_a_hundred_at_a_time() {
    let file = File::new().await;
    let (mut session, messages, head) = blocked(&file).await;
    // Delivered with the hint of its first claim, although it was set aside since.
    session.settle(&[(head.place, delivered())]).await;
    assert_eq!(with_a_time(&file).await, 100);
    let mut seen = vec![head.message.unwrap().id];
    loop {
        let claimed = session.claim_all(1_000, false).await.messages;
        if claimed.is_empty() {
            break;
        }
        assert!(claimed.len() <= 100);
        seen.extend(claimed.iter().map(|claimed| claimed.message.as_ref().unwrap().id));
        let verdicts: Vec<_> = claimed.iter().map(|claimed| (claimed.place, delivered())).collect();
        session.settle(&verdicts).await;
    }
    let sent: Vec<_> = messages.iter().map(NewMessage::id).collect();
    assert_eq!(seen, sent);
}

#[tokio::test]
async fn a_failure_at_the_front_takes_the_time_of_those_behind_it() {
    let file = File::new().await;
    let (mut session, _, head) = blocked(&file).await;
    session.settle(&[(head.place, delivered())]).await;
    let front = session.claim_all(1_000, false).await.messages;
    assert_eq!(front.len(), 100);
    session.settle(&[(front[0].place, retry(HOUR))]).await;
    assert_eq!(with_a_time(&file).await, 1);
    wait(&mut session, &front[1..]).await;
    assert_eq!(with_a_time(&file).await, 1);
    assert!(session.claim().await.is_empty());
}

#[tokio::test]
async fn a_parked_message_holds_what_is_behind_it_until_a_person_decides() {
    let file = File::new().await;
    let (mut session, messages, head) = blocked(&file).await;
    let park = Verdict::Dead { tally: Tally::default(), failure: failure(1), then: OnDead::Park };
    session.settle(&[(head.place, park)]).await;
    assert_eq!(with_a_time(&file).await, 0);
    assert!(session.claim().await.is_empty());

    let parked = Selection::All { topic: Some("t".into()), state: Some(MessageState::Parked) };
    assert_eq!(file.outbox.redrive(&parked, &Act::new("me", "repaired")).await.unwrap(), 1);
    let claimed = session.claim().await;
    assert_eq!(claimed.len(), 1, "the parked one is still the head");
    assert_eq!(claimed[0].message.as_ref().unwrap().id, messages[0].id());
    assert_eq!(claimed[0].tally, Tally::default());

    let ids = Selection::Ids(vec![messages[0].id(), messages[1].id()]);
    assert_eq!(file.outbox.discard(&ids, &Act::new("me", "not needed")).await.unwrap(), 2);
    let next = session.claim_all(1, true).await.messages.remove(0);
    assert_eq!(next.message.unwrap().id, messages[2].id());
}

#[tokio::test]
async fn a_redriven_dead_letter_counts_its_age_anew() {
    let file = File::new().await;
    file.send(&[message("t", "skipped"), message("t", "parked")]).await;
    file.execute("UPDATE outbox_messages SET created_at = created_at - 3600000000").await;
    let mut session = file.session().await;
    let claimed = session.claim().await;
    assert!(claimed.iter().all(|claimed| claimed.age.as_secs() >= 3_600), "both are an hour old");
    let dead = |then| Verdict::Dead { tally: Tally::default(), failure: failure(1), then };
    session.settle(&[(claimed[0].place, dead(OnDead::Skip)), (claimed[1].place, dead(OnDead::Park))]).await;
    for state in [MessageState::Dead, MessageState::Parked] {
        let all = Selection::All { topic: None, state: Some(state) };
        assert_eq!(file.outbox.redrive(&all, &Act::new("on call", "mended")).await.unwrap(), 1);
    }
    let again = session.claim_all(100, true).await.messages;
    assert_eq!(again.len(), 2);
    for again in again {
        assert!(again.age.as_secs() < 1_800 && again.due_in.is_none(), "{again:?}");
    }
}
