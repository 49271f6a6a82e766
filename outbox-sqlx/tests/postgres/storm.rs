//! Random outcomes, deaths, broken connections and acts: nothing is lost, keys keep their order, duplicates are marked,
//! and nothing stays behind.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outbox_core::{
    Act, Delivery, DispatcherExt, FixedDelays, LeasedDispatcher, MessageId, MessageState, OutboxAdmin,
    Outcome, PerMessage, Route, Selection, SendOne, Settings, async_trait,
};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::fixture::{Schema, message};

const MESSAGES: usize = 400;
const KEYS: usize = 25;

/// What arrived, in order: the message, its key and number, and whether it was said to be in doubt.
type Arrived = Arc<Mutex<Vec<(MessageId, String, usize, bool)>>>;

#[derive(Clone)]
struct Dice(Arc<Mutex<u64>>);

impl Dice {
    fn roll(&self, sides: u64) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state % sides
    }
}

/// Accepts, fails, loses answers, or says that it is down, by the dice.
struct Wild {
    dice: Dice,
    arrived: Arrived,
}

#[async_trait]
impl SendOne for Wild {
    async fn send(&self, delivery: &Delivery) -> Outcome {
        let dice = self.dice.roll(24);
        match dice {
            0..=2 => return Outcome::transient("not now"),
            3 => return Outcome::unavailable("down"),
            4 => return Outcome::NotSent,
            5 => tokio::time::sleep(Duration::from_millis(self.dice.roll(20))).await,
            _ => {}
        }
        let message = &delivery.message;
        let number = String::from_utf8_lossy(&message.payload).parse().unwrap();
        let arrived = (message.id, message.key.clone().unwrap(), number, delivery.in_doubt);
        self.arrived.lock().unwrap().push(arrived);
        // A death may strike between the arrival and the answer.
        tokio::time::sleep(Duration::from_millis(1)).await;
        if dice == 6 { Outcome::ambiguous("the answer was lost") } else { Outcome::delivered() }
    }
}

struct Running {
    task: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

async fn start(schema: &Schema, dice: &Dice, arrived: &Arrived) -> Running {
    let wild = Wild { dice: dice.clone(), arrived: Arc::clone(arrived) };
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
    let outbox = schema.elsewhere().await;
    let dispatcher = LeasedDispatcher::builder(outbox).settings(settings).route(route).build().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(async move {
        dispatcher.run_until(stopped).await.unwrap();
    });
    Running { task, stop }
}

async fn survive(seed: u64) {
    let schema = Schema::with(|builder| builder.history(seed.is_multiple_of(2))).await;
    let dice = Dice(Arc::new(Mutex::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)));
    let arrived = Arrived::default();
    let mut running = vec![start(&schema, &dice, &arrived).await, start(&schema, &dice, &arrived).await];
    for n in 0..MESSAGES {
        schema.send(&[message(&format!("k{}", n % KEYS), &n.to_string())]).await;
        match dice.roll(60) {
            0 => {
                let dies = running.swap_remove(dice.roll(2) as usize);
                dies.task.abort();
                let _ = dies.task.await;
                running.push(start(&schema, &dice, &arrived).await);
            }
            1 => schema.cut().await,
            2 => {
                let retrying = Selection::All { topic: None, state: Some(MessageState::Retrying) };
                // Where the connection of the act was cut, nothing was done.
                let _ = schema.outbox.redrive(&retrying, &Act::new("storm", "now")).await;
            }
            3 => {
                // Rows move. It may meet a settlement, and one of the two is then ended by the server.
                let moves = "UPDATE outbox_messages SET payload = payload";
                let _ = sqlx::query(moves).execute(&schema.pool).await;
            }
            4 | 5 => tokio::time::sleep(Duration::from_millis(dice.roll(40))).await,
            _ => {}
        }
    }
    let left = "SELECT (SELECT count(*) FROM outbox_messages) + (SELECT count(*) FROM outbox_deferred)";
    let done = async {
        while schema.number(left).await > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(60), done).await.is_err() {
        panic!("seed {seed}: left over: {:?}", schema.outbox.counts().await.unwrap());
    }
    for one in running {
        let _ = one.stop.send(());
        one.task.await.unwrap();
    }
    assert_eq!(
        schema.number("SELECT count(*) FROM outbox_journal").await,
        0,
        "seed {seed}: in flight for ever"
    );
    let arrived = std::mem::take(&mut *arrived.lock().unwrap());
    let (mut seen, mut last) = (HashSet::new(), HashMap::new());
    for (id, key, number, in_doubt) in &arrived {
        if !seen.insert(*id) {
            assert!(in_doubt, "seed {seed}: {number} came again without a mark");
        } else if let Some(before) = last.insert(key.clone(), *number) {
            assert!(before < *number, "seed {seed}: of {key}, {number} came after {before}");
        }
    }
    assert_eq!(seen.len(), MESSAGES, "seed {seed}: lost");
    if seed.is_multiple_of(2) {
        let history = "SELECT count(*) - count(DISTINCT id) FROM outbox_history";
        assert_eq!(schema.number(history).await, 0, "seed {seed}: in the history twice");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn random_outcomes_deaths_cuts_and_acts_lose_nothing_and_keep_the_order() {
    for seed in 1..=3 {
        survive(seed).await;
    }
}
