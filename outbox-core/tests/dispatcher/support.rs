//! A transport that records what it is given, a store that can be broken, and a few shorthands.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use outbox_core::*;
use tokio::sync::{Notify, Semaphore};

/// Guards against a test that hangs; no test is fast or slow by it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What was logged, as text.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What the recorder saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) id: MessageId,
    pub(crate) key: Option<String>,
    pub(crate) text: String,
    pub(crate) attempt: u32,
    pub(crate) in_doubt: bool,
    pub(crate) outcome: Outcome,
}

type Script = dyn Fn(&Delivery) -> Outcome + Send + Sync;

/// Records each delivery and answers by a script; as `SendOne`, or as a batch `Transport`.
#[derive(Clone)]
pub(crate) struct Recorder {
    log: Arc<Mutex<Vec<Seen>>>,
    script: Arc<Script>,
    pub(crate) keeps_order: bool,
}

impl Recorder {
    pub(crate) fn new(script: impl Fn(&Delivery) -> Outcome + Send + Sync + 'static) -> Self {
        Self { log: Arc::default(), script: Arc::new(script), keeps_order: false }
    }

    pub(crate) fn accepting() -> Self {
        Self::new(|_| Outcome::delivered())
    }

    fn see(&self, delivery: &Delivery) -> Outcome {
        let outcome = (self.script)(delivery);
        let message = &delivery.message;
        self.log.lock().unwrap().push(Seen {
            id: message.id,
            key: message.key.clone(),
            text: text_of(message),
            attempt: delivery.attempt,
            in_doubt: delivery.in_doubt,
            outcome: outcome.clone(),
        });
        outcome
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn delivered(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| matches!(seen.outcome, Outcome::Delivered { .. })).collect()
    }

    pub(crate) fn delivered_texts(&self) -> Vec<String> {
        self.delivered().into_iter().map(|seen| seen.text).collect()
    }

