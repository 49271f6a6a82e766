//! What came out of the race, column by column.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::parts::LONG_PATIENCE;
use super::program::Variant;
use crate::figures::{Table, digits};

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
    /// By column and variant, what did not get to the end, or not in order.
    disqualified: BTreeSet<(Column, String)>,
}

impl Board {
    pub(super) fn new() -> Self {
        let table = |(column, _, _, title, unit)| (column, Table::new(title, unit));
        Self {
            tables: COLUMNS.into_iter().map(table).collect(),
            notes: BTreeMap::new(),
            disqualified: BTreeSet::new(),
        }
    }

    /// Adds the figure of one round.
    pub(super) fn add(&mut self, column: Column, variant: &Variant<'_>, figure: f64) {
        self.tables.get_mut(&column).expect("every column has a table").add(&variant.name, figure);
    }

    /// Adds a remark.
    pub(super) fn note(&mut self, column: Column, variant: &Variant<'_>, note: String) {
        self.notes.insert((column, variant.name.clone()), note);
    }

    /// Marks a figure as none to compare with: what was measured had not come to its end, or was out of order.
    pub(super) fn disqualify(&mut self, column: Column, variant: &Variant<'_>) {
        self.disqualified.insert((column, variant.name.clone()));
    }

    pub(super) fn is_disqualified(&self, column: Column, variant: &Variant<'_>) -> bool {
        self.disqualified.contains(&(column, variant.name.clone()))
    }

    /// Whether another round of a part would tell more: not of what cannot be done, or was stopped.
    pub(super) fn is_worth_another(&self, part: &str, variant: &Variant<'_>) -> bool {
        let of_part = || Column::of(part).iter();
        of_part().any(|column| self.median(*column, variant).is_some())
            && !of_part().any(|column| self.is_disqualified(*column, variant))
    }

    /// The figures of all rounds.
    pub(super) fn rounds(&self, column: Column, variant: &Variant<'_>) -> &[f64] {
        self.tables[&column].rounds(&variant.name)
    }

    pub(super) fn into_tables(self) -> Vec<Table> {
        self.tables.into_values().filter(|table| !table.variants.is_empty()).collect()
    }

    pub(super) fn median(&self, column: Column, variant: &Variant<'_>) -> Option<f64> {
        Some(self.tables[&column].spread(&variant.name)?.median)
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
                // What the end of patience cut off took longer than that.
                let may_be_cut_off = matches!(column, Killed | FailingEnd);
                let cell = match figure {
                    Some(figure) if may_be_cut_off && figure >= LONG_PATIENCE => format!("> {LONG_PATIENCE}"),
                    Some(figure) => format!("{figure:.*}", digits(figure)),
                    None => "–".to_owned(),
                };
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
