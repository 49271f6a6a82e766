//! How fast a backlog drains: `cargo bench --bench drain -- [--rounds N] [--messages N] [--backlog N] [--only '100 keys']`.
//!
//! Memory and SQLite, without keys and with 1, 100 and 100,000 keys, with ten thousand and a million messages
//! waiting behind the ones that are timed; and, in the same run, a hand-written loop over the very statements of the
//! SQLite outbox. Order per key is checked in every run.

mod bare;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use outbox::SqliteOutbox;
use outbox::{DispatcherExt, Enqueue, LeasedDispatcher, MemoryOutbox, OutboxStore, Route};
use outbox_benches::{Figures, Load, Noop, argument, peak_memory, processor_time, runtime, text_argument};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqliteSynchronous};

/// The argument that makes the program the child of [`peak_in_a_child`].
const PEAK_OF: &str = "--peak-of";

const KEYS: [(usize, &str); 4] = [(0, "no keys"), (1, "1 key"), (100, "100 keys"), (100_000, "100,000 keys")];

fn main() {
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().position(|argument| argument == PEAK_OF).and_then(|at| arguments.get(at + 1)) {
        Some(path) => runtime().block_on(peak(path.as_ref())),
        None => runtime().block_on(run()),
    }
}

/// Drains the outbox in the file `path` and prints how much memory the process had at most: a process of its own, so
/// that nothing is counted that filled the outbox.
async fn peak(path: &Path) {
    drain(SqliteFile::open(path), argument("messages", 100_000)).await;
    println!("{}", peak_memory());
}

async fn peak_in_a_child(path: &Path, timed: usize) -> f64 {
    let program = std::env::current_exe().expect("a program");
    let child = tokio::process::Command::new(program)
        .arg(PEAK_OF)
        .arg(path)
        .args(["--messages", &timed.to_string()])
        .output();
    let output = child.await.expect("a child");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("the peak in MiB")
}

async fn run() {
    let timed = argument("messages", 100_000);
    let rounds = argument("rounds", 3);
    let only = text_argument("only");
    let backlogs = [10_000, argument("backlog", 1_000_000)];
    let (mut memory, mut sqlite) = (Figures::default(), Figures::default());
    let (mut cost, mut peaks) = (Figures::default(), Figures::default());
    for round in 1..=rounds {
        for backlog in backlogs {
            for (keys, name) in KEYS {
                let load = Load { messages: timed + backlog, keys };
                let scenario = format!("{name}, {backlog} behind");
                if !only.as_deref().is_none_or(|only| scenario.starts_with(only)) {
                    continue;
                }
                eprintln!("round {round} of {rounds}: {scenario}");

                let outbox = MemoryOutbox::new();
                fill_memory(&outbox, load).await;
                memory.add(&scenario, drain(outbox, timed).await);

                let file = SqliteFile::new().await;
                file.fill(load).await;
                let before = processor_time();
                sqlite.add(&scenario, drain(file.outbox.clone(), timed).await);
                cost.add(&scenario, (processor_time() - before) * 1e6 / timed as f64);

                if keys == 100 {
                    let file = SqliteFile::new().await;
                    file.fill(load).await;
                    peaks.add(format!("{backlog} behind"), peak_in_a_child(&file.path, timed).await);

                    let file = SqliteFile::new().await;
                    file.fill(load).await;
                    let scenario = format!("hand-written loop, {backlog} behind");
                    let before = processor_time();
                    sqlite.add(&scenario, bare::drain(&file.path, timed).await);
                    cost.add(&scenario, (processor_time() - before) * 1e6 / timed as f64);
                }
            }
        }
    }
    memory.print("Memory, messages a second", "msg/s", &format!("no keys, {} behind", backlogs[0]));
    let bare = format!("hand-written loop, {} behind", backlogs[0]);
    sqlite.print("SQLite, messages a second", "msg/s", &bare);
    cost.print("Processor time of the whole process, µs a message", "µs", &bare);
    peaks.print(
        "Most memory of a process that drains SQLite, 100 keys",
        "MiB",
        &format!("{} behind", backlogs[0]),
    );
    for backlog in backlogs {
        let of = |name: &str| sqlite.median(&format!("{name}, {backlog} behind"));
        println!(
            "\nlibrary ÷ hand-written, 100 keys, {backlog} behind: {:.2}",
            of("100 keys") / of("hand-written loop")
        );
    }
    let library = sqlite.scenarios().iter().filter(|scenario| scenario.contains("key"));
    let rates: Vec<f64> = library.map(|scenario| sqlite.median(scenario)).collect();
    let (low, high) =
        (rates.iter().copied().fold(f64::MAX, f64::min), rates.iter().copied().fold(0.0, f64::max));
    println!("slowest ÷ fastest over keys and backlogs: {:.2}", low / high);
}

/// Messages a second until `timed` of them have arrived.
async fn drain(store: impl OutboxStore, timed: usize) -> f64 {
    let noop = Noop::new(timed);
    let dispatcher = LeasedDispatcher::builder(store).route(Route::topic("bench", noop.clone())).build();
    let dispatcher = Arc::new(dispatcher.expect("a dispatcher"));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let started = Instant::now();
    let running = tokio::spawn(async move { dispatcher.run_until(stopped).await });
    let reached = noop.reached().await;
    drop(stop);
    running.await.expect("no panic").expect("a clean end");
    timed as f64 / (reached - started).as_secs_f64()
}

async fn fill_memory(outbox: &MemoryOutbox, load: Load) {
    for from in (0..load.messages).step_by(1_000) {
        let mut tx = outbox.begin();
        outbox.enqueue(&mut tx, &load.slice(from, from + 1_000)).await.expect("enqueue");
        outbox.commit(tx);
    }
}

/// An outbox in a file of its own.
struct SqliteFile {
    outbox: SqliteOutbox,
    path: std::path::PathBuf,
    _folder: tempfile::TempDir,
}

impl SqliteFile {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("outbox.sqlite");
        let outbox = Self::open(&path);
        outbox.migrate().await.expect("the tables");
        Self { outbox, path, _folder: folder }
    }

    fn open(path: &Path) -> SqliteOutbox {
        let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
        SqliteOutbox::new(SqlitePool::connect_lazy_with(options.synchronous(SqliteSynchronous::Full)))
    }

    async fn fill(&self, load: Load) {
        for from in (0..load.messages).step_by(1_000) {
            let mut tx = self.outbox.begin().await.expect("begin");
            self.outbox.enqueue(&mut tx, &load.slice(from, from + 1_000)).await.expect("enqueue");
            tx.commit().await.expect("commit");
        }
    }
}