    /// Waits until `count` different messages were delivered.
    pub(crate) async fn wait_for(&self, count: usize) {
        let all = async {
            loop {
                let ids: std::collections::HashSet<_> = self.delivered().iter().map(|seen| seen.id).collect();
                if ids.len() >= count {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, all).await.is_err() {
            panic!("{} of {count} messages were delivered", self.delivered().len());
        }
    }

    /// Panics unless the first deliveries of each key are in the order of their numbers.
    pub(crate) fn assert_order(&self) {
        let mut seen_ids = std::collections::HashSet::new();
        let mut last: HashMap<String, u64> = HashMap::new();
        for seen in self.delivered() {
            if !seen_ids.insert(seen.id) {
                continue;
            }
            let Some(key) = seen.key else { continue };
            let number: u64 = seen.text.parse().expect("the payload is a number");
            if let Some(before) = last.insert(key.clone(), number) {
                assert!(before < number, "of key {key}, {number} was delivered after {before}");
            }
        }
    }
}

#[async_trait]
impl SendOne for Recorder {
    async fn send(&self, delivery: &Delivery) -> Outcome {
        tokio::task::yield_now().await;
        self.see(delivery)
    }
}

/// The recorder as a batch transport. When it keeps order, a failure stops the rest of its key.
pub(crate) struct InBatches(pub(crate) Recorder);

#[async_trait]
impl Transport for InBatches {
    async fn deliver(&self, batch: &[Delivery], report: &DeliveryReport) {
        let mut stopped = std::collections::HashSet::new();
        for delivery in batch {
            let key = delivery.message.key.clone();
            if key.as_ref().is_some_and(|key| stopped.contains(key)) {
                report.record(delivery, Outcome::NotSent);
                continue;
            }
            let outcome = self.0.see(delivery);
            if self.0.keeps_order && !matches!(outcome, Outcome::Delivered { .. }) {
                stopped.extend(key);
            }
            report.record(delivery, outcome);
            tokio::task::yield_now().await;
        }
    }
    fn keeps_order(&self) -> bool {
        self.0.keeps_order
    }
}

pub(crate) fn text_of(message: &Message) -> String {
    String::from_utf8_lossy(&message.payload).into_owned()
}

pub(crate) fn message(topic: &str, key: Option<&str>, text: impl ToString) -> NewMessage {
    let builder = NewMessage::builder(topic).payload(text.to_string(), "text/plain");
    let builder = match key {
        Some(key) => builder.key(key),
        None => builder,
    };
    builder.build().expect("a valid message")
}

/// Commits each message in a transaction of its own.
pub(crate) async fn commit_each(outbox: &MemoryOutbox, messages: &[NewMessage]) {
    for message in messages {
        commit(outbox, std::slice::from_ref(message)).await;
    }
}

pub(crate) async fn commit(outbox: &MemoryOutbox, messages: &[NewMessage]) {
    let mut tx = outbox.begin();
    outbox.enqueue(&mut tx, messages).await.expect("enqueue");
    outbox.commit(tx);
}

/// Settings whose waits are short.
pub(crate) fn quick() -> Settings {
    Settings {
        lease: Duration::from_millis(500),
        poll_min: Duration::from_millis(2),
        poll_max: Duration::from_millis(20),
        shutdown_within: Duration::from_secs(5),
        ..Settings::default()
    }
}

pub(crate) fn dispatcher(
    store: impl OutboxStore,
    settings: Settings,
    routes: Vec<Route>,
) -> Arc<LeasedDispatcher> {
    let mut builder = LeasedDispatcher::builder(store).settings(settings);
    for route in routes {
        builder = builder.route(route);
    }
    Arc::new(builder.build().expect("a dispatcher"))
}

/// A dispatcher that runs in a task: stopped in good order, or killed.
pub(crate) struct Running {
    task: tokio::task::JoinHandle<Result<DispatchSummary, DispatchError>>,
    stop: tokio::sync::oneshot::Sender<()>,
}

pub(crate) fn start(dispatcher: &Arc<LeasedDispatcher>) -> Running {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let dispatcher = Arc::clone(dispatcher);
    let task = tokio::spawn(async move { dispatcher.run_until(stopped).await });
    Running { task, stop }
}

impl Running {
    pub(crate) async fn stop(self) -> Result<DispatchSummary, DispatchError> {
        let _ = self.stop.send(());
        tokio::time::timeout(PATIENCE, self.task).await.expect("it stops").expect("no panic")
    }

    /// As if the process had died: nothing is settled or given back.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// A store that fails on demand.
#[derive(Clone)]
pub(crate) struct Flaky {
    inner: MemoryOutbox,
    pub(crate) down: Arc<AtomicBool>,
    pub(crate) renew_down: Arc<AtomicBool>,
    /// One in so many calls fails, half of them after having done their work; 0 for never.
    pub(crate) one_in: Arc<AtomicU64>,
    /// Calls take up to so many milliseconds, before and after their work, as over a network.
    pub(crate) slow: Arc<AtomicU64>,
    pub(crate) calls: Arc<AtomicU64>,
}

impl Flaky {
    pub(crate) fn new(inner: MemoryOutbox) -> Self {
        Self {
            inner,
            down: Arc::default(),
            renew_down: Arc::default(),
            one_in: Arc::default(),
            slow: Arc::default(),
            calls: Arc::default(),
        }
    }

    async fn call<T>(&self, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let dice = call.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let (slow, wait) = (self.slow.load(Ordering::SeqCst), Duration::from_millis);
        let work = async {
            tokio::time::sleep(wait(if slow > 0 { dice % slow } else { 0 })).await;
            let answer = work.await;
            tokio::time::sleep(wait(if slow > 0 { dice / 7 % slow } else { 0 })).await;
            answer
        };
        let fails = |n: u64| n > 0 && dice.is_multiple_of(n);
        let broken = || StoreError::new(StoreErrorKind::Unavailable, "broken on purpose");
        if self.down.load(Ordering::SeqCst) {
            return Err(broken());
        }
        if fails(self.one_in.load(Ordering::SeqCst)) {
            if call.is_multiple_of(2) {
                work.await?;
            }
            return Err(broken());
        }
        work.await
    }
}

#[async_trait]
impl OutboxStore for Flaky {
    async fn renew(
        &self,
        me: &DispatcherId,
        epoch: Option<Epoch>,
        lease: Duration,
    ) -> Result<Ownership, StoreError> {
        if self.renew_down.load(Ordering::SeqCst) {
            return Err(StoreError::new(StoreErrorKind::Unavailable, "renew is broken on purpose"));
        }
        self.call(self.inner.renew(me, epoch, lease)).await
    }
    async fn claim(&self, request: &ClaimRequest<'_>) -> Result<Claim, StoreError> {
        self.call(self.inner.claim(request)).await
    }
    async fn settle(&self, epoch: Epoch, settlement: &Settlement<'_>) -> Result<Fence, StoreError> {
        self.call(self.inner.settle(epoch, settlement)).await
    }
    async fn release(&self, epoch: Epoch, slots: &[Slot]) -> Result<(), StoreError> {
        self.call(self.inner.release(epoch, slots)).await
    }
    async fn tidy(&self, limit: u32) -> Result<u64, StoreError> {
        self.inner.tidy(limit).await
    }
    fn wake_up(&self) -> WakeUp {
        self.inner.wake_up()
    }
}

pub(crate) async fn count(outbox: &MemoryOutbox, state: MessageState) -> u64 {
    outbox.counts().await.expect("counts").iter().map(|topic| topic.of(state)).sum()
}

/// How often `count` rises in `time`, also where a busy machine takes longer: the rise for each `time` that passed.
pub(crate) async fn rises_in(time: Duration, count: &AtomicU64) -> f64 {
    let (started, before) = (Instant::now(), count.load(Ordering::SeqCst));
    tokio::time::sleep(time).await;
    let rose = count.load(Ordering::SeqCst) - before;
    rose as f64 / started.elapsed().div_duration_f64(time)
}

/// Sends only as many messages as it got permits for; tells when one is waiting.
pub(crate) struct Gated {
    pub(crate) log: Recorder,
    pub(crate) gate: Arc<Semaphore>,
    pub(crate) waiting: Arc<Notify>,
}

#[async_trait]
impl SendOne for Gated {
    async fn send(&self, delivery: &Delivery) -> Outcome {
        self.waiting.notify_one();
        match self.gate.acquire().await {
            Ok(permit) => permit.forget(),
            Err(_closed) => return Outcome::NotSent,
        }
        self.log.send(delivery).await
    }
}

pub(crate) fn gated() -> (PerMessage<Gated>, Recorder, Arc<Semaphore>, Arc<Notify>) {
    let (log, gate, waiting) = (Recorder::accepting(), Arc::new(Semaphore::new(0)), Arc::new(Notify::new()));
    let gated = Gated { log: log.clone(), gate: Arc::clone(&gate), waiting: Arc::clone(&waiting) };
    (PerMessage::new(1, gated), log, gate, waiting)
}
