//! Random outcomes, random deaths, many seeds: nothing is lost, order per key holds, every duplicate is marked.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use outbox_core::*;

use crate::support::*;

struct Dice(std::sync::Mutex<u64>);

impl Dice {
    fn roll(&self, sides: u64) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state % sides
    }
}

/// Accepts, fails, loses answers, hangs, panics or says that it is down, by the dice, until it is calm.
struct Wild {
    dice: Arc<Dice>,
    calm: Arc<AtomicBool>,
    log: Recorder,
}

#[async_trait]
impl SendOne for Wild {
    async fn send(&self, delivery: &Delivery) -> Outcome {
        if !self.calm.load(Ordering::SeqCst) {
            match self.dice.roll(16) {
                0 | 1 => return Outcome::transient("not now"),
                2 => return Outcome::unavailable("down"),
                3 => return Outcome::NotSent,
                4 => {
                    let _ = self.log.send(delivery).await;
                    return Outcome::ambiguous("lost the answer");
                }
                5 => tokio::time::sleep(Duration::from_millis(self.dice.roll(20))).await,
                6 if self.dice.roll(4) == 0 => panic!("wild"),
                _ => {}
            }
        }
        self.log.send(delivery).await
    }
}

async fn survive(seed: u64) {
    let dice = Arc::new(Dice(std::sync::Mutex::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)));
    let calm = Arc::new(AtomicBool::new(false));
    let outbox = MemoryOutbox::new();
    let store = Flaky::new(outbox.clone());
    store.one_in.store(20, Ordering::SeqCst);
    store.slow.store(seed % 4, Ordering::SeqCst);
    let log = Recorder::accepting();
    let settings = Settings { lease: Duration::from_secs(5), batch: 8, max_held: 24, ..quick() };
    let build = |name: &str| {
        let wild = || Wild { dice: Arc::clone(&dice), calm: Arc::clone(&calm), log: log.clone() };
        let route = |topic: &str| {
            Route::topic(topic, PerMessage::new(3, wild()))
                .retry(FixedDelays::new(vec![Duration::from_millis(1); 1000]))
                .pause(Duration::from_millis(1), Duration::from_millis(5))
                .batch(5)
                .parallel(2)
                .on_dead(OnDead::Park)
        };
        let builder = LeasedDispatcher::builder(store.clone()).name(name).settings(settings.clone());
        Arc::new(builder.route(route("a")).route(route("b")).build().unwrap())
    };
    let total = 240;
    let mut running = start(&build("first"));
    for n in 0..total {
        let topic = if n % 3 == 0 { "a" } else { "b" };
        let key = (n % 7 != 0).then(|| format!("{topic}{}", n % 5));
        commit(&outbox, &[message(topic, key.as_deref(), n)]).await;
        if dice.roll(12) == 0 {
            tokio::time::sleep(Duration::from_millis(dice.roll(6))).await;
        }
        if dice.roll(25) == 0 {
            running.kill().await;
            outbox.advance(Duration::from_secs(6));
            running = start(&build("next"));
        }
    }
    calm.store(true, Ordering::SeqCst);
    store.one_in.store(0, Ordering::SeqCst);
    // Whatever a panic made a dead letter, holding its key, is sent again by a person; everything else arrives by itself.
    let mut redriven: HashSet<MessageId> = HashSet::new();
    let arrived = async {
        loop {
            let parked =
                PageRequest { state: Some(MessageState::Parked), limit: 1000, ..PageRequest::default() };
            let parked: Vec<_> =
                outbox.list(&parked).await.unwrap().messages.iter().map(|parked| parked.id).collect();
            redriven.extend(&parked);
            outbox.redrive(&Selection::Ids(parked), &Act::new("storm", "calm again")).await.unwrap();
            if outbox.counts().await.unwrap().is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, arrived).await.is_err() {
        panic!("seed {seed}: left over: {:?}", outbox.counts().await.unwrap());
    }
    running.stop().await.unwrap();
    let delivered = log.delivered();
    let ids: HashSet<_> = delivered.iter().map(|seen| seen.id).collect();
    assert_eq!(ids.len(), total, "seed {seed}: lost messages");
    log.assert_order();
    let mut first = HashSet::new();
    for again in delivered.iter().filter(|seen| !first.insert(seen.id)) {
        // Who redrives a message answers the doubt: it starts anew.
        assert!(
            again.in_doubt || redriven.contains(&again.id),
            "seed {seed}: a duplicate that is not marked: {again:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_outcomes_and_deaths_lose_nothing_and_keep_order() {
    for seed in 1..=30 {
        tokio::time::timeout(2 * PATIENCE, survive(seed))
            .await
            .unwrap_or_else(|_| panic!("seed {seed} hangs"));
    }
}
