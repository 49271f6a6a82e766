//! The parts of the race.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use outbox_race::drain::Drain;
use serde_json::Value;

use super::board::{Board, Column};
use super::program::Variant;
use super::server::{Course, Server};
use crate::figures::Table;

/// The parts, and whether they are run in every round.
///
/// What takes processor time takes turns: a part begins when the machine is its own. Where only a lease or a delay is
/// waited for, it lets the next one begin.
pub(super) const PARTS: [(&str, bool); 7] = [
    ("drain", true),
    ("ordered", true),
    ("flow", true),
    ("idle", false),
    ("kept", false),
    ("failing", false),
    ("killed", false),
];

const KEYS: usize = 10_000;

/// How long a drain may take before it is stopped, in seconds.
const PATIENCE: u64 = 10;

/// Messages of the process that is killed, and of its successor; and their keys.
const KILLED: usize = 5_000;
const KILLED_KEYS: usize = 1_000;

/// How long a successor is waited for, and those that failed at first, in seconds.
pub(super) const LONG_PATIENCE: f64 = 60.0;

/// How long anything else may take; a library that hangs does not end the race.
const WITHIN: Duration = Duration::from_secs(300);

/// Where the race takes place, and what came out.
pub(super) struct Race {
    server: Server,
    board: Mutex<Board>,
    /// Who holds it has the machine.
    turn: tokio::sync::Mutex<()>,
    messages: usize,
    /// How long a flow lasts, and idleness five times as long.
    seconds: u64,
}

/// The machine; `None` when the next one may begin.
type Turn<'a> = Option<tokio::sync::MutexGuard<'a, ()>>;

/// The words of a command line.
struct Words(Vec<String>);

impl Words {
    fn new(task: &str, course: &Course, variant: &Variant<'_>) -> Self {
        let words = Self(vec![task.to_owned()]).with("--url", &course.url);
        if variant.is_tuned { words.and("--tuned") } else { words }
    }

    fn and(mut self, flag: &str) -> Self {
        self.0.push(flag.to_owned());
        self
    }

    fn with(self, flag: &str, value: impl ToString) -> Self {
        self.and(flag).and(&value.to_string())
    }

    fn words(&self) -> Vec<&str> {
        self.0.iter().map(String::as_str).collect()
    }

    async fn run(&self, variant: &Variant<'_>) -> Result<Value, String> {
        variant.program.run(&self.words(), WITHIN).await
    }

    async fn drain(&self, variant: &Variant<'_>) -> Result<Drain, String> {
        Drain::from_figures(self.run(variant).await?)
    }
}

impl Race {
    pub(super) async fn new(messages: usize, seconds: u64) -> Self {
        let board = Mutex::new(Board::new());
        Self { server: Server::connect().await, board, turn: tokio::sync::Mutex::new(()), messages, seconds }
    }

