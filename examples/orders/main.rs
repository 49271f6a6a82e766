//! Orders become messages on Kafka: a shop, its outbox, and a consumer that works once on what arrives at least once.
//!
//! Read `messages.rs` and `orders.rs` first: there several typed messages are committed together with an order. Then
//! `work.rs` and `consumer.rs`, the other side. This file only connects the parts.
//! `cargo run --example orders --features kafka -- --help` lists what can be set.

#![allow(
    unreachable_pub,
    reason = "a program has no API; `pub` marks what a module offers to its neighbours"
)]

mod broker;
mod consumer;
mod crash;
mod database;
mod messages;
mod orders;
mod settings;
mod story;
mod work;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use outbox::kafka::KafkaTransport;
use outbox::{DispatcherExt, LeasedDispatcher, Route};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

use crate::broker::Broker;
use crate::consumer::Consumer;
use crate::crash::{Die, DiesAfterSending};
use crate::messages::topic;
use crate::orders::Orders;
use crate::settings::{Command, HELP, Settings};
use crate::story::say;

/// After a crash, the next start sends at most this much later.
const LEASE: Duration = Duration::from_secs(6);
/// What the brokers have not acknowledged by then goes out again. At most half of the lease; see the transport.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();

    let done = match Command::read(std::env::args_os().skip(1), |name| std::env::var_os(name)) {
        Ok(Command::Help) => {
            say(HELP);
            Ok(())
        }
        Ok(Command::Run(settings)) => start(settings),
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The development broker stays on this thread, since it cannot be sent to another.
fn start(settings: Settings) -> Result<()> {
    let broker = Broker::at(settings.kafka_brokers.clone(), &settings.topic_prefix)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(run(settings, &broker.address, broker.own.is_some()))
}

async fn run(settings: Settings, brokers: &str, own: bool) -> Result<()> {
    let data_dir = prepare(&settings.data_dir)?;
    let database = database::open(settings.database_url.as_deref(), &data_dir).await?;
    let (kind, place) = database.name();
    say("Orders become messages on Kafka.\n");
    say(format!("  database  {kind}, {place}"));
    say(format!("  brokers   {brokers}{}", if own { " (inside this process, for development)" } else { "" }));

    if !own {
        broker::create_topics(brokers, &settings.topic_prefix).await?;
    }

    // The dispatcher: publishes what was committed, until the brokers have acknowledged it.
    let kafka = KafkaTransport::builder()
        .brokers(brokers)
        .topic_prefix(&settings.topic_prefix)
        .delivery_timeout(DELIVERY_TIMEOUT)
        .build()
        .context("KAFKA_BROKERS cannot be used")?;
    let route = match settings.die {
        Some(Die::Sending) => Route::prefix(topic::PREFIX, DiesAfterSending(kafka)),
        _ => Route::prefix(topic::PREFIX, kafka),
    };
    let dispatcher = LeasedDispatcher::builder(database.store())
        .name("orders")
        .settings(outbox::Settings { lease: LEASE, ..outbox::Settings::default() })
        .route(route)
        .build()?;
    let consumer = Consumer::new(brokers, &settings.topic_prefix, Arc::clone(&database), settings.die)?;

    let (stop, stopped) = watch::channel(false);
    let until_stopped = move || {
        let mut stopped = stopped.clone();
        // An error means that `stop` is gone, and with it everything else.
        async move { drop(stopped.wait_for(|stop| *stop).await) }
    };
    let mut dispatching = tokio::spawn({
        let stopped = until_stopped();
        async move { dispatcher.run_until(stopped).await }
    });
    let consuming = tokio::spawn(consumer.run(until_stopped()));

    let shop = Orders::new(Arc::clone(&database));
    let told = tokio::select! {
        told = story::tell(&shop, &*database, settings.orders) => told,
        _ = tokio::signal::ctrl_c() => Err(anyhow!("stopped; the next start goes on with what was under way")),
        ended = &mut dispatching => return Err(match ended {
            Ok(Err(error)) => anyhow!(error).context("the dispatcher stopped by itself"),
            _ => anyhow!("the dispatcher stopped by itself"),
        }),
    };
    stop.send_replace(true);
    dispatching.await.context("the dispatcher failed")?.context("not everything was settled")?;
    consuming.await.context("the consumer failed")??;
    told
}

/// Creates the data folder if need be. Git ignores one that was created.
fn prepare(data_dir: &Path) -> Result<PathBuf> {
    let cannot = || format!("cannot create the data folder {}", data_dir.display());
    if !data_dir.exists() {
        std::fs::create_dir_all(data_dir).with_context(cannot)?;
        std::fs::write(data_dir.join(".gitignore"), "*\n").with_context(cannot)?;
    }
    data_dir.canonicalize().with_context(cannot)
}
