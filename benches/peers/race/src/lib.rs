//! The race of this library against others: what every program in it does in the same way.
//!
//! A program brings one library as a [`Peer`] and hands it to [`main`]. It is started once per task, with the task and
//! its arguments on the command line, and prints one line of JSON. Before it, `flow` and `idle` print the lines `begin`
//! and `end` around what is measured, for who counts the transactions, and a `drain` with refusals prints the line
//! `others` when only those wait that were refused:
//!
//! | task | what it does | figures |
//! | --- | --- | --- |
//! | `about` | nothing | name, settings, the SQL that shows what is left, what it cannot do and why |
//! | `fill` | creates the tables, unless `--again`, and enqueues `--messages`, 100 a transaction | `seconds` |
//! | `drain` | delivers what waits, until it was all seen or `--within` seconds are over | see [`Drain`](drain::Drain) |
//! | `flow` | enqueues 50 messages a second, one a transaction, and delivers them | commit → handler, in µs |
//! | `idle` | runs with nothing to do for `--seconds` | none |
//!
//! The bodies, the handler and the checks are the same for all; this crate names no database crate, so that libraries
//! on different versions of one can use it.

mod arguments;
mod body;
pub mod drain;
mod flow;
mod peer;
mod receiver;
mod stop;

pub use arguments::{Arguments, Task};
pub use body::{BODY_BYTES, Body};
pub use peer::{About, Peer, Tuning};
pub use receiver::Receiver;
pub use stop::Stop;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

/// Messages a transaction when a table is filled.
pub const PER_TRANSACTION: u64 = 100;

/// Runs the task that the command line names and prints its figures.
pub fn main<P: Peer>() -> ExitCode {
    speak_for::<P>(std::env::args().skip(1))
}

/// The same, with the words of a command line.
pub fn speak_for<P: Peer>(words: impl IntoIterator<Item = String>) -> ExitCode {
    let figures = Arguments::read(words).and_then(|arguments| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(run::<P>(arguments))
    });
    match figures {
        Ok(figures) => {
            println!("{figures}");
            // Whatever a library still runs ends with the process.
            std::process::exit(0)
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run<P: Peer>(arguments: Arguments) -> Result<Value> {
    if arguments.task == Task::About {
        return Ok(serde_json::to_value(P::about())?);
    }
    let peer = P::open(&arguments).await?;
    match arguments.task {
        Task::About => unreachable!("answered above"),
        Task::Fill => fill(&peer, &arguments).await,
        Task::Drain => drain::run(peer, &arguments).await,
        Task::Flow => flow::run(peer, &arguments).await,
        Task::Idle => idle(peer, &arguments).await,
    }
}

async fn fill<P: Peer>(peer: &P, arguments: &Arguments) -> Result<Value> {
    if !arguments.again {
        peer.migrate().await?;
    }
    let started = Instant::now();
    let mut next = 0;
    while next < arguments.messages {
        let end = arguments.messages.min(next + PER_TRANSACTION);
        peer.enqueue((next..end).map(Body::new).collect()).await?;
        next = end;
    }
    Ok(json!({ "seconds": started.elapsed().as_secs_f64() }))
}

async fn idle<P: Peer>(peer: P, arguments: &Arguments) -> Result<Value> {
    peer.migrate().await?;
    let running = stop::Running::start(peer.into(), Receiver::new(0, 0));
    // Opening connections and finding out that there is nothing to do is not idleness.
    tokio::time::sleep(Duration::from_secs(8)).await;
    println!("begin");
    tokio::time::sleep(Duration::from_secs_f64(arguments.seconds)).await;
    println!("end");
    tokio::time::sleep(Duration::from_millis(200)).await;
    running.stop().await?;
    Ok(json!({}))
}