    /// What came out so far.
    pub(super) fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().expect("nobody panics while noting a figure")
    }

    pub(super) fn into_tables(self) -> Vec<Table> {
        self.board.into_inner().expect("nobody panics while noting a figure").into_tables()
    }

    /// Runs a part in a database of its own.
    pub(super) async fn part(&self, part: &str, variant: &Variant<'_>) -> Result<(), String> {
        let mut turn = Some(self.turn.lock().await);
        let course = self.server.course().await;
        let done = match part {
            "drain" => self.drain(&course, variant).await,
            "ordered" => self.ordered(&course, variant).await,
            "flow" => self.flow(&course, variant).await,
            "idle" => self.idle(&course, variant, &mut turn).await,
            "kept" => self.kept(&course, variant).await,
            "failing" => self.failing(&course, variant, &mut turn).await,
            "killed" => self.killed(&course, variant, &mut turn).await,
            _ => Err("there is no such part".to_owned()),
        };
        self.server.close(course).await;
        done
    }

    /// Enqueues and drains, with the log that both write.
    async fn drain(&self, course: &Course, variant: &Variant<'_>) -> Result<(), String> {
        let messages = self.messages as f64;
        // The tables come first, so that they do not count.
        Words::new("fill", course, variant).with("--messages", 0).run(variant).await?;
        let before = self.server.log_bytes().await;
        let fill = Words::new("fill", course, variant).with("--messages", self.messages).and("--again");
        let seconds = fill.run(variant).await?["seconds"].as_f64().unwrap_or(f64::NAN);
        let after = self.server.log_bytes().await;
        self.board().add(Column::Enqueue, variant, messages / seconds);
        self.board().add(Column::EnqueueLog, variant, (after - before) / messages);

        course.settle().await?;
        let before = self.server.log_bytes().await;
        let drain =
            Words::new("drain", course, variant).with("--messages", self.messages).with("--within", PATIENCE);
        let drained = drain.drain(variant).await?;
        let after = self.server.log_bytes().await;
        self.board().add(Column::Drain, variant, drained.rate);
        if drained.handled > 0 {
            self.board().add(Column::DrainLog, variant, (after - before) / drained.handled as f64);
        }
        self.remark(&[Column::Drain, Column::DrainLog], course, variant, &drained, self.messages).await
    }

    /// Drains messages with keys.
    async fn ordered(&self, course: &Course, variant: &Variant<'_>) -> Result<(), String> {
        let both =
            |task| Words::new(task, course, variant).with("--messages", self.messages).with("--keys", KEYS);
        both("fill").run(variant).await?;
        course.settle().await?;
        let drained = both("drain").with("--within", PATIENCE).drain(variant).await?;
        self.board().add(Column::Ordered, variant, drained.rate);
        self.remark(&[Column::Ordered], course, variant, &drained, self.messages).await
    }

    /// Commit → handler, and the transactions that a message takes.
    async fn flow(&self, course: &Course, variant: &Variant<'_>) -> Result<(), String> {
        let flow = Words::new("flow", course, variant).with("--seconds", self.seconds);
        let mut running = variant.program.start(&flow.words())?;
        running.says("begin", WITHIN).await?;
        let before = self.server.transactions(course).await;
        running.says("end", WITHIN).await?;
        let after = self.server.transactions(course).await;
        let figures = running.figures(WITHIN).await?;
        let (sent, handled) =
            (figures["sent"].as_f64().unwrap_or(0.0), figures["handled"].as_f64().unwrap_or(0.0));
        self.board().add(Column::FlowTransactions, variant, (after - before) / sent);
        for (column, name) in [(Column::Median, "p50_us"), (Column::Late, "p99_us")] {
            if let Some(micros) = figures[name].as_f64() {
                self.board().add(column, variant, micros / 1000.0);
            }
            if handled < sent {
                let note = format!("{handled} of {sent} delivered 5 s after the last commit");
                self.board().note(column, variant, note);
                self.board().disqualify(column, variant);
            }
        }
        Ok(())
    }

    /// Transactions with nothing to do. All are idle at the same time.
    async fn idle(&self, course: &Course, variant: &Variant<'_>, turn: &mut Turn<'_>) -> Result<(), String> {
        let idle = Words::new("idle", course, variant).with("--seconds", 5 * self.seconds);
        let mut running = variant.program.start(&idle.words())?;
        *turn = None;
        running.says("begin", WITHIN).await?;
        let (before, started) = (self.server.transactions(course).await, Instant::now());
        running.says("end", WITHIN).await?;
        let after = self.server.transactions(course).await;
        let a_minute = (after - before) * 60.0 / started.elapsed().as_secs_f64();
        self.board().add(Column::IdleTransactions, variant, a_minute);
        running.figures(WITHIN).await.map(|_| ())
    }

    /// The same drain twice: with none, and with a million rows that were delivered before and are kept.
    async fn kept(&self, course: &Course, variant: &Variant<'_>) -> Result<(), String> {
        let with =
            |task, messages| Words::new(task, course, variant).with("--messages", messages).and("--keeping");
        let mut rates = Vec::new();
        let mut kept = 0;
        for is_first in [true, false] {
            if !is_first {
                if variant.program.about.keep.is_empty() {
                    kept = 1_000_000;
                    with("fill", kept).and("--again").run(variant).await?;
                    let drained = with("drain", kept).with("--within", 240).drain(variant).await?;
                    if !drained.complete {
                        return Err(format!("{} of {kept} delivered in 240 s", drained.handled));
                    }
                } else {
                    course.run(&variant.program.about.keep).await?;
                }
            }
            let fill = with("fill", self.messages);
            if is_first { fill } else { fill.and("--again") }.run(variant).await?;
            course.run("VACUUM ANALYZE").await?;
            let drained = with("drain", self.messages).with("--within", PATIENCE).drain(variant).await?;
            if drained.handled == 0 {
                return Err(format!("nothing was delivered in {PATIENCE} s, {kept} kept"));
            }
            rates.push(drained.rate);
        }
        self.board().add(Column::Kept, variant, rates[1] / rates[0]);
        Ok(())
    }

    /// Every hundredth message fails at its first attempt.
    async fn failing(
        &self,
        course: &Course,
        variant: &Variant<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<(), String> {
        let messages = self.messages / 5;
        Words::new("fill", course, variant).with("--messages", messages).run(variant).await?;
        course.settle().await?;
        let drain = Words::new("drain", course, variant).with("--messages", messages).and("--failing");
        let drain = drain.with("--within", LONG_PATIENCE);
        let mut running = variant.program.start(&drain.words())?;
        // A library that is not done with the others by then has its rate all the same.
        let _ = running.says("others", Duration::from_secs(2 * PATIENCE)).await;
        *turn = None;
        let drained = Drain::from_figures(running.figures(WITHIN).await?)?;
        let are_others_through = drained.handled as usize * 100 >= messages * 99;
        let rate = if are_others_through { drained.rate_of_the_willing } else { drained.rate };
        self.board().add(Column::Failing, variant, rate);
        self.board().add(Column::FailingEnd, variant, drained.seconds);
        let both = [Column::Failing, Column::FailingEnd];
        self.remark(&both[usize::from(are_others_through)..], course, variant, &drained, messages).await
    }

    /// A process dies by SIGKILL with messages in flight; a successor starts at once. With keys where the library
    /// keeps their order.
    async fn killed(
        &self,
        course: &Course,
        variant: &Variant<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<(), String> {
        let stall_at = KILLED / 4 + 37;
        let keys = if variant.program.about.cannot.contains_key("ordered") { 0 } else { KILLED_KEYS };
        let both = |task| Words::new(task, course, variant).with("--messages", KILLED).with("--keys", keys);
        both("fill").run(variant).await?;
        course.settle().await?;
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let log = folder.path().join("handled");
        let drain = || both("drain").with("--log", log.display()).with("--within", LONG_PATIENCE);
        let first = drain().with("--stall-at", stall_at);
        let mut running = variant.program.start(&first.words())?;
        let started = Instant::now();
        let handled = || std::fs::metadata(&log).map_or(0, |log| log.len() as usize / 8);
        while handled() < stall_at {
            if started.elapsed() > Duration::from_secs(2 * PATIENCE) {
                return Err(format!(
                    "it had not come to message {stall_at}, where it was to be killed, after {} s",
                    2 * PATIENCE
                ));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        running.child.kill().await.map_err(|error| error.to_string())?;
        let successor = variant.program.start(&drain().words())?;
        *turn = None;
        let drained = Drain::from_figures(successor.figures(WITHIN).await?)?;
        self.board().add(Column::Killed, variant, drained.seconds);
        self.board().add(Column::KilledTwice, variant, drained.twice as f64);
        self.board().add(Column::KilledLost, variant, KILLED as f64 - drained.handled as f64);
        // What comes twice has a column here.
        let drained = Drain { twice: 0, ..drained };
        self.remark(&[Column::Killed], course, variant, &drained, KILLED).await
    }

    /// Says what a rate alone would hide.
    async fn remark(
        &self,
        columns: &[Column],
        course: &Course,
        variant: &Variant<'_>,
        drained: &Drain,
        messages: usize,
    ) -> Result<(), String> {
        let mut remarks = Vec::new();
        if !drained.complete {
            remarks.push(format!(
                "{} of {messages} delivered when {:.0} s were over",
                drained.handled, drained.seconds
            ));
        } else {
            let left = course.number(&variant.program.about.left).await?;
            if left > 0 {
                remarks.push(format!("{left} delivered but not settled at a clean end"));
            }
        }
        if drained.twice > 0 {
            remarks.push(format!("{} delivered twice", drained.twice));
        }
        if drained.disorder > 0 {
            remarks.push(format!("{} out of order", drained.disorder));
        }
        if !remarks.is_empty() {
            eprintln!("    {}: {}", variant.name, remarks.join("; "));
            for column in columns {
                self.board().note(*column, variant, remarks.join("; "));
                if !drained.complete || drained.disorder > 0 {
                    self.board().disqualify(*column, variant);
                }
            }
        }
        Ok(())
    }
}
