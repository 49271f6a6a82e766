//! What came out of the race, column by column.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::program::Variant;
use crate::figures::{Table, digits};
use crate::output::{Aim, Goal};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Column {
    Enqueue,
    EnqueueLog,
    Drain,
    DrainLog,
    Ordered,
    Median,
    Late,
    FlowTransactions,
    IdleTransactions,
    Kept,
    Failing,
    FailingEnd,
    Killed,
    KilledTwice,
    KilledLost,
}

use Column::*;

/// Every column: the part that fills it, its heading in the summary, its title and its unit.
const COLUMNS: [(Column, &str, &str, &str, &str); 15] = [
    (Enqueue, "drain", "enqueue /s", "Enqueue, 100 a transaction", "messages/s"),
    (EnqueueLog, "drain", "its WAL, B", "Write-ahead log of an enqueue", "bytes a message"),
    (Drain, "drain", "drain /s", "Drain, no keys", "messages/s"),
    (DrainLog, "drain", "its WAL, B", "Write-ahead log of a drain", "bytes a message"),
    (Ordered, "ordered", "ordered drain /s", "Drain, order per key, 10,000 keys", "messages/s"),
    (Median, "flow", "p50, ms", "Commit → handler at 50 messages/s, p50", "ms"),
    (Late, "flow", "p99, ms", "Commit → handler at 50 messages/s, p99", "ms"),
    (
        FlowTransactions,
        "flow",
        "tx a message",
        "Transactions at 50 messages/s, the producer's own included",
        "a message",
    ),
    (IdleTransactions, "idle", "idle tx/min", "Transactions while idle", "a minute"),
    (Kept, "kept", "× with 1M kept", "Drain with a million delivered rows kept ÷ with none", "×"),
    (Failing, "failing", "others /s", "Drain while 1 % fail at first, the others", "messages/s"),
    (FailingEnd, "failing", "all after, s", "Drain while 1 % fail at first, until all are delivered", "s"),
    (Killed, "killed", "drained after, s", "SIGKILL inside a batch, until a successor had drained", "s"),
    (KilledTwice, "killed", "twice", "SIGKILL inside a batch, delivered twice", "messages"),
    (
        KilledLost,
        "killed",
        "missing",
        "SIGKILL inside a batch, not delivered when the wait was over",
        "messages",
    ),
];

impl Column {
    /// The columns that a part fills.
    pub(super) fn of(part: &str) -> &'static [Self] {
        match part {
            "drain" => &[Enqueue, EnqueueLog, Drain, DrainLog],
            "ordered" => &[Ordered],
            "flow" => &[Median, Late, FlowTransactions],
            "idle" => &[IdleTransactions],
            "kept" => &[Kept],
            "failing" => &[Failing, FailingEnd],
            "killed" => &[Killed, KilledTwice, KilledLost],
            _ => &[],
        }
    }
}

/// Figures of every column, and remarks on single ones.
pub(super) struct Board {
    tables: BTreeMap<Column, Table>,
    /// By column and variant, what a figure does not tell.
    notes: BTreeMap<(Column, String), String>,
}

impl Board {
    pub(super) fn new() -> Self {
        let table = |(column, _, _, title, unit)| (column, Table::new(title, unit));
        Self { tables: COLUMNS.into_iter().map(table).collect(), notes: BTreeMap::new() }
    }

    /// Adds the figure of one round.
    pub(super) fn add(&mut self, column: Column, variant: &Variant<'_>, figure: f64) {
        self.tables.get_mut(&column).expect("every column has a table").add(&variant.name, figure);
    }

    /// Adds a remark.
    pub(super) fn note(&mut self, column: Column, variant: &Variant<'_>, note: String) {
        self.notes.insert((column, variant.name.clone()), note);
    }

    pub(super) fn into_tables(self) -> Vec<Table> {
        self.tables.into_values().filter(|table| !table.variants.is_empty()).collect()
    }

    fn median(&self, column: Column, variant: &Variant<'_>) -> Option<f64> {
        Some(self.tables[&column].spread(&variant.name)?.median)
    }

    /// Ours with shipped settings, against the best of the others.
    pub(super) fn aims(&self, variants: &[Variant<'_>]) -> Vec<Aim> {
        let more = [
            (Drain, "drain without keys", Goal::AtLeast(3.0)),
            (Ordered, "drain with order per key", Goal::AtLeast(4.0)),
            (Enqueue, "enqueue, 100 a transaction", Goal::AtLeast(1.5)),
        ];
        let less = [
            (DrainLog, "write-ahead log of a drain", Goal::AtMost(1.0)),
            (Median, "commit → handler, p50", Goal::AtMost(1.0)),
            (Late, "commit → handler, p99", Goal::AtMost(1.0)),
        ];
        let directed =
            more.into_iter().map(|aim| (aim, true)).chain(less.into_iter().map(|aim| (aim, false)));
        let aim = |((column, what, goal), is_more): ((Column, &str, Goal), bool)| {
            let ours = variants.iter().find(|variant| variant.is_ours && !variant.is_tuned)?;
            let best = variants
                .iter()
                // One that did not get to the end, or not right, is no yardstick.
                .filter(|variant| {
                    !variant.is_ours && !self.notes.contains_key(&(column, variant.name.clone()))
                })
                .filter_map(|variant| Some((variant, self.median(column, variant)?)))
                .max_by(|(_, a), (_, b)| if is_more { a.total_cmp(b) } else { b.total_cmp(a) })?
                .0;
            let measured = self.tables[&column].ratio(&ours.name, &best.name)?;
            Some(Aim { what: format!("{what}: {} ÷ {}", ours.name, best.name), goal, measured })
        };
        directed.filter_map(aim).collect()
    }

    /// One row a variant, one column a measure; below it, the remarks.
    pub(super) fn summary(&self, variants: &[Variant<'_>]) -> String {
        let filled = |column: Column| {
            !self.tables[&column].variants.is_empty() || self.notes.keys().any(|(noted, _)| *noted == column)
        };
        let columns: Vec<_> = COLUMNS.iter().filter(|(column, ..)| filled(*column)).collect();
        let mut text = "| library, settings |".to_owned();
        for (_, _, heading, ..) in &columns {
            let _ = write!(text, " {heading} |");
        }
        text.push_str("\n| --- |");
        text.push_str(&" ---: |".repeat(columns.len()));
        let mut remarks = Vec::new();
        for variant in variants {
            let _ = write!(text, "\n| {} |", variant.name);
            for (column, part, ..) in &columns {
                let note = self.notes.get(&(*column, variant.name.clone()));
                let figure = self.median(*column, variant);
                let cell =
                    figure.map_or_else(|| "–".to_owned(), |figure| format!("{figure:.*}", digits(figure)));
                // A note on several columns of a part is one remark.
                let mark = note.map(|note| {
                    let about = &variant.program.about;
                    // What it cannot do, it can with no settings.
                    let who = if about.cannot.contains_key(*part) { &about.name } else { &variant.name };
                    let remark = format!("{part}, {who}: {note}");
                    let known = remarks.iter().position(|known| *known == remark);
                    known.unwrap_or_else(|| {
                        remarks.push(remark);
                        remarks.len() - 1
                    }) + 1
                });
                let _ = match mark {
                    Some(mark) => write!(text, " {cell} ({mark}) |"),
                    None => write!(text, " {cell} |"),
                };
            }
        }
        text.push('\n');
        for (n, remark) in remarks.iter().enumerate() {
            let _ = write!(text, "\n{}. {remark}", n + 1);
        }
        text + "\n"
    }
}
