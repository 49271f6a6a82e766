//! [`Notifier`]: tells the dispatchers of other processes that something was committed.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::debug;
use uuid::Uuid;

/// What a NOTIFY waits for the next one at least, while commits go on. Each takes a lock that all who notify in the
/// cluster share, wakes every listener, and makes its dispatcher look.
const AT_MOST_EVERY: Duration = Duration::from_millis(5);
/// How long connecting, or one NOTIFY, may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// After how long without a commit the connection is closed.
const IDLE: Duration = Duration::from_secs(600);
/// How long to wait after an error, doubled each time.
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// Notifies after the commit, never inside the transaction: a NOTIFY there takes a lock of the whole database until
/// the commit is durable, one transaction after the other. The first commit is told at once, those that follow
/// closely together. The work is done by a task with a connection of its own, which starts with the first commit and
/// ends with the last clone; no caller waits for it, and an error costs no more than the time until the next poll.
#[derive(Debug)]
pub(super) struct Notifier {
    options: PgConnectOptions,
    channel: String,
    /// Tells our own notifications from those of others: the bell of this process rang already.
    sign: String,
    asked: watch::Sender<Asked>,
    /// The number of the last probe that was sent.
    probed: watch::Sender<u64>,
    starting: Mutex<()>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Asked {
    commits: u64,
    probes: u64,
}

impl Notifier {
    /// Notifies on `channel`, a checked name.
    pub(super) fn new(options: PgConnectOptions, channel: String) -> Self {
        let sign = Uuid::now_v7().simple().to_string();
        let (asked, probed) = (watch::Sender::default(), watch::Sender::default());
        Self { options, channel, sign, asked, probed, starting: Mutex::default() }
    }

    pub(super) fn channel(&self) -> &str {
        &self.channel
    }

    /// Something was committed. Returns at once; does nothing outside of a runtime.
    pub(super) fn committed(&self) {
        if self.start() {
            self.asked.send_modify(|asked| asked.commits += 1);
        }
    }

    /// Sends a notification that [`Heard::Probe`] recognises; its number once it is sent.
    pub(super) async fn probe(&self) -> u64 {
        let mut probed = self.probed.subscribe();
        let mut number = 0;
        if self.start() {
            self.asked.send_modify(|asked| {
                asked.probes += 1;
                number = asked.probes;
            });
        }
        // We hold the sender: it cannot be gone.
        let _ = probed.wait_for(|sent| *sent >= number).await;
        number
    }

    /// What a notification says.
    pub(super) fn hear(&self, payload: &str) -> Heard {
        match payload.strip_prefix("probe ") {
            Some(probe) => match probe.strip_prefix(self.sign.as_str()).map(|number| number.trim().parse()) {
                Some(Ok(number)) => Heard::Probe(number),
                _ => Heard::Nothing,
            },
            None if payload == self.sign => Heard::Nothing,
            None => Heard::Commit,
        }
    }

    /// Makes sure that the task runs: another runtime may have taken it along when it ended.
    fn start(&self) -> bool {
        if self.asked.receiver_count() > 0 {
            return true;
        }
        let Ok(runtime) = Handle::try_current() else { return false };
        let _starting = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        if self.asked.receiver_count() == 0 {
            // Before the task runs, there is more to tell.
            let asked = self.asked.subscribe();
            let told = *asked.borrow();
            let task = Task {
                options: self.options.clone(),
                channel: self.channel.clone(),
                sign: self.sign.clone(),
                asked,
                told,
                probed: self.probed.clone(),
                connection: None,
            };
            runtime.spawn(task.run());
        }
        true
    }
}

/// What a notification says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// Another process committed something.
    Commit,
    /// Our own probe came back.
    Probe(u64),
    /// Our own commit, or the probe of another process.
    Nothing,
}

struct Task {
    options: PgConnectOptions,
    channel: String,
    sign: String,
    asked: watch::Receiver<Asked>,
    told: Asked,
    probed: watch::Sender<u64>,
    connection: Option<PgConnection>,
}

impl Task {
    async fn run(mut self) {
        let mut retry = RETRY_MIN;
        loop {
            match timeout(IDLE, self.asked.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_gone)) => return,
                Err(_idle) => {
                    self.connection = None;
                    continue;
                }
            }
            let asked = *self.asked.borrow_and_update();
            match timeout(DEADLINE, self.tell(asked)).await {
                Ok(Ok(())) => {
                    self.told = asked;
                    retry = RETRY_MIN;
                    self.probed
                        .send_if_modified(|sent| std::mem::replace(sent, asked.probes) != asked.probes);
                    sleep(AT_MOST_EVERY).await;
                    continue;
                }
                Ok(Err(error)) => debug!(%error, "could not notify the other dispatchers: they will poll"),
                Err(_late) => {
                    debug!("could not notify the other dispatchers within {DEADLINE:?}: they will poll")
                }
            }
            // Whatever state it is in.
            self.connection = None;
            if self.asked.has_changed().is_err() {
                return;
            }
            sleep(retry).await;
            retry = (retry * 2).min(RETRY_MAX);
            self.asked.mark_changed();
        }
    }

    async fn tell(&mut self, asked: Asked) -> Result<(), sqlx::Error> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            empty => empty.insert(self.options.connect().await?),
        };
        let Self { channel, sign, told, .. } = self;
        // A NOTIFY counts as a write; nothing in it is worth waiting for the disk while it holds its lock.
        // One simple query is one transaction, so this holds through every pooler and leaves nothing behind.
        let mut sql = "SET LOCAL synchronous_commit = off".to_owned();
        if asked.commits != told.commits {
            sql += &format!("; SELECT pg_notify('{channel}', '{sign}')");
        }
        if asked.probes != told.probes {
            sql += &format!("; SELECT pg_notify('{channel}', 'probe {sign} {}')", asked.probes);
        }
        // The channel is a checked prefix, the rest are digits.
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_is_a_commit_unless_it_is_ours_or_a_probe() {
        let notifier = Notifier::new(PgConnectOptions::new_without_pgpass(), "outbox_messages".to_owned());
        let ours = notifier.sign.clone();
        assert_eq!(notifier.hear(""), Heard::Commit, "plain SQL");
        assert_eq!(notifier.hear("0123"), Heard::Commit);
        assert_eq!(notifier.hear(&ours), Heard::Nothing);
        assert_eq!(notifier.hear("probe 0123 4"), Heard::Nothing);
        assert_eq!(notifier.hear(&format!("probe {ours} 4")), Heard::Probe(4));
        assert_eq!(notifier.hear(&format!("probe {ours} x")), Heard::Nothing);
    }
}
