//! A slow, steady flow: how long from the commit to the handler.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use crate::stop::Running;
use crate::{Arguments, Body, Peer, Receiver};

/// Messages a second.
const RATE: f64 = 50.0;

/// Messages that come first and are not counted: connections are opened and statements prepared.
const WARM_UP: u64 = 25;

pub(crate) async fn run<P: Peer>(peer: P, arguments: &Arguments) -> Result<Value> {
    peer.migrate().await?;
    let peer = Arc::new(peer);
    let messages = WARM_UP + (arguments.seconds * RATE) as u64;
    let receiver = Receiver::new(messages, arguments.keys).with_times();
    let running = Running::start(Arc::clone(&peer), receiver.clone());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / RATE));
    let mut committed = Vec::new();
    for number in 0..messages {
        if number == WARM_UP {
            println!("begin");
        }
        ticks.tick().await;
        committed.push(peer.enqueue(vec![Body::new(number)]).await?);
    }
    println!("end");
    let last = Instant::now();
    while receiver.state().count < messages && last.elapsed() < Duration::from_secs(5) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let times = receiver.state().times.take().unwrap_or_default();
    let mut waits: Vec<u64> = Vec::new();
    for (number, commit) in (0..).zip(&committed).skip(WARM_UP as usize) {
        // A handler may run before the producer hears of its commit.
        let wait = times.get(&number).map(|handled| handled.saturating_duration_since(*commit));
        waits.extend(wait.map(|wait| u64::try_from(wait.as_micros()).unwrap_or(u64::MAX)));
    }
    waits.sort_unstable();
    let percentile = |share: f64| {
        let index = ((waits.len() as f64 * share).ceil() as usize).max(1) - 1;
        waits.get(index).copied()
    };
    let figures = json!({
        "sent": messages - WARM_UP,
        "handled": waits.len(),
        "p50_us": percentile(0.5),
        "p99_us": percentile(0.99),
        "max_us": waits.last(),
    });
    running.stop().await?;
    Ok(figures)
}
