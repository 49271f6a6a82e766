//! What a person sees.

use std::time::Duration;

use super::super::StoreFixture;
use super::super::probe::*;
use crate::{
    FailureNote, MessageId, MessageState, NewMessage, OnDead, OutboxAdmin, PageRequest, Tally, TopicCounts,
    Verdict,
};

pub async fn an_empty_outbox_counts_nothing<F: StoreFixture<Outbox: OutboxAdmin>>(fixture: F) {
    let counts = fixture.outbox().counts().await.expect("counts succeeds");
    assert!(counts.iter().all(|topic| topic.states.iter().all(|(_, count)| *count == 0)), "nothing is there");
}

pub async fn counts_tell_each_state_of_each_topic<F: StoreFixture<Outbox: OutboxAdmin>>(fixture: F) {
    let probe = Probe::new(fixture);
    one_of_each_state(&probe).await;
    probe.enqueue(&[of_topic("aardvarks"), of_topic("mail"), of_topic("mail")]).await;
    let counts = probe.outbox().counts().await.expect("counts succeeds");
    let topics: Vec<&str> = counts.iter().map(|topic| topic.topic.as_str()).collect();
    assert_eq!(topics, ["aardvarks", "mail", "orders"], "each topic once, in alphabetical order");
    assert_eq!(counts[1].of(MessageState::Waiting), 2, "both mails");
    for state in STATES {
        assert_eq!(counts[2].of(state), 1, "one message of `orders` is in the state {state:?}");
    }
    assert!(
        counts.iter().flat_map(|topic| &topic.states).all(|(_, count)| *count > 0),
        "empty states are left out"
    );
}

pub async fn the_age_of_the_oldest_counts_only_what_should_go_out<F: StoreFixture<Outbox: OutboxAdmin>>(
    fixture: F,
) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = [of_topic("dead"), of_topic("scheduled"), of_topic("waiting"), of_topic("parked")];
    probe.enqueue(&messages).await;
    let claimed = probe.claim(&mut session).await;
    let place = |n: usize| find(&claimed, &messages[n]).place;
    let verdicts = [
        (place(0), dead(OnDead::Skip)),
        (place(1), Verdict::Schedule { delay: HOUR }),
        (place(3), dead(OnDead::Park)),
    ];
    probe.settle(&mut session, &verdicts).await;
    let counts = probe.outbox().counts().await.expect("counts succeeds");
    let oldest = |name: &str| counts.iter().find(|topic| topic.topic == name).and_then(|topic| topic.oldest);
    assert_eq!(oldest("dead"), None, "a skipped dead letter does not wait");
    assert_eq!(oldest("scheduled"), None, "a scheduled message is not late");
    for name in ["waiting", "parked"] {
        let age = oldest(name).expect("it waits to go out");
        assert!(age < Duration::from_secs(600), "enqueued just now, but {age:?} old");
    }
}

pub async fn every_state_is_shown<F: StoreFixture<Outbox: OutboxAdmin>>(fixture: F) {
    let probe = Probe::new(fixture);
    for (message, state) in one_of_each_state(&probe).await {
        let detail = show(&probe, message.id()).await;
        assert_eq!(detail.summary.state, state, "its state");
        assert_eq!(detail.summary.key.as_deref(), message.key(), "its key");
        let ended = matches!(state, MessageState::Delivered | MessageState::Discarded);
        assert_eq!(detail.message.is_none(), ended, "the history keeps no payload; until then all is shown");
    }
}

pub async fn every_state_can_be_listed<F: StoreFixture<Outbox: OutboxAdmin>>(fixture: F) {
    let probe = Probe::new(fixture);
    for (message, state) in one_of_each_state(&probe).await {
        let request = PageRequest { state: Some(state), ..PageRequest::default() };
        let page = probe.outbox().list(&request).await.expect("list succeeds");
        let listed: Vec<_> = page.messages.iter().map(|summary| (summary.id, summary.state)).collect();
        assert_eq!(listed, [(message.id(), state)], "the one message in this state");
    }
}

