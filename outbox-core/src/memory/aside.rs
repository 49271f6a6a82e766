//! [`SetAside`]: the messages that cannot go out now, and the order of their keys.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::clock::Moment;
use super::tables::Row;
use crate::{FailureNote, Tally};

/// The messages set aside, with what makes a claim cheap: who is due per topic, and the line of each blocked key.
///
/// In the line of a key only a prefix has a due time, and these times never fall from one row to the next. All
/// others are *behind*: they are not looked at until the head has left, so a long line behind a failing message
/// costs nothing.
#[derive(Default)]
pub(super) struct SetAside {
    rows: BTreeMap<i64, AsideRow>,
    due: BTreeMap<String, BTreeSet<(Moment, i64)>>,
    lines: HashMap<String, HashMap<String, Line>>,
}

pub(super) struct AsideRow {
    pub(super) row: Row,
    pub(super) state: AsideState,
    /// When it may go out; `None` while it is behind, parked or dead.
    pub(super) due: Option<Moment>,
    /// Kept while it is behind, so that a retry's delay is not cut short when the head leaves.
    pub(super) not_until: Moment,
    pub(super) tally: Tally,
    pub(super) failures: Vec<FailureNote>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AsideState {
    Waiting,
    Scheduled,
    Parked,
    Dead,
}

/// The rows of one key that block it, by place.
#[derive(Default)]
struct Line {
    all: BTreeSet<i64>,
    due: BTreeSet<i64>,
}

/// How many of a line become due together once its head has left.
const RELEASED_TOGETHER: usize = 100;
const FAILURES_KEPT: usize = 10;

impl AsideRow {
    pub(super) fn new(row: Row) -> Self {
        Self {
            row,
            state: AsideState::Waiting,
            due: None,
            not_until: Moment::ZERO,
            tally: Tally::default(),
            failures: Vec::new(),
        }
    }

    /// Keeps the last ten; the same note given twice is kept once, so that a settlement can be repeated.
    pub(super) fn note(&mut self, failure: &FailureNote) {
        let same = |last: &&mut FailureNote| last.attempt == failure.attempt && last.class == failure.class;
        match self.failures.last_mut().filter(same) {
            Some(last) => *last = failure.clone(),
            None => self.failures.push(failure.clone()),
        }
        let surplus = self.failures.len().saturating_sub(FAILURES_KEPT);
        self.failures.drain(..surplus);
    }

    fn blocks(&self) -> bool {
        matches!(self.state, AsideState::Waiting | AsideState::Parked)
    }
}

impl SetAside {
    pub(super) fn get(&self, seq: i64) -> Option<&AsideRow> {
        self.rows.get(&seq)
    }

    /// From `after` on, in order of place.
    pub(super) fn iter_after(&self, after: i64) -> impl Iterator<Item = (i64, &AsideRow)> {
        self.rows.range(after.saturating_add(1)..).map(|(seq, row)| (*seq, row))
    }

    /// Whether a message of the key is set aside that must go out before any later one.
    pub(super) fn blocked(&self, row: &Row) -> bool {
        let Some(key) = row.message.key.as_deref() else { return false };
        self.lines.get(&row.message.topic).is_some_and(|lines| lines.contains_key(key))
    }

    /// Adds or puts back a row; a waiting one becomes due at its `not_until`, or is behind an earlier one.
    pub(super) fn insert(&mut self, seq: i64, mut row: AsideRow) {
        row.due = match row.state {
            AsideState::Scheduled => Some(row.not_until),
            AsideState::Waiting if !self.has_earlier(&row.row, seq) => Some(row.not_until),
            AsideState::Waiting | AsideState::Parked | AsideState::Dead => None,
        };
        let message = &row.row.message;
        if let Some(due) = row.due {
            self.due.entry(message.topic.clone()).or_default().insert((due, seq));
        }
        if let (true, Some(key)) = (row.blocks(), &message.key) {
            let line = self.lines.entry(message.topic.clone()).or_default().entry(key.clone()).or_default();
            line.all.insert(seq);
            if row.due.is_some() {
                line.due.insert(seq);
            }
        }
        self.rows.insert(seq, row);
    }

