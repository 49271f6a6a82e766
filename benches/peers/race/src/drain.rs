//! Delivering what waits, with a clock, checks, and where asked for refusals or a stall.

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::stop::Running;
use crate::{Arguments, Peer, Receiver, receiver};

/// The figures of a drain.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Drain {
    /// Different messages that were handled, also by a predecessor.
    pub handled: u64,
    /// How often one came again.
    pub twice: u64,
    /// How often one came after a later one of its key.
    pub disorder: u64,
    /// Whether all were handled.
    pub complete: bool,
    /// From the start of the worker to the first message, in seconds.
    pub first_after: f64,
    /// From the start of the worker to the last message, or to the end of patience.
    pub seconds: f64,
    /// Messages a second, from the first message to the last; without the end in sight, from the start to the end of
    /// patience.
    pub rate: f64,
    /// With refusals: the same for those that are never refused.
    pub rate_of_the_willing: f64,
}

impl Drain {
    /// Reads what a program printed.
    pub fn from_figures(figures: Value) -> Result<Self, String> {
        serde_json::from_value(figures).map_err(|error| error.to_string())
    }
}

/// Drains.
pub(crate) async fn run<P: Peer>(peer: P, arguments: &Arguments) -> anyhow::Result<Value> {
    let mut receiver = Receiver::new(arguments.messages, arguments.keys);
    if arguments.failing {
        receiver = receiver.with_refusals();
    }
    let mut known = 0;
    if let Some(path) = &arguments.log {
        let before = std::fs::read(path).unwrap_or_default();
        receiver.knows(before.as_chunks().0.iter().map(|number| u64::from_le_bytes(*number)));
        known = receiver.state().count;
        let log = File::options().create(true).append(true).open(path)?;
        receiver = receiver.with_log(log, arguments.stall_at);
    }
    let patience = Duration::from_secs_f64(arguments.within);
    let started = Instant::now();
    let running = Running::start(Arc::new(peer), receiver.clone());
    let mut willing = arguments.failing.then(|| receiver::willing_among(arguments.messages));
    while receiver.state().count < arguments.messages && started.elapsed() < patience {
        ensure!(!running.has_ended(), "the worker ended before everything was handled");
        if willing.take_if(|willing| receiver.state().willing >= *willing).is_some() {
            println!("others");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut figures = Drain::default();
    {
        let state = receiver.state();
        figures.handled = state.count;
        figures.twice = state.twice;
        figures.disorder = state.disorder;
        figures.complete = state.count >= arguments.messages;
        let since = |instant: Option<Instant>| instant.map_or(0.0, |at| (at - started).as_secs_f64());
        figures.first_after = since(state.first);
        figures.seconds =
            if figures.complete { since(state.latest) } else { started.elapsed().as_secs_f64() };
        let begin = if figures.complete { figures.first_after } else { 0.0 };
        figures.rate = (state.count - known) as f64 / (figures.seconds - begin).max(1e-6);
        let willing = since(state.latest_willing) - figures.first_after;
        figures.rate_of_the_willing = state.willing as f64 / willing.max(1e-6);
    }
    if figures.complete {
        // What is handled is about to be settled; a library that batches this gets the time for it.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    running.stop().await?;
    Ok(serde_json::to_value(figures)?)
}