pub async fn a_fresh_message_is_shown_whole<F: StoreFixture<Outbox: OutboxAdmin>>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let builder =
        NewMessage::builder("orders").key("a").message_type("order.placed").header("tenant", "blue");
    let sent = build(builder);
    probe.enqueue(std::slice::from_ref(&sent)).await;
    let claimed = only(probe.claim(&mut session).await);
    let detail = show(&probe, sent.id()).await;
    assert_eq!(detail.message.as_ref(), Some(message(&claimed)), "the message that a transport would get");
    let summary = detail.summary;
    assert_eq!((summary.id, summary.topic.as_str()), (sent.id(), "orders"), "id and topic");
    assert_eq!(summary.message_type, "order.placed", "the type");
    assert_eq!(summary.tally, Tally::default(), "nothing happened to it yet");
    assert_eq!(summary.created_at, message(&claimed).created_at, "when it was created");
    assert_eq!((summary.due_in, summary.last_failure), (None, None), "it waits for no time and never failed");
    assert_eq!(
        (detail.failures, detail.receipt, detail.acts),
        (vec![], None, vec![]),
        "nothing happened yet"
    );
}

pub async fn a_message_that_is_not_there_is_not_shown<F: StoreFixture<Outbox: OutboxAdmin>>(fixture: F) {
    let shown = fixture.outbox().show(MessageId::generate()).await.expect("show succeeds");
    assert_eq!(shown, None, "nobody enqueued it");
}

pub async fn a_retry_shows_its_failure_and_when_it_is_due<F: StoreFixture<Outbox: OutboxAdmin>>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let sent = keyed("a");
    probe.enqueue(std::slice::from_ref(&sent)).await;
    let claimed = only(probe.claim(&mut session).await);
    probe.settle(&mut session, &[(claimed.place, retry(HOUR))]).await;
    let summary = show(&probe, sent.id()).await.summary;
    assert_eq!(summary.tally, attempts(1), "one attempt is spent");
    assert_eq!(summary.last_failure, Some(note(1)), "why it failed: class, code and text");
    let due_in = summary.due_in.expect("it waits for a time");
    assert!(due_in > HOUR / 2 && due_in <= HOUR, "an hour, not {due_in:?}");
}

pub async fn the_last_ten_failures_are_kept_oldest_first<F: StoreFixture<Outbox: OutboxAdmin>>(fixture: F) {
    let probe = Probe::new(fixture);
    let notes: Vec<FailureNote> = (1..=13).map(note).collect();
    let detail = fail_with(&probe, &notes).await;
    assert_eq!(detail.failures, notes[3..], "the last ten");
    assert_eq!(detail.summary.last_failure.as_ref(), notes.last(), "the latest");
}

pub async fn the_same_failure_said_twice_is_kept_once<F: StoreFixture<Outbox: OutboxAdmin>>(fixture: F) {
    let probe = Probe::new(fixture);
    let other_class = FailureNote { class: "crash".to_owned(), ..note(2) };
    let said = [note(1), note(1), note(2), note(2), other_class.clone()];
    let detail = fail_with(&probe, &said).await;
    let kept = [note(1), note(2), other_class];
    assert_eq!(detail.failures, kept, "one per attempt and class, so that a settlement can be repeated");
}

pub async fn a_delivered_message_shows_its_receipt<F: StoreFixture<Outbox: OutboxAdmin>>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let sent = keyed("a");
    probe.enqueue(std::slice::from_ref(&sent)).await;
    let claimed = only(probe.claim(&mut session).await);
    let receipt = Some("queued as 4711".to_owned());
    probe.settle(&mut session, &[(claimed.place, Verdict::Delivered { receipt: receipt.clone() })]).await;
    let detail = show(&probe, sent.id()).await;
    assert_eq!(detail.summary.state, MessageState::Delivered, "it is known to be delivered");
    assert_eq!(detail.receipt, receipt, "what the destination answered");
}

pub async fn pages_show_every_message_once_in_order<F: StoreFixture<Outbox: OutboxAdmin>>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let messages = line("a", 10);
    probe.enqueue(&messages).await;
    let claimed = probe.claim(&mut session).await;
    // Some fresh, some set aside: the order of places goes across.
    let verdicts = [(claimed[2].place, retry(HOUR)), (claimed[5].place, wait())];
    probe.settle(&mut session, &verdicts).await;
    let mut request = PageRequest { limit: 3, ..PageRequest::default() };
    let mut listed = Vec::new();
    loop {
        let page = probe.outbox().list(&request).await.expect("list succeeds");
        assert!(page.messages.len() <= 3, "no page is longer than was asked for");
        listed.extend(page.messages.iter().map(|summary| summary.id));
        assert!(listed.len() <= messages.len(), "the pages go on for ever");
        request.after = page.next;
        if page.next.is_none() {
            break;
        }
    }
    assert_eq!(listed, ids(&messages), "every message once, in the order of places");
}

