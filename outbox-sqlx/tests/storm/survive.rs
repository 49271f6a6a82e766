//! Random outcomes, deaths, broken connections, transactions that end late or not at all, and acts: nothing is lost, keys
//! keep their order, duplicates are marked, no attempt is spent where none failed, and nothing stays behind.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outbox_core::{
    Act, Delivery, DispatcherExt, FixedDelays, LeasedDispatcher, MessageId, MessageState, NewMessage,
    OutboxAdmin, OutboxStore, Outcome, PerMessage, Route, Selection, SendOne, Settings, StoreError,
    async_trait,
};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const MESSAGES: usize = 400;
const KEYS: usize = 25;
/// A late transaction ends before its key's next message is enqueued, which would have to come after it.
const MOST_ROUNDS: usize = KEYS - 2;
/// What was rolled back: the number of no message.
const NEVER: usize = usize::MAX;

/// A database with an outbox, which a storm comes over.
#[async_trait]
pub(crate) trait Home: Send + Sync {
    type Outbox: OutboxStore + OutboxAdmin;
    type Transaction: Send + Sync;

    fn outbox(&self) -> &Self::Outbox;
    /// The outbox as another process sees it.
    async fn another(&self, history: bool) -> Self::Outbox;
    /// A transaction that has enqueued `message`.
    async fn open(&self, message: &NewMessage) -> Result<Self::Transaction, StoreError>;
    async fn commit(&self, open: Self::Transaction) -> Result<(), StoreError>;
    async fn rollback(&self, open: Self::Transaction);
    /// Breaks every connection to the outbox.
    async fn cut(&self);
    /// Runs `sql`; where it meets another transaction, the server may end one of the two.
    async fn disturb(&self, sql: &'static str);
    async fn number(&self, sql: &'static str) -> i64;
}

/// A message that arrived, its key and number, and whether it was said to be in doubt.
type Arrived = (MessageId, String, usize, bool);

#[derive(Clone)]
struct Dice(Arc<Mutex<u64>>);

impl Dice {
    fn roll(&self, sides: usize) -> usize {
        let mut state = self.0.lock().unwrap();
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        (*state % sides as u64) as usize
    }
}

/// The far side.
#[derive(Default)]
struct Account {
    /// In their order.
    arrived: Vec<Arrived>,
    /// How many attempts of a message failed.
    failed: HashMap<MessageId, u32>,
    /// What was told to be a later attempt than could be.
    too_many: Vec<usize>,
}

/// Accepts, fails, loses answers, or says that it is down, by the dice.
struct Wild {
    dice: Dice,
    account: Arc<Mutex<Account>>,
}

impl Wild {
    fn fails(&self, delivery: &Delivery) {
        *self.account.lock().unwrap().failed.entry(delivery.message.id).or_default() += 1;
    }

    fn arrives(&self, delivery: &Delivery) {
        let message = &delivery.message;
        let number = String::from_utf8_lossy(&message.payload).parse().unwrap();
        let mut account = self.account.lock().unwrap();
        account.arrived.push((message.id, message.key.clone().unwrap(), number, delivery.in_doubt));
        if delivery.attempt > 1 + account.failed.get(&message.id).copied().unwrap_or_default() {
            account.too_many.push(number);
        }
    }
}

#[async_trait]
impl SendOne for Wild {
    async fn send(&self, delivery: &Delivery) -> Outcome {
        let dice = self.dice.roll(24);
        match dice {
            0..=2 => {
                self.fails(delivery);
                return Outcome::transient("not now");
            }
            3 => return Outcome::unavailable("down"),
            4 => return Outcome::NotSent,
            5 => tokio::time::sleep(Duration::from_millis(self.dice.roll(20) as u64)).await,
            _ => {}
        }
        self.arrives(delivery);
        // A death may strike between the arrival and the answer.
        tokio::time::sleep(Duration::from_millis(1)).await;
        if dice == 6 {
            self.fails(delivery);
            Outcome::ambiguous("the answer was lost")
        } else {
            Outcome::delivered()
        }
    }
}

struct Running {
    task: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Running {
    async fn dies(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    async fn stops(self) {
        let _ = self.stop.send(());
        self.task.await.unwrap();
    }
}

/// A storm of one seed.
struct Storm<'h, H: Home> {
    home: &'h H,
    seed: u64,
    /// Every other storm.
    history: bool,
    dice: Dice,
    account: Arc<Mutex<Account>>,
    /// Transactions that stay open: the message of each, and since which round.
    open: Vec<(usize, usize, H::Transaction)>,
}

impl<H: Home> Storm<'_, H> {
    async fn start(&self) -> Running {
        let wild = Wild { dice: self.dice.clone(), account: Arc::clone(&self.account) };
        let route = Route::topic("t", PerMessage::new(4, wild))
            .retry(FixedDelays::new(vec![Duration::from_millis(2); 1_000]))
            .pause(Duration::from_millis(1), Duration::from_millis(5))
            .batch(8)
            .parallel(3);
        let settings = Settings {
            lease: Duration::from_millis(1_500),
            batch: 16,
            max_held: 64,
            poll_max: Duration::from_millis(200),
            ..Settings::default()
        };
        let outbox = self.home.another(self.history).await;
        let dispatcher = LeasedDispatcher::builder(outbox).settings(settings).route(route).build().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            dispatcher.run_until(stopped).await.unwrap();
        });
        Running { task, stop }
    }

