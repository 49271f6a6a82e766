//! What a scenario found out, as JSON, Markdown and plots in `target/bench/`.

mod json;
mod markdown;
mod plot;

use std::fs;
use std::path::{Path, PathBuf};

use crate::figures::{Spread, Table};

/// The findings of one scenario.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) scenario: String,
    pub(crate) database: String,
    /// What the figures were taken with.
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) tables: Vec<Table>,
    pub(crate) aims: Vec<Aim>,
    pub(crate) charts: Vec<Chart>,
    /// Markdown that stands in front of the tables.
    pub(crate) remarks: Vec<String>,
}

/// A figure that has a goal.
#[derive(Debug)]
pub(crate) struct Aim {
    pub(crate) what: String,
    pub(crate) goal: Goal,
    pub(crate) measured: Spread,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
    /// No goal: the figure is stated.
    None,
}

/// Figures over time.
#[derive(Debug)]
pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) x: &'static str,
    pub(crate) y: &'static str,
    pub(crate) lines: Vec<(String, Vec<(f64, f64)>)>,
}

impl Aim {
    pub(crate) fn is_met(&self) -> Option<bool> {
        match self.goal {
            Goal::AtLeast(goal) => Some(self.measured.median >= goal),
            Goal::AtMost(goal) => Some(self.measured.median <= goal),
            Goal::None => None,
        }
    }
}

impl Report {
    pub(crate) fn new(scenario: &str, database: &str) -> Self {
        Self {
            scenario: scenario.to_owned(),
            database: database.to_owned(),
            settings: Vec::new(),
            tables: Vec::new(),
            aims: Vec::new(),
            charts: Vec::new(),
            remarks: Vec::new(),
        }
    }

    pub(crate) fn setting(&mut self, name: &str, value: impl ToString) {
        self.settings.push((name.to_owned(), value.to_string()));
    }

    /// States `measured`, if there is such a figure.
    pub(crate) fn aim(&mut self, what: impl Into<String>, goal: Goal, measured: Option<Spread>) {
        if let Some(measured) = measured {
            self.aims.push(Aim { what: what.into(), goal, measured });
        }
    }

    /// Prints the tables and writes every form; answers the names of the files.
    pub(crate) fn publish(&self) -> std::io::Result<Vec<PathBuf>> {
        let folder = std::env::var_os("OUTBOX_BENCH_OUT")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench"), PathBuf::from);
        fs::create_dir_all(&folder)?;
        let folder = folder.canonicalize()?;
        let stem = format!("{}-{}", self.scenario, self.database);
        let markdown = markdown::of(self);
        print!("{markdown}");
        let mut files = vec![(format!("{stem}.md"), markdown), (format!("{stem}.json"), json::of(self))];
        for (n, table) in self.tables.iter().enumerate() {
            files.push((format!("{stem}-{}.svg", n + 1), plot::bars(table)));
        }
        for (n, chart) in self.charts.iter().enumerate() {
            files.push((format!("{stem}-over-time-{}.svg", n + 1), plot::lines(chart)));
        }
        let write = |(name, text)| {
            let path = folder.join(name);
            fs::write(&path, text).map(|()| path)
        };
        files.into_iter().map(write).collect()
    }
}