pub async fn a_list_of_a_topic_holds_no_other<F: StoreFixture<Outbox: OutboxAdmin>>(fixture: F) {
    let probe = Probe::new(fixture);
    let messages = [of_topic("mail"), of_topic("orders"), of_topic("mail"), of_topic("mail.urgent")];
    probe.enqueue(&messages).await;
    let request = PageRequest { topic: Some("mail".to_owned()), ..PageRequest::default() };
    let page = probe.outbox().list(&request).await.expect("list succeeds");
    let listed: Vec<_> = page.messages.iter().map(|summary| summary.id).collect();
    assert_eq!(listed, [messages[0].id(), messages[2].id()], "exactly this topic");
    assert_eq!(page.next, None, "one page is enough");
}

pub async fn purging_the_history_deletes_no_more_than_asked<F: StoreFixture<Outbox: OutboxAdmin>>(
    fixture: F,
) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    probe.enqueue(&line("a", 5)).await;
    for place in places(&probe.claim(&mut session).await) {
        probe.deliver(&mut session, place).await;
    }
    let waiting = keyed("a");
    probe.enqueue(std::slice::from_ref(&waiting)).await;
    let delivered = async || {
        let counts: Vec<TopicCounts> = probe.outbox().counts().await.expect("counts succeeds");
        counts.iter().map(|topic| topic.of(MessageState::Delivered)).sum::<u64>()
    };
    let purge = async |age, limit| probe.outbox().purge_history(age, limit).await.expect("purge succeeds");
    assert_eq!(purge(HOUR, 100).await, 0, "nothing ended an hour ago");
    assert_eq!(delivered().await, 5, "nothing was purged");
    assert_eq!(purge(Duration::ZERO, 2).await, 2, "as many as were asked for");
    assert_eq!(delivered().await, 3, "the rest is kept");
    assert_eq!(purge(Duration::ZERO, 100).await, 3, "the rest");
    assert_eq!(
        show(&probe, waiting.id()).await.summary.state,
        MessageState::Waiting,
        "no history, so not purged"
    );
}

const STATES: [MessageState; 8] = [
    MessageState::Waiting,
    MessageState::Retrying,
    MessageState::Behind,
    MessageState::Scheduled,
    MessageState::Dead,
    MessageState::Parked,
    MessageState::Delivered,
    MessageState::Discarded,
];

/// A message of `orders` in each state.
async fn one_of_each_state<F>(probe: &Probe<F>) -> Vec<(NewMessage, MessageState)>
where
    F: StoreFixture<Outbox: OutboxAdmin>,
{
    let mut session = probe.start().await;
    let key = |state: MessageState| match state {
        MessageState::Behind => keyed("retrying"),
        MessageState::Retrying => keyed("retrying"),
        state => keyed(&format!("{state:?}")),
    };
    let messages: Vec<_> = STATES.iter().map(|state| (key(*state), *state)).collect();
    let all: Vec<_> = messages.iter().map(|(message, _)| message.clone()).collect();
    probe.enqueue(&all).await;
    let claimed = probe.claim(&mut session).await;
    let mut verdicts = Vec::new();
    for (message, state) in &messages {
        let verdict = match state {
            MessageState::Retrying => retry(HOUR),
            MessageState::Behind => wait(),
            MessageState::Scheduled => Verdict::Schedule { delay: HOUR },
            MessageState::Dead => dead(OnDead::Skip),
            MessageState::Parked => dead(OnDead::Park),
            MessageState::Delivered => delivered(),
            _ => continue,
        };
        verdicts.push((find(&claimed, message).place, verdict));
    }
    probe.settle(&mut session, &verdicts).await;
    let discarded = messages.iter().find(|(_, state)| *state == MessageState::Discarded);
    let (discarded, _) = discarded.expect("the list names the state");
    assert_eq!(discard(probe, &[discarded]).await, 1, "one message is discarded");
    messages
}

/// Fails one message with one note after another, and shows it.
async fn fail_with<F: StoreFixture<Outbox: OutboxAdmin>>(
    probe: &Probe<F>,
    notes: &[FailureNote],
) -> crate::MessageDetail {
    let mut session = probe.start().await;
    let sent = keyed("a");
    probe.enqueue(std::slice::from_ref(&sent)).await;
    for failure in notes {
        let claimed = only(probe.claim(&mut session).await);
        let tally = attempts(failure.attempt);
        let retry = Verdict::Retry { delay: Duration::ZERO, tally, failure: failure.clone() };
        probe.settle(&mut session, &[(claimed.place, retry)]).await;
    }
    show(probe, sent.id()).await
}
