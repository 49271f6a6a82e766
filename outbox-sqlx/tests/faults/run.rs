//! [`Run`]: an outbox, its dispatchers, and the receiving side of one scenario.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use outbox_core::{MessageState, PageRequest};
use tempfile::TempDir;

use crate::account::Account;
use crate::dispatcher::{IN_FLIGHT, Role};
use crate::home::{Database, Home};
use crate::outbox::{Made, Outbox};
use crate::process::Process;
use crate::receiver::Receiver;

pub(crate) const LEASE: Duration = Duration::from_secs(1);

/// How long a condition may take to come true.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);
/// The longest rest between two questions whether it has.
const LONGEST_REST: Duration = Duration::from_secs(5);

/// `count` for `scripts/faults`, a tenth of it for `scripts/test`.
pub(crate) fn times(count: usize) -> usize {
    if std::env::var("OUTBOX_FAULTS").is_ok_and(|value| value == "full") { count } else { count.div_ceil(10) }
}

pub(crate) struct Run {
    pub(crate) outbox: Outbox,
    pub(crate) receiver: Receiver,
    pub(crate) home: Home,
    /// What the next dispatcher is to do, but for its name.
    pub(crate) role: Role,
    started: usize,
    logs: Logs,
}

impl Run {
    pub(crate) async fn on(database: Database) -> Self {
        Self::at(Home::new(database).await).await
    }

    pub(crate) async fn at(home: Home) -> Self {
        let outbox = Outbox::at(&home.url);
        outbox.create().await;
        let receiver = Receiver::start().await;
        let role = Role {
            name: String::new(),
            url: home.url.clone(),
            receiver: receiver.address,
            lease: LEASE,
            delays: vec![Duration::from_millis(100); 100],
            park: false,
        };
        Self { outbox, receiver, home, role, started: 0, logs: Logs::new() }
    }

    /// Starts a dispatcher.
    pub(crate) fn start(&mut self) -> Process {
        self.start_with(&[])
    }

    /// Starts a dispatcher with variables of its own.
    pub(crate) fn start_with(&mut self, variables: &[(String, String)]) -> Process {
        self.started += 1;
        let role = Role { name: format!("dispatcher-{}", self.started), ..self.role.clone() };
        Process::start(&role, &self.logs.folder(), variables)
    }

    /// Starts `count` dispatchers and waits until all of them have a session.
    pub(crate) async fn crew(&mut self, count: usize) -> Vec<Process> {
        let crew: Vec<Process> = (0..count).map(|_| self.start()).collect();
        self.present(&crew).await;
        crew
    }

    pub(crate) async fn present(&self, crew: &[Process]) {
        until("every dispatcher has a session", async || {
            crew.iter().all(|process| self.receiver.standing(&process.name).is_some())
        })
        .await;
    }

    /// Waits until everything that was committed has arrived, and the outbox holds nothing but dead letters. A backlog
    /// takes as long as it takes; what counts is that it becomes smaller.
    pub(crate) async fn drained(&self) {
        let (mut least, mut since) = (u64::MAX, Instant::now());
        loop {
            let asked = Instant::now();
            let counts = self.outbox.admin().counts().await;
            if let Ok(counts) = &counts {
                let states = counts.iter().flat_map(|topic| &topic.states);
                let left =
                    states.filter(|(state, _)| *state != MessageState::Dead).map(|(_, count)| count).sum();
                if left == 0 {
                    return;
                }
                if left < least {
                    (least, since) = (left, Instant::now());
                }
            }
            if since.elapsed() > PATIENCE {
                let first =
                    self.outbox.admin().list(&PageRequest { limit: 5, ..PageRequest::default() }).await;
                panic!("nothing of what is left went within {PATIENCE:?}: {counts:?}, such as {first:#?}");
            }
            rest_after(asked).await;
        }
    }

    /// Waits for the rest, stops the dispatchers in good order, and compares. Duplicates may only come from
    /// `deaths` and from leases that were lost, at most what was in flight each time.
    pub(crate) async fn settle(&self, crew: Vec<Process>, deaths: usize) -> Account {
        self.settle_in(crew, deaths, |_| {}).await
    }

    /// The same, where `edit` says which messages are expected, and in which order those of a key.
    pub(crate) async fn settle_in(
        &self,
        crew: Vec<Process>,
        deaths: usize,
        edit: impl FnOnce(&mut Vec<Made>),
    ) -> Account {
        self.drained().await;
        for process in crew {
            process.stop().await;
        }
        let mut made = self.outbox.made().await.unwrap();
        edit(&mut made);
        let account = Account::of(&made, &self.receiver.arrivals());
        self.bounded(&account, deaths);
        account
    }

    pub(crate) fn bounded(&self, account: &Account, deaths: usize) {
        let lapses = self.receiver.lapses();
        println!(
            "{} messages, {} duplicates after {deaths} deaths and {lapses} lapsed leases",
            account.messages, account.duplicates
        );
        let most = (deaths + lapses) * IN_FLIGHT;
        assert!(account.duplicates <= most, "{} duplicates, at most {most}", account.duplicates);
    }
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let started = Instant::now();
    loop {
        let asked = Instant::now();
        if condition().await {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "waited for {PATIENCE:?}: {what}");
        rest_after(asked).await;
    }
}

/// A rest between two questions. To count a backlog, say, is work that the dispatchers need the server for.
async fn rest_after(asked: Instant) {
    tokio::time::sleep((asked.elapsed() * 10).clamp(Duration::from_millis(10), LONGEST_REST)).await;
}

/// What the dispatchers logged; kept when the test fails.
struct Logs(Option<TempDir>);

impl Logs {
    fn new() -> Self {
        Self(Some(tempfile::tempdir().unwrap()))
    }

    fn folder(&self) -> PathBuf {
        self.0.as_ref().unwrap().path().to_owned()
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(folder) = self.0.take()
        {
            println!("what the dispatchers logged: {}", folder.keep().display());
        }
    }
}
