//! [`Ear`]: hears of commits in other processes, and knows whether it does.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use outbox_core::WakeUp;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::notify::{Heard, Notifier};

/// How long connecting and LISTEN may take, and how long a probe may be under way.
const DEADLINE: Duration = Duration::from_secs(5);
/// How often a connection that hears nothing is probed: a network may swallow everything without a word.
const PROBE_EVERY: Duration = Duration::from_secs(30);
/// How long to wait before the next connection, doubled each time.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// How long to wait before another try where nothing can be heard.
const DEAF: Duration = Duration::from_secs(600);

/// A task with a connection that listens, from the first renewal of a dispatcher's lease until no dispatcher of this
/// outbox runs any more.
#[derive(Debug)]
pub(super) struct Ear {
    /// Of its connection; none where a pooler would be listened to.
    options: Option<PgConnectOptions>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// Why a connection is not listened to any more.
enum End {
    /// It could not be had, or broke.
    Lost(String),
    /// LISTEN was accepted, and our own probe did not come back.
    Deaf,
}

impl Ear {
    pub(super) fn new(options: Option<PgConnectOptions>) -> Self {
        Self { options, task: Mutex::default() }
    }

    /// Starts to listen if a dispatcher does and nobody listens for it yet.
    pub(super) fn open(&self, wake_up: &WakeUp, notifier: &Arc<Notifier>) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        let runs = task.as_ref().is_some_and(|task| !task.is_finished());
        if runs || !wake_up.has_listeners() {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        let Some(options) = self.options.clone() else {
            if task.is_none() {
                info!("behind a pooler, commits in other processes are not heard: they are found by polling");
                *task = Some(runtime.spawn(async {}));
            }
            return;
        };
        let (wake_up, notifier) = (wake_up.clone(), Arc::clone(notifier));
        *task = Some(runtime.spawn(async move {
            tokio::select! {
                () = listen(&options, &wake_up, &notifier) => {}
                () = wake_up.unheard() => {}
            }
            wake_up.hears_elsewhere(false);
        }));
    }
}

async fn listen(options: &PgConnectOptions, wake_up: &WakeUp, notifier: &Notifier) {
    let mut retry = RETRY_MIN;
    let mut told = false;
    loop {
        let mut hears = false;
        let mut heard = || {
            if std::mem::replace(&mut told, false) {
                info!("commits of other processes are heard again");
            }
            hears = true;
            wake_up.hears_elsewhere(true);
            // What was committed meanwhile was not heard.
            wake_up.committed();
        };
        let end = listen_once(options, wake_up, notifier, &mut heard).await;
        wake_up.hears_elsewhere(false);
        if hears {
            retry = RETRY_MIN;
        }
        let first = !std::mem::replace(&mut told, true);
        let wait = match end {
            End::Deaf => {
                if first {
                    warn!(
                        "commits of other processes cannot be heard, as behind a pooler in transaction mode: they \
                         are found by polling; give the outbox `own_connections` to the server"
                    );
                }
                DEAF
            }
            End::Lost(error) => {
                if first {
                    warn!(%error, "commits of other processes are not heard for now: they are found by polling");
                } else {
                    debug!(%error, "commits of other processes are still not heard");
                }
                let wait = retry;
                retry = (retry * 2).min(RETRY_MAX);
                wait
            }
        };
        sleep(jittered(wait)).await;
    }
}

/// Listens until the connection ends; calls `heard` once it is known to hear.
async fn listen_once(
    options: &PgConnectOptions,
    wake_up: &WakeUp,
    notifier: &Notifier,
    heard: &mut impl FnMut(),
) -> End {
    let lost = |error: sqlx::Error| End::Lost(error.to_string());
    let mut listener = match timeout(DEADLINE, connect(options, notifier.channel())).await {
        Ok(Ok(listener)) => listener,
        Ok(Err(error)) => return lost(error),
        Err(_late) => return End::Lost(format!("no connection within {DEADLINE:?}")),
    };
    let mut proven = false;
    loop {
        match probe(&mut listener, wake_up, notifier).await {
            Ok(true) if !proven => {
                proven = true;
                heard();
            }
            Ok(true) => {}
            Ok(false) if proven => return End::Lost("the connection fell silent".to_owned()),
            Ok(false) => {
                // A pooler may hand the connection that listens now to others.
                let _ = timeout(DEADLINE, listener.unlisten_all()).await;
                return End::Deaf;
            }
            Err(end) => return end,
        }
        // While something is heard, nothing needs to be probed.
        let mut silent_until = Instant::now() + jittered(PROBE_EVERY);
        loop {
            tokio::select! {
                next = listener.try_recv() => match next {
                    Ok(Some(notification)) => {
                        if notifier.hear(notification.payload()) == Heard::Commit {
                            wake_up.committed();
                        }
                        silent_until = Instant::now() + jittered(PROBE_EVERY);
                    }
                    Ok(None) => return End::Lost("the connection was closed".to_owned()),
                    Err(error) => return lost(error),
                },
                () = sleep_until(silent_until) => break,
            }
        }
    }
}

async fn connect(options: &PgConnectOptions, channel: &str) -> Result<PgListener, sqlx::Error> {
    // A listener wants a pool; this one never holds more than its connection.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(DEADLINE)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_lazy_with(options.clone());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    listener.listen(channel).await?;
    Ok(listener)
}

/// Whether our own probe comes back. It is sent on another connection, so that a pooler cannot answer it by chance.
async fn probe(listener: &mut PgListener, wake_up: &WakeUp, notifier: &Notifier) -> Result<bool, End> {
    let mut sent = None;
    let sending = notifier.probe();
    tokio::pin!(sending);
    let mut until = Instant::now() + 2 * DEADLINE;
    loop {
        tokio::select! {
            number = &mut sending, if sent.is_none() => {
                sent = Some(number);
                until = Instant::now() + DEADLINE;
            }
            next = listener.try_recv() => match next {
                Ok(Some(notification)) => match notifier.hear(notification.payload()) {
                    // The latest one, or one whose sending was cut off before it said so: it comes all the same.
                    Heard::Probe(_) => return Ok(true),
                    Heard::Commit => wake_up.committed(),
                    Heard::Nothing => {}
                },
                Ok(None) => return Err(End::Lost("the connection was closed".to_owned())),
                Err(error) => return Err(End::Lost(error.to_string())),
            },
            () = sleep_until(until) => {
                return match sent {
                    Some(_) => Ok(false),
                    None => Err(End::Lost("no probe could be sent".to_owned())),
                };
            }
        }
    }
}

/// Between half of `wait` and all of it, so that processes do not come back in step.
fn jittered(wait: Duration) -> Duration {
    let dice = Uuid::now_v7().as_u128() as u32;
    wait.mul_f64(0.5 + 0.5 * f64::from(dice) / f64::from(u32::MAX))
}
