//! The command line: `TASK [--url URL] [--tuned] [--messages N] …`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::Tuning;

/// What a program is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Tell name and settings.
    About,
    /// Create the tables and enqueue.
    Fill,
    /// Deliver what waits.
    Drain,
    /// Enqueue slowly and deliver.
    Flow,
    /// Run with nothing to do.
    Idle,
}

/// A task and everything that belongs to it.
#[derive(Debug, Clone)]
pub struct Arguments {
    /// What to do.
    pub task: Task,
    /// The database.
    pub url: String,
    /// With which settings.
    pub tuning: Tuning,
    /// Messages that are enqueued, or wait.
    pub messages: u64,
    /// Keys over which they are spread; 0 for messages without a key.
    pub keys: u64,
    /// Whether the tables exist.
    pub again: bool,
    /// Whether what is delivered is to be kept, for libraries that have the choice.
    pub keeping: bool,
    /// How long a flow lasts, or idleness.
    pub seconds: f64,
    /// When a drain gives up, in seconds.
    pub within: f64,
    /// Whether every hundredth message is refused at its first attempt.
    pub failing: bool,
    /// A file that lists what was handled, also by a predecessor.
    pub log: Option<PathBuf>,
    /// At which message the handler stalls for ever, with others in flight, so that the process can be killed there.
    pub stall_at: Option<u64>,
}

impl Arguments {
    /// Reads the command line.
    pub fn read(words: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut words = words.into_iter();
        let task = match words.next().as_deref() {
            Some("about") => Task::About,
            Some("fill") => Task::Fill,
            Some("drain") => Task::Drain,
            Some("flow") => Task::Flow,
            Some("idle") => Task::Idle,
            _ => bail!("say about, fill, drain, flow or idle"),
        };
        let mut answer = Self {
            task,
            url: String::new(),
            tuning: Tuning::Default,
            messages: 0,
            keys: 0,
            again: false,
            keeping: false,
            seconds: 10.0,
            within: 20.0,
            failing: false,
            log: None,
            stall_at: None,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} wants a value"));
            match word.as_str() {
                "--url" => answer.url = value()?,
                "--tuned" => answer.tuning = Tuning::Tuned,
                "--messages" => answer.messages = value()?.parse()?,
                "--keys" => answer.keys = value()?.parse()?,
                "--again" => answer.again = true,
                "--keeping" => answer.keeping = true,
                "--seconds" => answer.seconds = value()?.parse()?,
                "--within" => answer.within = value()?.parse()?,
                "--failing" => answer.failing = true,
                "--log" => answer.log = Some(value()?.into()),
                "--stall-at" => answer.stall_at = Some(value()?.parse()?),
                _ => bail!("there is no {word}"),
            }
        }
        Ok(answer)
    }
}
