//! The programs of the race: how they are built, started and heard.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use outbox_race::About;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::arguments::{Arguments, refuse};

/// The other libraries: the folders in `benches/peers/`.
const OTHERS: [&str; 8] = [
    "pgmq",
    "graphile_worker",
    "cf-modkit-db",
    "obix",
    "outbox-postgres",
    "hexeract-outbox",
    "apalis-postgres",
    "outbox-pattern-processor",
];

/// One library's program.
pub(super) struct Program {
    path: PathBuf,
    /// What comes before the task.
    first: Option<&'static str>,
    pub(super) about: About,
}

/// A program with one of its settings.
pub(super) struct Variant<'a> {
    pub(super) program: &'a Program,
    pub(super) is_tuned: bool,
    pub(super) name: String,
    pub(super) is_ours: bool,
}

impl Variant<'_> {
    /// Whether there are no better settings.
    pub(super) fn is_best(&self) -> bool {
        self.is_tuned || self.program.about.tuned.is_empty()
    }

    /// Its settings in words.
    pub(super) fn settings(&self) -> &str {
        if self.is_tuned { &self.program.about.tuned } else { &self.program.about.default }
    }
}

impl Program {
    /// This library; this very program speaks for it.
    pub(super) async fn ours() -> Self {
        let path = std::env::current_exe().expect("this program has a path");
        Self::told(path, Some(super::OURS)).await
    }

    /// The others, or those whose name contains one of the texts of `--only`. They are built one after another: each
    /// brings some two hundred crates.
    pub(super) async fn others(arguments: &Arguments) -> Vec<Self> {
        let texts = arguments.only.as_deref().unwrap_or_default();
        let is_wanted = |name: &&str| texts.split(',').any(|text| name.contains(text));
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| folder.join("../../target/peers"), PathBuf::from);
        let mut programs = Vec::new();
        for name in OTHERS.into_iter().filter(is_wanted) {
            eprintln!("  building {name}");
            let build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
                .args(["build", "--release", "--locked", "--quiet", "--target-dir"])
                .arg(&target)
                .current_dir(folder.join(name))
                .status()
                .await;
            if !build.is_ok_and(|status| status.success()) {
                eprintln!("  {name} cannot be built; it is left out");
                continue;
            }
            programs.push(Self::told(target.join("release").join(format!("peer-{name}")), None).await);
        }
        programs
    }

    async fn told(path: PathBuf, first: Option<&'static str>) -> Self {
        let about = About::new("", "", "");
        let mut program = Self { path, first, about };
        let about = program.run(&["about"], Duration::from_secs(10)).await;
        let about = about.and_then(|about| serde_json::from_value(about).map_err(|error| error.to_string()));
        program.about = about.unwrap_or_else(|error| refuse(&format!("{}: {error}", program.path.display())));
        program
    }

    /// With its shipped settings, and with the best.
    pub(super) fn variants(&self) -> impl Iterator<Item = Variant<'_>> {
        let is_ours = self.first.is_some();
        let tuned = (!self.about.tuned.is_empty()).then_some(true);
        std::iter::once(false).chain(tuned).map(move |is_tuned| Variant {
            program: self,
            is_tuned,
            name: format!("{}, {}", self.about.name, if is_tuned { "tuned" } else { "shipped" }),
            is_ours,
        })
    }

    /// Runs it to the end and answers its figures.
    pub(super) async fn run(&self, words: &[&str], within: Duration) -> Result<Value, String> {
        self.start(words)?.figures(within).await
    }

    /// Starts it.
    pub(super) fn start(&self, words: &[&str]) -> Result<Running, String> {
        let mut command = Command::new(&self.path);
        command.args(self.first).args(words).stdout(Stdio::piped()).kill_on_drop(true);
        if std::env::var_os("RUST_LOG").is_none() {
            command.env("RUST_LOG", "error");
        }
        let mut child = command.spawn().map_err(|error| format!("it does not start: {error}"))?;
        let lines = BufReader::new(child.stdout.take().expect("its output is read"));
        Ok(Running { child, lines, last: String::new() })
    }
}

/// A program that runs.
pub(super) struct Running {
    pub(super) child: Child,
    lines: BufReader<tokio::process::ChildStdout>,
    /// The line that was read last.
    last: String,
}

impl Running {
    /// Reads the next line that it prints; `false` at its end.
    async fn read(&mut self) -> bool {
        let mut line = String::new();
        let read = self.lines.read_line(&mut line).await.is_ok_and(|read| read > 0);
        if read {
            self.last = line.trim_end().to_owned();
        }
        read
    }

    /// Waits for this line.
    pub(super) async fn says(&mut self, word: &str, within: Duration) -> Result<(), String> {
        let said = async {
            while self.read().await {
                if self.last == word {
                    return true;
                }
            }
            false
        };
        match tokio::time::timeout(within, said).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!("it ended before it said {word}")),
            Err(_) => Err(format!("it did not say {word} within {} s", within.as_secs())),
        }
    }

    /// Its figures: the last line that it prints.
    pub(super) async fn figures(mut self, within: Duration) -> Result<Value, String> {
        let end = async { while self.read().await {} };
        let end = tokio::time::timeout(within, end).await;
        end.map_err(|_| format!("it was not done within {} s", within.as_secs()))?;
        let status = self.child.wait().await.map_err(|error| error.to_string())?;
        if !status.success() {
            return Err(format!("it failed: {status}"));
        }
        serde_json::from_str(&self.last)
            .map_err(|error| format!("its last line was {:?}: {error}", self.last))
    }
}
