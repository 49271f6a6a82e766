//! A transport from a function that sends one message.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outbox_core::{
    Delivery, DeliveryReport, Message, MessageId, Outcome, PerMessage, SendOne, Transport, async_trait,
};
use tokio::sync::{Semaphore, mpsc};

/// Answers each message with what its payload says, and notes who was sent.
#[derive(Clone, Default)]
struct Script {
    sent: Arc<Mutex<Vec<MessageId>>>,
}

#[async_trait]
impl SendOne for Script {
    async fn send(&self, delivery: &Delivery) -> Outcome {
        tokio::task::yield_now().await;
        self.sent.lock().expect("not poisoned").push(delivery.message.id);
        match &delivery.message.payload[..] {
            b"fail" => Outcome::transient("busy"),
            b"panic" => panic!("a bug in the sender"),
            _ => Outcome::delivered(),
        }
    }
}

#[tokio::test]
async fn every_message_gets_its_own_outcome() {
    let batch = batch(&[(None, "ok"), (None, "fail"), (None, "ok")]);
    let (outcomes, sent) = deliver(4, &batch).await;
    assert_eq!(
        outcomes,
        [Some(Outcome::delivered()), Some(Outcome::transient("busy")), Some(Outcome::delivered())]
    );
    assert_eq!(sent.len(), 3, "messages without a key do not wait for each other");
}

#[tokio::test]
async fn messages_of_a_key_are_sent_in_their_order() {
    let keys = ["a", "b", "c"];
    let messages: Vec<_> = (0..60).map(|n| (Some(keys[n % 3]), "ok")).collect();
    let batch = batch(&messages);
    let (outcomes, sent) = deliver(8, &batch).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Some(Outcome::delivered())));
    for key in keys {
        let of_key: Vec<_> = batch.iter().filter(|d| d.message.key.as_deref() == Some(key)).collect();
        let expected: Vec<_> = of_key.iter().map(|delivery| delivery.message.id).collect();
        let came: Vec<_> = sent.iter().filter(|id| expected.contains(id)).copied().collect();
        assert_eq!(came, expected, "the key {key}");
    }
}

#[tokio::test]
async fn after_a_failure_the_rest_of_the_key_is_not_sent() {
    let batch =
        batch(&[(Some("a"), "ok"), (Some("a"), "fail"), (Some("b"), "ok"), (Some("a"), "ok"), (None, "ok")]);
    let (outcomes, sent) = deliver(4, &batch).await;
    let expected = [
        Some(Outcome::delivered()),
        Some(Outcome::transient("busy")),
        Some(Outcome::delivered()),
        Some(Outcome::NotSent),
        Some(Outcome::delivered()),
    ];
    assert_eq!(outcomes, expected);
    assert!(!sent.contains(&batch[3].message.id), "and it was really not sent");
}

#[tokio::test]
async fn the_same_key_of_another_topic_is_another_key() {
    let mut batch = batch(&[(Some("a"), "fail"), (Some("a"), "ok")]);
    let mut other = Message::clone(&batch[1].message);
    other.topic = "mail".to_owned();
    batch[1] = Delivery::new(1, other);
    let (outcomes, _) = deliver(1, &batch).await;
    assert_eq!(outcomes[1], Some(Outcome::delivered()));
}

#[tokio::test]
async fn a_panic_counts_against_its_message_only() {
    let batch = batch(&[(Some("a"), "panic"), (Some("a"), "ok"), (Some("b"), "ok"), (None, "ok")]);
    let (outcomes, _) = deliver(4, &batch).await;
    assert!(
        matches!(outcomes[0], Some(Outcome::Ambiguous { .. })),
        "it may have been sent: {:?}",
        outcomes[0]
    );
    assert_eq!(outcomes[1], Some(Outcome::NotSent), "the next of its key was not tried");
    assert_eq!(
        outcomes[2..],
        [Some(Outcome::delivered()), Some(Outcome::delivered())],
        "the neighbours went out"
    );
}

#[tokio::test]
async fn an_empty_batch_sends_nothing() {
    let (outcomes, sent) = deliver(4, &[]).await;
    assert!(outcomes.is_empty() && sent.is_empty());
}

/// Counts how many sends are under way, and ends them when it is told to.
struct Gate {
    under_way: AtomicUsize,
    most: Arc<AtomicUsize>,
    started: mpsc::UnboundedSender<()>,
    open: Arc<Semaphore>,
}

#[async_trait]
impl SendOne for Gate {
    async fn send(&self, _delivery: &Delivery) -> Outcome {
        let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        let _ = self.started.send(());
        let opened = self.open.acquire().await;
        opened.expect("the gate is never closed").forget();
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        Outcome::delivered()
    }
}

