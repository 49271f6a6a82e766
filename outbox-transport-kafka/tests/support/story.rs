//! A dispatcher at work through trouble, and what must be true afterwards.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use outbox_core::{
    DispatchSummary, DispatcherExt, Enqueue, ExponentialBackoff, LeasedDispatcher, MemoryOutbox, MessageId,
    MessageState, MessageSummary, NewMessage, OutboxAdmin, PageRequest, Route, Transport,
};
use tokio::sync::oneshot;

use super::Arrived;

/// A service that keeps enqueueing, over a few keys, until it is told to stop.
pub(crate) struct Story {
    outbox: MemoryOutbox,
    /// The ids in the order of each key.
    enqueued: HashMap<String, Vec<MessageId>>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) enqueued: usize,
    pub(crate) duplicates: usize,
    pub(crate) summary: DispatchSummary,
}

const KEYS: usize = 20;
/// More than the tests take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

impl Story {
    pub(crate) fn new() -> Self {
        let outbox = MemoryOutbox::builder().history(Duration::from_secs(3600)).build();
        Self { outbox, enqueued: HashMap::new() }
    }

    /// The outbox, to look into while the story goes on.
    pub(crate) fn outbox(&self) -> Outbox {
        Outbox(self.outbox.clone())
    }

    /// Enqueues one message per key.
    async fn enqueue(&mut self) {
        let mut tx = self.outbox.begin();
        for n in 0..KEYS {
            let key = format!("key-{n}");
            let message =
                NewMessage::builder("orders").key(&key).payload(vec![b'x'; 200], "text/plain").build();
            let message = message.expect("a valid message");
            self.enqueued.entry(key).or_default().push(message.id());
            self.outbox.enqueue(&mut tx, &[message]).await.expect("enqueued");
        }
        self.outbox.commit(tx);
    }

    /// Enqueues and delivers while `trouble` goes on and until everything is delivered.
    pub(crate) async fn run(
        &mut self,
        transport: impl Transport,
        trouble: impl Future<Output = ()>,
    ) -> DispatchSummary {
        let retry = ExponentialBackoff::default()
            .with_initial(Duration::from_millis(50))
            .with_max_delay(Duration::from_millis(500))
            .with_max_attempts(Some(10));
        let route = Route::topic("orders", transport)
            .retry(retry)
            .pause(Duration::from_millis(50), Duration::from_millis(500));
        let dispatcher =
            LeasedDispatcher::builder(self.outbox.clone()).route(route).build().expect("a dispatcher");
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(async move { dispatcher.run_until(stopped).await });
        let over = Arc::new(AtomicBool::new(false));
        let troubled = Arc::clone(&over);
        let enqueueing = async {
            while !troubled.load(Ordering::SeqCst) {
                self.enqueue().await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let trouble = async {
            trouble.await;
            over.store(true, Ordering::SeqCst);
        };
        tokio::join!(enqueueing, trouble);
        let (until, outbox) = (Instant::now() + PATIENCE, self.outbox());
        while outbox.left().await > 0 {
            let dead = outbox.list(MessageState::Dead).await;
            assert!(dead.is_empty(), "an outage makes no dead letter: {dead:?}");
            if Instant::now() >= until {
                let retrying = outbox.list(MessageState::Retrying).await;
                panic!("not everything is delivered: {:?}; {retrying:?}", self.outbox.counts().await);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        stop.send(()).expect("it runs");
        running.await.expect("no panic").expect("a clean shutdown")
    }

    /// Nothing is lost; of each key the first arrivals come in order; a second arrival says that it may be one; no
    /// message became a dead letter.
    pub(crate) fn check(&self, arrived: &[Arrived], summary: DispatchSummary) -> Outcome {
        self.check_without(&HashSet::new(), arrived, summary)
    }

    /// The same, where some were delivered to a place that is no more.
    pub(crate) fn check_without(
        &self,
        gone: &HashSet<MessageId>,
        arrived: &[Arrived],
        summary: DispatchSummary,
    ) -> Outcome {
        assert_eq!(summary.dead, 0, "an outage makes no dead letter: {summary:?}");
        let mut seen = HashSet::new();
        let mut duplicates = 0;
        let mut came: HashMap<String, Vec<MessageId>> = HashMap::new();
        for record in arrived {
            if seen.insert(record.id()) {
                came.entry(record.key.clone().expect("keyed")).or_default().push(record.id());
            } else {
                duplicates += 1;
            }
        }
        for (key, ids) in &self.enqueued {
            let came = came.remove(key).unwrap_or_default();
            let ids: Vec<MessageId> = ids.iter().filter(|id| !gone.contains(id)).copied().collect();
            let lost = ids.iter().filter(|id| !seen.contains(id)).count();
            assert_eq!(lost, 0, "lost of {key}");
            assert_eq!(came, ids, "the first arrivals of {key}");
        }
        let mut copies: HashMap<MessageId, (usize, bool)> = HashMap::new();
        for record in arrived {
            let (count, in_doubt) = copies.entry(record.id()).or_default();
            *count += 1;
            *in_doubt |= record.headers.contains_key("outbox-in-doubt");
        }
        let unmarked = copies.values().filter(|(count, in_doubt)| *count > 1 && !in_doubt).count();
        println!("{summary:?}, {duplicates} duplicates, {unmarked} of them unmarked");
        assert_eq!(unmarked, 0, "a message that arrived twice was in doubt once");
        let enqueued = self.enqueued.values().map(Vec::len).sum();
        let outcome = Outcome { enqueued, duplicates, summary };
        println!("{outcome:?}");
        outcome
    }
}

/// What an outbox tells of a story.
pub(crate) struct Outbox(MemoryOutbox);

impl Outbox {
    async fn left(&self) -> u64 {
        let counts = self.0.counts().await.expect("counts");
        let over = [MessageState::Delivered, MessageState::Discarded];
        let all = counts.iter().flat_map(|topic| &topic.states);
        all.filter(|(state, _)| !over.contains(state)).map(|(_, n)| n).sum()
    }

    /// What is in this state by now.
    pub(crate) async fn list(&self, state: MessageState) -> Vec<MessageSummary> {
        let mut all = Vec::new();
        let mut request = PageRequest { state: Some(state), ..PageRequest::default() };
        loop {
            let page = self.0.list(&request).await.expect("a page");
            all.extend(page.messages);
            request.after = page.next;
            if page.next.is_none() {
                return all;
            }
        }
    }
}
