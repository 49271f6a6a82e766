//! What is remembered of things past: the history, and whatever else retention forgets again.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use super::aside::AsideRow;
use super::clock::Moment;
use crate::{FailureNote, Message, Tally};

/// Messages that were delivered or discarded, by place.
#[derive(Default)]
pub(super) struct History {
    rows: BTreeMap<i64, HistoryRow>,
    by_end: BTreeSet<(Moment, i64)>,
}

pub(super) struct HistoryRow {
    /// Its payload and headers are not kept.
    pub(super) message: Message,
    pub(super) how: Ended,
    pub(super) tally: Tally,
    pub(super) failures: Vec<FailureNote>,
}

pub(super) enum Ended {
    Delivered { receipt: Option<String> },
    Discarded,
}

impl HistoryRow {
    pub(super) fn receipt(&self) -> Option<String> {
        match &self.how {
            Ended::Delivered { receipt } => receipt.clone(),
            Ended::Discarded => None,
        }
    }
}

impl History {
    pub(super) fn add(&mut self, seq: i64, row: &AsideRow, how: Ended, at: Moment) {
        let mut message = row.row.message.clone();
        message.payload = bytes::Bytes::new();
        message.headers = crate::Headers::default();
        let ended = HistoryRow { message, how, tally: row.tally, failures: row.failures.clone() };
        self.rows.insert(seq, ended);
        self.by_end.insert((at, seq));
    }

    /// From `after` on, in order of place.
    pub(super) fn iter_after(&self, after: i64) -> impl Iterator<Item = (i64, &HistoryRow)> {
        self.rows.range(after.saturating_add(1)..).map(|(seq, row)| (*seq, row))
    }

    /// Deletes at most `limit` rows that ended `older_than` ago or earlier, oldest first.
    pub(super) fn purge(&mut self, now: Moment, older_than: Duration, limit: usize) -> usize {
        let old = |(at, seq): &(Moment, i64)| (at.saturating_add(older_than) <= now).then_some((*at, *seq));
        let gone: Vec<(Moment, i64)> = self.by_end.iter().map_while(old).take(limit).collect();
        for (at, seq) in &gone {
            self.by_end.remove(&(*at, *seq));
            self.rows.remove(seq);
        }
        gone.len()
    }
}

/// Rows that count for a while from when they were written.
pub(super) struct Expiring<K, V> {
    rows: HashMap<K, (Moment, V)>,
    by_age: VecDeque<(Moment, K)>,
}

impl<K, V> Default for Expiring<K, V> {
    fn default() -> Self {
        Self { rows: HashMap::new(), by_age: VecDeque::new() }
    }
}

impl<K: Hash + Eq + Clone, V> Expiring<K, V> {
    /// The value, unless it was written `retention` ago or earlier.
    pub(super) fn get(&self, key: &K, now: Moment, retention: Duration) -> Option<&V> {
        let (at, value) = self.rows.get(key)?;
        (at.saturating_add(retention) > now).then_some(value)
    }

    pub(super) fn insert(&mut self, key: K, value: V, now: Moment) {
        self.by_age.push_back((now, key.clone()));
        self.rows.insert(key, (now, value));
    }

    /// Removes at most `limit` rows that no longer count, oldest first.
    pub(super) fn purge(&mut self, now: Moment, retention: Duration, limit: usize) -> usize {
        let mut removed = 0;
        while removed < limit
            && self.by_age.front().is_some_and(|(at, _)| at.saturating_add(retention) <= now)
            && let Some((at, key)) = self.by_age.pop_front()
        {
            // A row that was written anew since counts from then.
            if self.rows.get(&key).is_some_and(|(written, _)| *written == at) {
                self.rows.remove(&key);
                removed += 1;
            }
        }
        removed
    }
}
