//! A steady flow of messages into an outbox while a dispatcher delivers them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};

use crate::database::Bed;
use crate::figures::percentile;
use crate::library::{self, Running};
use crate::load::Load;
use crate::machine;
use crate::receiver::Receiver;
use crate::watched::Watched;

const KEYS: usize = 1_000;

/// How often the producer commits.
const TICK: Duration = Duration::from_millis(10);

/// What was seen, by the second.
pub(crate) struct Flow {
    /// Claims that brought something: when, in seconds, and how long they took, in milliseconds.
    pub(crate) claims: Vec<(f64, f64)>,
    /// Messages that were committed and not delivered.
    pub(crate) backlog: Vec<(f64, f64)>,
    /// From the commit to the delivery, in milliseconds.
    pub(crate) latencies: Vec<f64>,
    pub(crate) delivered_a_second: f64,
    /// Processor time of this process, which enqueues and delivers, and of the server, µs a message.
    pub(crate) own: f64,
    pub(crate) server: f64,
}

impl Flow {
    /// The median claim in each second.
    pub(crate) fn claims_by_second(&self) -> Vec<(f64, f64)> {
        let last = self.claims.iter().map(|(at, _)| *at as usize).max().unwrap_or(0);
        let median =
            |second: usize| Some((second as f64, self.claims_between(second as f64, second as f64 + 1.0)?));
        (0..=last).filter_map(median).collect()
    }

    /// The median claim between two moments, in milliseconds.
    pub(crate) fn claims_between(&self, from: f64, to: f64) -> Option<f64> {
        let among = self.claims.iter().filter(|(at, _)| (from..to).contains(at));
        let among: Vec<f64> = among.map(|(_, took)| *took).collect();
        (!among.is_empty()).then(|| percentile(&among, 0.5))
    }
}

/// `rate` messages a second for `lasts`; then everything is delivered and checked.
pub(crate) async fn flow(bed: &dyn Bed, rate: usize, lasts: Duration) -> Flow {
    let watched = Watched::new(bed.store());
    let claims = watched.claims();
    let total = rate * lasts.as_secs() as usize;
    let receiver = Receiver::with_times(total, KEYS);
    let running = Running::start(Arc::new(watched), library::settings(None), receiver.clone());
    let (own, server) = (machine::own_time(), bed.server_time().await);

    let started = Instant::now();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut committed, mut backlog) = (vec![started; total], Vec::new());
    let (mut sent, mut second) = (0, 0);
    while sent < total {
        ticks.tick().await;
        let due = (started.elapsed().as_secs_f64() * rate as f64) as usize;
        let to = due.min(total).min(sent + rate / 10);
        if to > sent {
            bed.enqueue(&Load { from: sent, to, keys: KEYS }.messages()).await;
            committed[sent..to].fill(Instant::now());
            sent = to;
        }
        if started.elapsed().as_secs() >= second {
            let behind = sent.saturating_sub(receiver.count());
            backlog.push((second as f64, behind as f64));
            if second % 10 == 0 {
                eprintln!("      {second} s: {sent} committed, {behind} not delivered yet");
            }
            second += 1;
        }
    }
    receiver.wait().await;
    let took = started.elapsed().as_secs_f64();
    let (own, server) = (machine::own_time() - own, bed.server_time().await - server);
    running.stop().await;
    receiver.check(total, bed.left().await);

    let arrived = receiver.times();
    let late =
        |number: usize| arrived[number].expect("it arrived").saturating_duration_since(committed[number]);
    let claims = claims.lock().expect("nobody panics");
    Flow {
        claims: claims
            .iter()
            .map(|(at, took)| (at.saturating_duration_since(started).as_secs_f64(), took.as_secs_f64() * 1e3))
            .collect(),
        backlog,
        latencies: (0..total).map(|number| late(number).as_secs_f64() * 1e3).collect(),
        delivered_a_second: total as f64 / took,
        own: own * 1e6 / total as f64,
        server: server * 1e6 / total as f64,
    }
}