#[tokio::test]
async fn as_many_as_allowed_are_under_way_and_no_more() {
    for (parallel, expected) in [(3, 3), (1, 1), (0, 1), (100, 10)] {
        let (most, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let (started, mut starts) = mpsc::unbounded_channel();
        let gate = Gate {
            under_way: AtomicUsize::new(0),
            most: Arc::clone(&most),
            started,
            open: Arc::clone(&open),
        };
        let transport = PerMessage::new(parallel, gate);
        let running = tokio::spawn(async move {
            let batch = batch(&[(None, "ok"); 10]);
            let report = DeliveryReport::collecting(&batch);
            transport.deliver(&batch, &report).await;
            report.take().len()
        });
        for _ in 0..expected {
            within(starts.recv()).await.expect("as many as allowed start before any has ended");
        }
        open.add_permits(10);
        assert_eq!(within(running).await.expect("it does not panic"), 10, "all are sent");
        assert_eq!(most.load(Ordering::SeqCst), expected, "with {parallel} in parallel");
    }
}

#[tokio::test]
async fn outcomes_are_recorded_the_moment_they_are_known() {
    let (most, open) = (Arc::default(), Arc::new(Semaphore::new(1)));
    let (started, mut starts) = mpsc::unbounded_channel();
    let transport = PerMessage::new(2, Gate { under_way: AtomicUsize::new(0), most, started, open });
    let batch = batch(&[(None, "ok"); 2]);
    let report = DeliveryReport::collecting(&batch);
    {
        let delivering = transport.deliver(&batch, &report);
        tokio::pin!(delivering);
        // One of the two ends; the call does not, and is dropped.
        for _ in 0..2 {
            tokio::select! {
                () = &mut delivering => panic!("the second send never ends"),
                start = within(starts.recv()) => start.expect("both start"),
            }
        }
        tokio::select! {
            biased;
            () = &mut delivering => panic!("the second send never ends"),
            () = std::future::ready(()) => {}
        }
    }
    assert_eq!(report.take(), [(0, Outcome::delivered())], "the first was recorded, the second is unknown");
}

#[tokio::test]
async fn the_deadline_is_as_set() {
    let transport = PerMessage::new(1, Script::default());
    assert_eq!(transport.deadline(), Duration::from_secs(60));
    assert_eq!(transport.with_deadline(Duration::from_secs(5)).deadline(), Duration::from_secs(5));
}

async fn deliver(parallel: usize, batch: &[Delivery]) -> (Vec<Option<Outcome>>, Vec<MessageId>) {
    let script = Script::default();
    let transport = PerMessage::new(parallel, script.clone());
    assert!(transport.keeps_order(), "a batch may hold several messages of a key");
    let report = DeliveryReport::collecting(batch);
    within(transport.deliver(batch, &report)).await;
    let mut outcomes = vec![None; batch.len()];
    for (position, outcome) in report.take() {
        outcomes[position] = Some(outcome);
    }
    let sent = script.sent.lock().expect("not poisoned").clone();
    (outcomes, sent)
}

fn batch(messages: &[(Option<&str>, &'static str)]) -> Vec<Delivery> {
    let message = |(key, payload): &(Option<&str>, &'static str)| {
        let mut message = Message::new(MessageId::generate(), "orders", *payload);
        message.key = key.map(str::to_owned);
        message
    };
    messages.iter().enumerate().map(|(n, one)| Delivery::new(n, message(one))).collect()
}

/// A test that hangs fails instead.
async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("it ends")
}

/// Says that the destination is down for texts that are "down", and hangs on all others.
struct Unreachable;

#[async_trait]
impl SendOne for Unreachable {
    async fn send(&self, delivery: &Delivery) -> Outcome {
        if delivery.message.payload == "down" {
            return Outcome::unavailable("connection refused");
        }
        std::future::pending().await
    }
}

#[tokio::test]
async fn what_was_not_started_when_the_call_is_dropped_was_not_sent() {
    let batch = batch(&[(None, "hangs"), (Some("a"), "hangs"), (Some("a"), "never"), (None, "never")]);
    let report = DeliveryReport::collecting(&batch);
    let transport = PerMessage::new(2, Unreachable);
    let late = tokio::time::timeout(Duration::from_millis(20), transport.deliver(&batch, &report)).await;
    assert!(late.is_err());
    let mut unsent = report.take();
    unsent.sort_by_key(|(index, _)| *index);
    assert_eq!(unsent, [(2, Outcome::NotSent), (3, Outcome::NotSent)]);
}

#[tokio::test]
async fn one_message_that_finds_the_destination_down_spares_the_rest_the_attempt() {
    let batch = batch(&[(None, "down"), (Some("a"), "hangs"), (None, "hangs")]);
    let report = DeliveryReport::collecting(&batch);
    within(PerMessage::new(1, Unreachable).deliver(&batch, &report)).await;
    let outcomes: Vec<_> = report.take().into_iter().map(|(_, outcome)| outcome).collect();
    assert_eq!(outcomes, [Outcome::unavailable("connection refused"), Outcome::NotSent, Outcome::NotSent]);
}