    pub(super) fn remove(&mut self, seq: i64) -> Option<AsideRow> {
        let row = self.rows.remove(&seq)?;
        self.unlist_due(&row.row.message.topic, row.due, seq);
        if let (true, Some(key)) = (row.blocks(), &row.row.message.key) {
            let topic = &row.row.message.topic;
            if let Some(lines) = self.lines.get_mut(topic) {
                if let Some(line) = lines.get_mut(key) {
                    line.all.remove(&seq);
                    line.due.remove(&seq);
                    if line.all.is_empty() {
                        lines.remove(key);
                    }
                }
                if lines.is_empty() {
                    self.lines.remove(topic);
                }
            }
        }
        Some(row)
    }

    /// Restores the order of a key's line after rows have come, gone or changed.
    pub(super) fn straighten(&mut self, topic: &str, key: &str, now: Moment) {
        let Some(line) = self.lines.get(topic).and_then(|lines| lines.get(key)) else { return };
        let out_of_line = self.out_of_line(line);
        let head_is_due = line.all.first().is_some_and(|head| line.due.contains(head));
        for seq in out_of_line {
            self.set_due(seq, None);
        }
        if !head_is_due {
            self.release_head(topic, key, now);
        }
    }

    /// The topics that have rows with a due time.
    pub(super) fn topics(&self) -> impl Iterator<Item = &str> {
        self.due.keys().map(String::as_str)
    }

    /// The rows of `topic` that are due, longest due first.
    pub(super) fn due(&self, topic: &str, now: Moment) -> impl Iterator<Item = (i64, &AsideRow)> {
        let due = self.due.get(topic).into_iter().flat_map(move |due| due.range(..=(now, i64::MAX)));
        due.filter_map(|(_, seq)| self.rows.get(seq).map(|row| (*seq, row)))
    }

    /// When the next row of `topic` becomes due.
    pub(super) fn next_due(&self, topic: &str, now: Moment) -> Option<Moment> {
        let later = (now, i64::MAX);
        let mut due =
            self.due.get(topic)?.range((std::ops::Bound::Excluded(later), std::ops::Bound::Unbounded));
        due.next().map(|(due, _)| *due)
    }

    fn has_earlier(&self, row: &Row, seq: i64) -> bool {
        let Some(key) = &row.message.key else { return false };
        let line = self.lines.get(&row.message.topic).and_then(|lines| lines.get(key));
        line.and_then(|line| line.all.first()).is_some_and(|head| *head < seq)
    }

    /// The due rows of `line` that are not part of its prefix.
    fn out_of_line(&self, line: &Line) -> Vec<i64> {
        let mut in_line = line.all.iter();
        let mut latest = Moment::ZERO;
        let mut in_prefix = |seq: &&i64| {
            let due = self.rows.get(*seq).and_then(|row| row.due).unwrap_or_default();
            let fits = in_line.next() == Some(*seq) && due >= latest;
            latest = due;
            fits
        };
        line.due.iter().skip_while(|seq| in_prefix(seq)).copied().collect()
    }

    fn release_head(&mut self, topic: &str, key: &str, now: Moment) {
        let Some(line) = self.lines.get(topic).and_then(|lines| lines.get(key)) else { return };
        let head: Vec<i64> = line.all.iter().take(RELEASED_TOGETHER).copied().collect();
        for seq in head {
            let Some(row) = self.rows.get(&seq).filter(|row| row.state == AsideState::Waiting) else {
                return;
            };
            let due = row.not_until.max(now);
            self.set_due(seq, Some(due));
            if due > now {
                return;
            }
        }
    }

    fn set_due(&mut self, seq: i64, due: Option<Moment>) {
        let Some(row) = self.rows.get_mut(&seq) else { return };
        let before = std::mem::replace(&mut row.due, due);
        let message = &row.row.message;
        let line = self.lines.get_mut(&message.topic).zip(message.key.as_ref());
        if let Some(line) = line.and_then(|(lines, key)| lines.get_mut(key)) {
            if due.is_some() {
                line.due.insert(seq)
            } else {
                line.due.remove(&seq)
            };
        }
        let topic = message.topic.clone();
        self.unlist_due(&topic, before, seq);
        if let Some(due) = due {
            self.due.entry(topic).or_default().insert((due, seq));
        }
    }

    fn unlist_due(&mut self, topic: &str, due: Option<Moment>, seq: i64) {
        let Some(due) = due else { return };
        if let Some(rows) = self.due.get_mut(topic) {
            rows.remove(&(due, seq));
            if rows.is_empty() {
                self.due.remove(topic);
            }
        }
    }
}
