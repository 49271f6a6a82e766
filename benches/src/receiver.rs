//! A transport that accepts everything, checks what it gets and holds the clock.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use outbox::{Delivery, DeliveryReport, Outcome, Transport, async_trait};
use tokio::sync::Notify;

use crate::load::number_in;

/// Notes every message it sees: which, how often, in which order per key, and when. Clones are one receiver.
#[derive(Debug, Clone)]
pub(crate) struct Receiver {
    state: Arc<Mutex<State>>,
    reached: Arc<Notify>,
}

#[derive(Debug)]
struct State {
    target: usize,
    /// The last number of each key; none when messages have no key.
    last: Vec<Option<usize>>,
    seen: Vec<bool>,
    count: usize,
    twice: usize,
    disorder: usize,
    first: Option<(Instant, usize)>,
    end: Option<(Instant, usize)>,
    when: Option<Vec<Option<Instant>>>,
}

impl Receiver {
    /// Rings when `target` different messages have arrived.
    pub(crate) fn new(target: usize, keys: usize) -> Self {
        let state = State {
            target,
            last: vec![None; keys],
            seen: Vec::new(),
            count: 0,
            twice: 0,
            disorder: 0,
            first: None,
            end: None,
            when: None,
        };
        Self { state: Arc::new(Mutex::new(state)), reached: Arc::default() }
    }

    /// The same, and notes when each message arrived.
    pub(crate) fn with_times(target: usize, keys: usize) -> Self {
        let receiver = Self::new(target, keys);
        receiver.lock().when = Some(Vec::new());
        receiver
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while counting")
    }

    /// Takes a batch.
    pub(crate) fn see(&self, numbers: impl IntoIterator<Item = usize>) {
        let now = Instant::now();
        let mut state = self.lock();
        for number in numbers {
            state.see(number, now);
        }
        let count = state.count;
        state.first.get_or_insert((now, count));
        if count >= state.target && state.end.is_none() {
            state.end = Some((now, count));
            self.reached.notify_one();
        }
    }

    /// Waits for the target. Nothing for a minute is the end of a benchmark: something is lost.
    pub(crate) async fn wait(&self) {
        loop {
            let before = self.count();
            let minute = tokio::time::timeout(Duration::from_secs(60), self.reached.notified()).await;
            if minute.is_ok() {
                return;
            }
            assert!(self.count() > before, "no message came for a minute; {before} had arrived");
        }
    }

    /// How many different messages arrived.
    pub(crate) fn count(&self) -> usize {
        self.lock().count
    }

    /// Whether the target was reached.
    pub(crate) fn is_done(&self) -> bool {
        self.lock().end.is_some()
    }

    /// Messages a second, from the first batch to the target: starting up is not counted.
    pub(crate) fn rate(&self) -> f64 {
        let state = self.lock();
        let (Some((first, before)), Some((end, count))) = (state.first, state.end) else { return 0.0 };
        (count - before) as f64 / (end - first).as_secs_f64()
    }

    /// When each message arrived, by number.
    pub(crate) fn times(&self) -> Vec<Option<Instant>> {
        self.lock().when.clone().unwrap_or_default()
    }

    /// Ends the run unless everything is right: of `loaded` messages `left` are still stored, every other arrived
    /// once, and those of a key in order.
    pub(crate) fn check(&self, loaded: usize, left: usize) {
        let state = self.lock();
        assert_eq!(state.disorder, 0, "messages of a key arrived out of order");
        assert_eq!(state.twice, 0, "messages arrived twice");
        assert_eq!(
            state.count + left,
            loaded,
            "messages are missing: {} arrived, {left} are left",
            state.count
        );
    }
}

impl State {
    fn see(&mut self, number: usize, now: Instant) {
        if self.seen.len() <= number {
            self.seen.resize((number + 1).next_power_of_two(), false);
        }
        if std::mem::replace(&mut self.seen[number], true) {
            self.twice += 1;
            return;
        }
        self.count += 1;
        if !self.last.is_empty() {
            let key = number % self.last.len();
            self.disorder += usize::from(self.last[key].replace(number).is_some_and(|last| last > number));
        }
        if let Some(when) = &mut self.when {
            if when.len() <= number {
                when.resize((number + 1).next_power_of_two(), None);
            }
            when[number] = Some(now);
        }
    }
}

#[async_trait]
impl Transport for Receiver {
    async fn deliver(&self, batch: &[Delivery], report: &DeliveryReport) {
        self.see(batch.iter().map(|delivery| number_in(&delivery.message.payload)));
        report.record_rest(batch, &Outcome::delivered());
    }

    fn keeps_order(&self) -> bool {
        true
    }
}
