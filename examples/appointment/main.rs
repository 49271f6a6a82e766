//! A booking becomes a calendar invitation: an HTTP API, a database with an outbox (an SQLite file, unless another is
//! named), and mail by SMTP.
//!
//! Read `booking.rs` first: it is where appointment and message are committed together. This file only connects
//! the parts. `cargo run --example appointment -- --help` lists what can be set.

#![allow(
    unreachable_pub,
    reason = "a program has no API; `pub` marks what a module offers to its neighbours"
)]

mod api;
mod booking;
mod client;
mod database;
mod form;
mod idempotency;
mod invite;
mod mailbox;
mod problem;
mod serve;
mod settings;
mod stop;
mod story;

use std::convert::Infallible;
use std::io::IsTerminal;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use outbox::smtp::SmtpTransport;
use outbox::{DispatcherExt, LeasedDispatcher, Route};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinError;
use tracing_subscriber::EnvFilter;

use crate::booking::Bookings;
use crate::mailbox::Mailbox;
use crate::settings::{Command, HELP, Settings};
use crate::stop::StopSignals;
use crate::story::say;

/// After a crash, at most this many invitations can go out twice: those that were under way.
const MAX_IN_FLIGHT: usize = 32;
/// How long requests may still take after Ctrl-C. Short, since a browser's idle connection uses up all of it.
const LAST_REQUESTS: Duration = Duration::from_secs(2);
/// How long mails under way may still take after Ctrl-C; what is not done by then, the next start does.
const LAST_DELIVERIES: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> ExitCode {
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
        Ok(Command::Serve(settings)) => run(settings).await,
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

async fn run(settings: Settings) -> Result<()> {
    let mut signals = StopSignals::listen()?;
    let data_dir = prepare(&settings.data_dir)?;
    let (stop, stopped) = watch::channel(false);
    let until_stopped = move || {
        let mut stopped = stopped.clone();
        // An error means that `stop` is gone, and with it everything else.
        async move { drop(stopped.wait_for(|stop| *stop).await) }
    };

    // The database: the service's own tables, and the outbox's beside them.
    let database = database::open(settings.database_url.as_deref(), &data_dir).await?;
    let bookings = Bookings::new(Arc::clone(&database), settings.mail_from.clone());

    // Where mail goes: to a real relay, or to a folder.
    let (smtp_url, mailbox) = match &settings.smtp_url {
        Some(url) => (url.clone(), None),
        None => {
            let mailbox = Mailbox::start(data_dir.join("mailbox")).await?;
            (mailbox.url(), Some(mailbox))
        }
    };
    let smtp = SmtpTransport::from_url(&smtp_url).context("SMTP_URL cannot be used")?;

    // The front door is opened first: if that fails, no dispatcher has taken a lease yet.
    let listener = listen(settings.bind.as_deref()).await?;
    let mut api = listener.local_addr().context("cannot start the HTTP API")?;
    if api.ip().is_unspecified() {
        // It listens on every address of the machine; this one can be called from here.
        api.set_ip(Ipv4Addr::LOCALHOST.into());
    }

    // The dispatcher: delivers what was committed, until it is accepted.
    let dispatcher = LeasedDispatcher::builder(database.store())
        .name("appointment")
        .settings(outbox::Settings {
            lease: settings.lease,
            shutdown_within: LAST_DELIVERIES,
            ..outbox::Settings::default()
        })
        .route(Route::topic(invite::TOPIC, smtp).max_in_flight(MAX_IN_FLIGHT, 32 * 1024 * 1024))
        .build()?;
    let mut dispatching = tokio::spawn({
        let stopped = until_stopped();
        async move { dispatcher.run_until(stopped).await }
    });

    let mut serving = tokio::spawn(serve::serve(listener, api::router(bookings), until_stopped()));

    say("A booking becomes a calendar invitation.\n");
    say(format!("  data folder  {}", data_dir.display()));
    say(format!("  HTTP API     http://{api}"));
    match &mailbox {
        Some(mailbox) => say(format!(
            "  mailbox      {} (for development; mails land in {})",
            mailbox.url(),
            mailbox.folder().path().display()
        )),
        None => say("  mail goes to the relay of SMTP_URL"),
    }

    let work = async {
        let told = story::tell(api, &settings, &*database, mailbox.as_ref()).await;
        if settings.once {
            return told;
        }
        if let Err(error) = told {
            say(format!("\nThe sample did not arrive: {error:#}"));
        }
        say("\nServing until Ctrl-C.");
        std::future::pending().await
    };
    let result = tokio::select! {
        done = work => done,
        () = signals.next() => match settings.once {
            true => Err(anyhow!("stopped before the sample was delivered")),
            false => Ok(()),
        },
        ended = &mut serving => Err(ended_early("HTTP API", ended.map(Ok::<_, Infallible>))),
        ended = &mut dispatching => Err(ended_early("dispatcher", ended)),
    };

    // No more requests and no more deliveries; the mailbox outlives both. A second Ctrl-C does not wait.
    stop.send_replace(true);
    if !settings.once {
        say("\nStopping; Ctrl-C again stops at once.");
    }
    let wind_down = async {
        if !serving.is_finished() {
            let _ = tokio::time::timeout(LAST_REQUESTS, serving).await;
        }
        if !dispatching.is_finished() {
            dispatching
                .await
                .context("the dispatcher failed")?
                .context("not all deliveries were finished")?;
        }
        Ok(())
    };
    let ended = tokio::select! {
        ended = wind_down => ended,
        () = signals.next() => Err(anyhow!("stopped at once; the next start goes on with what was under way")),
    };
    drop(mailbox);
    result.and(ended)
}

/// Creates the data folder if need be. Git ignores one that was created: nobody commits a mailbox by mistake.
fn prepare(data_dir: &Path) -> Result<PathBuf> {
    let cannot = || format!("cannot create the data folder {}", data_dir.display());
    if !data_dir.exists() {
        std::fs::create_dir_all(data_dir).with_context(cannot)?;
        std::fs::write(data_dir.join(".gitignore"), "*\n").with_context(cannot)?;
    }
    data_dir.canonicalize().with_context(cannot)
}

/// Port 5000 is taken on many machines, so unless the address was chosen, any free port will do.
async fn listen(bind: Option<&str>) -> Result<TcpListener> {
    const USUAL: &str = "127.0.0.1:5000";
    if let Some(address) = bind {
        return TcpListener::bind(address).await.with_context(|| {
            format!("cannot listen on BIND={address}; it must be a free address like {USUAL}")
        });
    }
    match TcpListener::bind(USUAL).await {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot start the HTTP API")?;
            say("Port 5000 is taken, so the API gets a free port; set BIND to choose one.\n");
            Ok(listener)
        }
        usual => {
            usual.with_context(|| format!("cannot listen on {USUAL}; set BIND to choose another address"))
        }
    }
}

/// Why a part that should run until it is stopped did not.
fn ended_early<T, E>(part: &str, ended: Result<Result<T, E>, JoinError>) -> anyhow::Error
where
    E: std::error::Error + Send + Sync + 'static,
{
    let what = format!("the {part} stopped by itself");
    match ended {
        Ok(Ok(_)) => anyhow!(what),
        Ok(Err(error)) => anyhow!(error).context(what),
        Err(panicked) => anyhow!(panicked).context(what),
    }
}
