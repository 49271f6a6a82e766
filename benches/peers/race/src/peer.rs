//! What a program tells about its library, and lets it do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::{Arguments, Body, Receiver, Stop};

/// Which settings a library runs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tuning {
    /// Those it ships with.
    Default,
    /// The best that its documentation or its source offers for the task.
    Tuned,
}

/// What a library is, for the table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct About {
    /// Name and version.
    pub name: String,
    /// The settings it ships with, in words.
    pub default: String,
    /// The best settings, in words; empty when there is nothing to tune.
    pub tuned: String,
    /// SQL that counts what is not settled yet.
    pub left: String,
    /// SQL that adds a million delivered rows as the library keeps them, in front of all others; empty when only
    /// delivering them does that.
    pub keep: String,
    /// Whether it moves a mark over rows that it neither deletes nor changes, so that a delivery writes next to nothing
    /// and the table grows until somebody drops its old part.
    pub reads_a_log: bool,
    /// What it cannot do, with the reason: `ordered`, `kept`, `failing`, `killed`, `flow` or `idle`.
    pub cannot: BTreeMap<String, String>,
}

impl About {
    /// A library that can do everything, with its shipped settings only.
    #[must_use]
    pub fn new(name: &str, default: &str, left: &str) -> Self {
        Self {
            name: name.to_owned(),
            default: default.to_owned(),
            tuned: String::new(),
            left: left.to_owned(),
            keep: String::new(),
            reads_a_log: false,
            cannot: BTreeMap::new(),
        }
    }

    /// The same, for one that moves a mark over rows which stay.
    #[must_use]
    pub fn reads_a_log(mut self) -> Self {
        self.reads_a_log = true;
        self
    }

    /// The same, with best settings.
    #[must_use]
    pub fn tuned(mut self, tuned: &str) -> Self {
        tuned.clone_into(&mut self.tuned);
        self
    }

    /// The same, with the SQL that adds delivered rows.
    #[must_use]
    pub fn keep(mut self, keep: &str) -> Self {
        keep.clone_into(&mut self.keep);
        self
    }

    /// The same without one task.
    #[must_use]
    pub fn cannot(mut self, task: &str, reason: &str) -> Self {
        self.cannot.insert(task.to_owned(), reason.to_owned());
        self
    }
}

/// A library in the race.
pub trait Peer: Sized + Send + Sync + 'static {
    /// What it is.
    fn about() -> About;

    /// Connects to `arguments.url`, with the settings that `arguments` ask for.
    fn open(arguments: &Arguments) -> impl Future<Output = Result<Self>> + Send;

    /// Creates the tables in an empty database.
    fn migrate(&self) -> impl Future<Output = Result<()>> + Send;

    /// Enqueues in one transaction, in the cheapest way that the library offers. Answers when the commit had returned;
    /// what the library wants called after a commit is called then.
    fn enqueue(&self, bodies: Vec<Body>) -> impl Future<Output = Result<Instant>> + Send;

    /// Delivers to `receiver` until `stop`, and comes back when what was delivered is settled.
    fn deliver(self: Arc<Self>, receiver: Receiver, stop: Stop) -> impl Future<Output = Result<()>> + Send;
}
