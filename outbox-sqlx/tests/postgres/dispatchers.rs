//! Several dispatchers side by side, killed at random: nothing is lost, keys keep their order, duplicates are marked.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use outbox_core::{
    Delivery, Dispatcher, LeasedDispatcher, MessageId, Outcome, PerMessage, Route, SendOne, Settings,
    async_trait,
};
use tokio::task::JoinHandle;

use crate::fixture::{Schema, message};

/// Where dispatchers die: what they had goes on soon.
const SHORT: Duration = Duration::from_secs(1);

/// What the receiving side got, in the order in which it came.
#[derive(Clone, Default)]
struct Receiver {
    got: Arc<Mutex<Vec<Got>>>,
}

#[derive(Clone)]
struct Got {
    id: MessageId,
    key: String,
    number: usize,
    in_doubt: bool,
    by: usize,
}

struct Sender {
    receiver: Receiver,
    by: usize,
}

#[async_trait]
impl SendOne for Sender {
    async fn send(&self, delivery: &Delivery) -> Outcome {
        let message = &delivery.message;
        let number = String::from_utf8_lossy(&message.payload).parse().unwrap();
        let got = Got {
            id: message.id,
            key: message.key.clone().unwrap(),
            number,
            in_doubt: delivery.in_doubt,
            by: self.by,
        };
        self.receiver.got.lock().unwrap().push(got);
        // A kill may strike between the arrival and the answer.
        tokio::time::sleep(Duration::from_millis(15)).await;
        Outcome::delivered()
    }
}

impl Receiver {
    fn distinct(&self) -> usize {
        self.got.lock().unwrap().iter().map(|got| got.id).collect::<HashSet<_>>().len()
    }

    async fn wait_for(&self, count: usize) {
        let started = Instant::now();
        while self.distinct() < count {
            assert!(started.elapsed() < Duration::from_secs(90), "{} of {count} arrived", self.distinct());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Panics if a first delivery came out of order, or a duplicate unmarked; answers the number of duplicates.
    fn check(&self) -> usize {
        let (mut seen, mut next) = (HashSet::new(), HashMap::new());
        let mut duplicates = 0;
        for got in self.got.lock().unwrap().iter() {
            if !seen.insert(got.id) {
                assert!(got.in_doubt, "a duplicate of key {} was not marked", got.key);
                duplicates += 1;
                continue;
            }
            let expected = next.entry(got.key.clone()).or_insert(0);
            assert_eq!(got.number, *expected, "first deliveries of key {} in their order", got.key);
            *expected += 1;
        }
        duplicates
    }
}

/// A dispatcher with connections of its own, as in another process; aborting the task is its death.
async fn start(schema: &Schema, receiver: &Receiver, by: usize, lease: Duration) -> JoinHandle<()> {
    let settings = Settings {
        lease,
        batch: 20,
        max_held: 60,
        poll_min: Duration::from_millis(5),
        poll_max: Duration::from_millis(100),
        ..Settings::default()
    };
    let sender = Sender { receiver: receiver.clone(), by };
    let dispatcher = LeasedDispatcher::builder(schema.elsewhere().await)
        .name(format!("dispatcher {by}"))
        .settings(settings)
        .route(Route::topic("t", PerMessage::new(8, sender)))
        .build()
        .unwrap();
    tokio::spawn(async move {
        let _ = dispatcher.run(Box::pin(std::future::pending())).await;
    })
}

/// Commits messages of 40 keys until there are `count`.
async fn produce(schema: &Schema, count: usize) {
    let mut numbers = [0_usize; 40];
    for n in 0..count {
        let key = (n * 7 + n / 40) % 40;
        schema.send(&[message(&key.to_string(), &numbers[key].to_string())]).await;
        numbers[key] += 1;
    }
}

async fn survive_kills(dispatchers: usize, kills: usize) {
    let schema = Schema::new().await;
    let receiver = Receiver::default();
    let mut running = Vec::new();
    for by in 0..dispatchers {
        running.push(start(&schema, &receiver, by, SHORT).await);
    }
    let count = 1_500;
    let producing = produce(&schema, count);
    let killing = async {
        for kill in 0..kills {
            tokio::time::sleep(Duration::from_millis(350 + 90 * (kill as u64 % 3))).await;
            let victim = kill % dispatchers;
            running[victim].abort();
            running[victim] = start(&schema, &receiver, dispatchers + kill, SHORT).await;
        }
    };
    tokio::join!(producing, killing);
    receiver.wait_for(count).await;
    let duplicates = receiver.check();
    println!("{dispatchers} dispatchers, {kills} kills: {duplicates} duplicates of {count}");
    assert!(duplicates <= kills * 60, "at most what was in flight: {duplicates}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn two_dispatchers_that_are_killed_lose_nothing_and_keep_the_order() {
    survive_kills(2, 8).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn three_dispatchers_that_are_killed_lose_nothing_and_keep_the_order() {
    survive_kills(3, 8).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn a_dispatcher_that_joins_gets_its_share_of_the_work_without_a_duplicate() {
    let schema = Schema::new().await;
    let receiver = Receiver::default();
    // Nobody dies, so no lease may be lost, however busy the machine is.
    let long = Duration::from_secs(10);
    let first = start(&schema, &receiver, 1, long).await;
    produce(&schema, 200).await;
    receiver.wait_for(200).await;
    let second = start(&schema, &receiver, 2, long).await;
    let shared = async {
        // The newcomer owns its half after a renewal or two of the other.
        while schema.number("SELECT count(DISTINCT epoch) FROM outbox_leases WHERE epoch IS NOT NULL").await
            < 2
            || schema.number("SELECT count(*) FROM outbox_leases WHERE epoch IS NULL").await > 0
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), shared).await.expect("the slots are shared");
    let more: Vec<_> = (0..400).map(|n| message(&format!("later {n}"), "0")).collect();
    schema.send(&more).await;
    receiver.wait_for(600).await;
    assert_eq!(receiver.check(), 0, "a hand-over is no death");
    let by_second = receiver.got.lock().unwrap().iter().filter(|got| got.by == 2).count();
    assert!((100..=300).contains(&by_second), "about half of the keys, not {by_second} of 400");
    first.abort();
    second.abort();
}