    /// Enqueues message `n` and commits; where it is unknown whether it was, it is done again.
    async fn send(&self, n: usize) {
        for _ in 0..5 {
            if let Ok(open) = self.home.open(&message(n)).await
                && self.home.commit(open).await.is_ok()
            {
                return;
            }
        }
        panic!("seed {}: message {n} cannot be enqueued", self.seed);
    }

    /// Enqueues message `n`, and lets its transaction stay open.
    async fn send_late(&mut self, n: usize, round: usize) {
        match self.home.open(&message(n)).await {
            Ok(open) => self.open.push((n, round, open)),
            Err(_) if n == NEVER => {}
            Err(_) => self.send(n).await,
        }
    }

    /// Ends transactions by the dice, all that are older than `rounds`, and some others.
    async fn end_late(&mut self, round: usize, rounds: usize) {
        let mut next = 0;
        while let Some((_, since, _)) = self.open.get(next) {
            if round - since < rounds && self.dice.roll(12) > 0 {
                next += 1;
                continue;
            }
            let (n, _, open) = self.open.remove(next);
            if n == NEVER {
                self.home.rollback(open).await;
            } else if self.home.commit(open).await.is_err() {
                self.send(n).await;
            }
        }
    }

    async fn rages(&mut self) {
        let mut running = vec![self.start().await, self.start().await];
        for n in 0..MESSAGES {
            self.end_late(n, MOST_ROUNDS).await;
            match self.dice.roll(12) {
                0 if self.open.len() < 4 => self.send_late(n, n).await,
                1 if self.open.len() < 4 => {
                    self.send_late(NEVER, n).await;
                    self.send(n).await;
                }
                _ => self.send(n).await,
            }
            match self.dice.roll(60) {
                0 => {
                    running.swap_remove(self.dice.roll(2)).dies().await;
                    running.push(self.start().await);
                }
                1 => {
                    running.swap_remove(self.dice.roll(2)).stops().await;
                    running.push(self.start().await);
                }
                2 => self.home.cut().await,
                3 => {
                    let retrying = Selection::All { topic: None, state: Some(MessageState::Retrying) };
                    // Where the connection of the act was cut, nothing was done.
                    let _ = self.home.outbox().redrive(&retrying, &Act::new("storm", "now")).await;
                }
                4 => {
                    // Rows move, or are locked for a moment; those of open transactions would be waited for.
                    self.end_late(n, 0).await;
                    self.home.disturb("UPDATE outbox_messages SET payload = payload").await;
                }
                5 | 6 => tokio::time::sleep(Duration::from_millis(self.dice.roll(40) as u64)).await,
                _ => {}
            }
        }
        self.end_late(MESSAGES, 0).await;
        self.passes().await;
        for one in running {
            one.stops().await;
        }
    }

    /// Waits until everything has gone out.
    async fn passes(&self) {
        const LEFT: &str =
            "SELECT (SELECT count(*) FROM outbox_messages) + (SELECT count(*) FROM outbox_deferred)";
        let done = async {
            while self.home.number(LEFT).await > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(60), done).await.is_err() {
            panic!("seed {}: left over: {:?}", self.seed, self.home.outbox().counts().await.unwrap());
        }
    }

    async fn judge(&self) {
        let seed = self.seed;
        let in_flight = self.home.number("SELECT count(*) FROM outbox_journal").await;
        assert_eq!(in_flight, 0, "seed {seed}: in flight for ever");
        let account = std::mem::take(&mut *self.account.lock().unwrap());
        let (mut seen, mut last) = (HashSet::new(), HashMap::new());
        for (id, key, number, in_doubt) in &account.arrived {
            assert_ne!(*number, NEVER, "seed {seed}: arrived though it was rolled back");
            if !seen.insert(*id) {
                assert!(in_doubt, "seed {seed}: {number} came again without a mark");
            } else if let Some(before) = last.insert(key.clone(), *number) {
                assert!(before < *number, "seed {seed}: of {key}, {number} came after {before}");
            }
        }
        assert_eq!(seen.len(), MESSAGES, "seed {seed}: lost, or stored twice");
        assert!(account.too_many.is_empty(), "seed {seed}: attempts from nowhere: {:?}", account.too_many);
        if self.history {
            let history = "SELECT count(DISTINCT id) FROM outbox_history";
            assert_eq!(self.home.number(history).await, MESSAGES as i64, "seed {seed}: not in the history");
            let twice = "SELECT count(*) - count(DISTINCT id) FROM outbox_history";
            assert_eq!(self.home.number(twice).await, 0, "seed {seed}: in the history twice");
        }
    }
}

/// By its idempotency key it is stored once, however often its producer tries.
fn message(n: usize) -> NewMessage {
    let key = if n == NEVER { "never".to_owned() } else { format!("k{}", n % KEYS) };
    let message = NewMessage::builder("t").key(key).payload(n.to_string(), "text/plain");
    if n == NEVER { message } else { message.idempotency_key(n.to_string()) }.build().unwrap()
}

/// A storm over `home`, the same for the same seed as far as the machine lets it.
pub(crate) async fn one(home: &impl Home, seed: u64) {
    let dice = Dice(Arc::new(Mutex::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)));
    let (history, account) = (seed.is_multiple_of(2), Arc::default());
    let mut storm = Storm { home, seed, history, dice, account, open: Vec::new() };
    storm.rages().await;
    storm.judge().await;
}

/// The seeds: two, or as many as `OUTBOX_STORMS` says.
pub(crate) fn seeds() -> std::ops::RangeInclusive<u64> {
    1..=std::env::var("OUTBOX_STORMS").map_or(2, |seeds| seeds.parse().unwrap())
}
