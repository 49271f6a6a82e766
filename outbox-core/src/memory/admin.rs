//! What a person on call sees and does.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use async_trait::async_trait;

use super::MemoryOutbox;
use super::aside::{AsideRow, AsideState};
use super::clock::{Moment, moment, time};
use super::ended::{Ended, HistoryRow};
use super::tables::{Row, Tables};
use crate::{
    Act, Message, MessageDetail, MessageId, MessageState, MessageSummary, OutboxAdmin, Page, PageRequest,
    Selection, StoreError, StoreErrorKind, Tally, TopicCounts,
};

const LONGEST_PAGE: u32 = 1000;

#[async_trait]
impl OutboxAdmin for MemoryOutbox {
    async fn counts(&self) -> Result<Vec<TopicCounts>, StoreError> {
        let now = self.shared.clock.now();
        let tables = self.shared.tables();
        let mut topics: BTreeMap<&str, (BTreeMap<MessageState, u64>, Option<Duration>)> = BTreeMap::new();
        for (_, row) in tables.rows_after(i64::MIN) {
            let message = row.message();
            let state = row.state(now);
            let (states, oldest) = topics.entry(message.topic.as_str()).or_default();
            *states.entry(state).or_default() += 1;
            if is_on_its_way(state) {
                let age = now.saturating_sub(moment(message.created_at));
                *oldest = Some(oldest.map_or(age, |oldest| oldest.max(age)));
            }
        }
        let counts = |(topic, (states, oldest)): (&str, (BTreeMap<_, _>, _))| TopicCounts {
            topic: topic.to_owned(),
            states: states.into_iter().collect(),
            oldest,
        };
        Ok(topics.into_iter().map(counts).collect())
    }

    async fn list(&self, request: &PageRequest) -> Result<Page, StoreError> {
        if !(1..=LONGEST_PAGE).contains(&request.limit) {
            let text = format!("a page holds 1 to {LONGEST_PAGE} messages; {} were asked for", request.limit);
            return Err(StoreError::new(StoreErrorKind::Invalid, text));
        }
        let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
        let now = self.shared.clock.now();
        let tables = self.shared.tables();
        let topic =
            |row: &AnyRow<'_>| request.topic.as_ref().is_none_or(|topic| *topic == row.message().topic);
        let state = |row: &AnyRow<'_>| request.state.is_none_or(|state| state == row.state(now));
        let mut rows = tables
            .rows_after(request.after.unwrap_or(i64::MIN))
            .filter(|(_, e)| topic(e) && state(e))
            .peekable();
        let mut page = Page { messages: Vec::new(), next: None };
        while page.messages.len() < limit
            && let Some((seq, row)) = rows.next()
        {
            page.messages.push(row.summary(now));
            page.next = Some(seq);
        }
        if rows.peek().is_none() {
            page.next = None;
        }
        Ok(page)
    }

    async fn show(&self, id: MessageId) -> Result<Option<MessageDetail>, StoreError> {
        let now = self.shared.clock.now();
        let tables = self.shared.tables();
        let Some((_, row)) = tables.rows_after(i64::MIN).filter(|(_, e)| e.message().id == id).last() else {
            return Ok(None);
        };
        let (failures, receipt) = match row {
            AnyRow::Fresh(_) => (Vec::new(), None),
            AnyRow::Aside(aside) => (aside.failures.clone(), None),
            AnyRow::Ended(row) => (row.failures.clone(), row.receipt()),
        };
        Ok(Some(MessageDetail {
            summary: row.summary(now),
            message: (!matches!(row, AnyRow::Ended(_))).then(|| row.message().clone()),
            failures,
            receipt,
            acts: tables.acts.get(&id).cloned().unwrap_or_default(),
        }))
    }

    async fn redrive(&self, what: &Selection, act: &Act) -> Result<u64, StoreError> {
        self.act(what, act, "redrive", |tables, seq, now| {
            let can = |aside: &AsideRow| match aside.state {
                AsideState::Dead | AsideState::Parked => true,
                AsideState::Waiting => state_of(aside) == MessageState::Retrying,
                AsideState::Scheduled => false,
            };
            if !tables.aside.get(seq).is_some_and(can) {
                return false;
            }
            let Some(mut aside) = tables.aside.remove(seq) else { return false };
            if matches!(aside.state, AsideState::Dead | AsideState::Parked) {
                aside.row.not_before = Some(now);
            }
            match aside.state {
                AsideState::Dead => tables.append(aside.row),
                AsideState::Parked => {
                    aside.state = AsideState::Waiting;
                    aside.tally = Tally::default();
                    aside.not_until = now;
                    tables.aside.insert(seq, aside);
                }
                AsideState::Waiting | AsideState::Scheduled => {
                    aside.not_until = now;
                    tables.aside.insert(seq, aside);
                }
            }
            true
        })
    }

    async fn discard(&self, what: &Selection, act: &Act) -> Result<u64, StoreError> {
        self.act(what, act, "discard", |tables, seq, now| {
            let Some(row) = tables.take(seq) else { return false };
            tables.end(seq, &row, Ended::Discarded, now);
            true
        })
    }

    async fn purge_history(&self, older_than: Duration, limit: u32) -> Result<u64, StoreError> {
        let now = self.shared.clock.now();
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut tables = self.shared.tables();
        let purged = tables.history.as_mut().map_or(0, |history| history.purge(now, older_than, limit));
        Ok(u64::try_from(purged).unwrap_or(u64::MAX))
    }
}

impl MemoryOutbox {
    /// Does `one` to each message selected, records who and why, and tells the owner that something has changed.
    fn act(
        &self,
        what: &Selection,
        act: &Act,
        name: &str,
        one: impl Fn(&mut Tables, i64, Moment) -> bool,
    ) -> Result<u64, StoreError> {
        act.check()?;
        let now = self.shared.clock.now();
        let mut guard = self.shared.tables();
        let tables = &mut *guard;
        let mut done = 0;
        let mut lines = HashSet::new();
        for (seq, id) in select(tables, what, now)? {
            let line = tables.line_at(seq);
            if one(tables, seq, now) {
                done += 1;
                lines.extend(line);
                let act = Act { what: name.to_owned(), at: time(now), ..act.clone() };
                tables.acts.entry(id).or_default().push(act);
            }
        }
        if done > 0 {
            tables.straighten(lines, now);
            tables.changes += 1;
            drop(guard);
            self.shared.bell.committed();
        }
        Ok(done)
    }
}

fn select(tables: &Tables, what: &Selection, now: Moment) -> Result<Vec<(i64, MessageId)>, StoreError> {
    let waiting = tables.rows_after(i64::MIN).filter(|(_, row)| !matches!(row, AnyRow::Ended(_)));
    match what {
        Selection::Ids(ids) => {
            let ids: HashSet<&MessageId> = ids.iter().collect();
            let selected = waiting.filter(|(_, row)| ids.contains(&row.message().id));
            let selected: Vec<_> = selected.map(|(seq, row)| (seq, row.message().id)).collect();
            if selected.iter().any(|(seq, _)| tables.sessions.in_flight(*seq)) {
                let text = "a message is in flight; try again once its delivery has ended";
                return Err(StoreError::new(StoreErrorKind::InFlight, text));
            }
            Ok(selected)
        }
        Selection::All { topic, state } => {
            let topic = |row: &AnyRow<'_>| topic.as_ref().is_none_or(|topic| *topic == row.message().topic);
            let state = |row: &AnyRow<'_>| state.is_none_or(|state| state == row.state(now));
            let selected =
                waiting.filter(|(seq, row)| topic(row) && state(row) && !tables.sessions.in_flight(*seq));
            Ok(selected.map(|(seq, row)| (seq, row.message().id)).collect())
        }
    }
}

/// A message wherever it is in its life.
enum AnyRow<'t> {
    Fresh(&'t Row),
    Aside(&'t AsideRow),
    Ended(&'t HistoryRow),
}

impl Tables {
    /// All messages after the place `after`, in order of place.
    fn rows_after(&self, after: i64) -> impl Iterator<Item = (i64, AnyRow<'_>)> {
        let fresh = self.fresh.range(after.saturating_add(1)..);
        let mut fresh = fresh.map(|(seq, row)| (*seq, AnyRow::Fresh(row))).peekable();
        let mut aside = self.aside.iter_after(after).map(|(seq, row)| (seq, AnyRow::Aside(row))).peekable();
        let ended = self.history.iter().flat_map(move |history| history.iter_after(after));
        let mut ended = ended.map(|(seq, row)| (seq, AnyRow::Ended(row))).peekable();
        std::iter::from_fn(move || {
            let place = |row: Option<&(i64, AnyRow<'_>)>| row.map_or(i64::MAX, |(seq, _)| *seq);
            let places = [place(fresh.peek()), place(aside.peek()), place(ended.peek())];
            match places.iter().min() {
                Some(first) if *first == places[0] && fresh.peek().is_some() => fresh.next(),
                Some(first) if *first == places[1] && aside.peek().is_some() => aside.next(),
                _ => ended.next(),
            }
        })
    }
}

impl<'t> AnyRow<'t> {
    fn message(&self) -> &'t Message {
        match self {
            Self::Fresh(row) => &row.message,
            Self::Aside(aside) => &aside.row.message,
            Self::Ended(row) => &row.message,
        }
    }

    fn state(&self, now: Moment) -> MessageState {
        match self {
            Self::Fresh(row) if row.not_before.is_some_and(|moment| moment > now) => MessageState::Scheduled,
            Self::Fresh(_) => MessageState::Waiting,
            Self::Aside(aside) => state_of(aside),
            Self::Ended(HistoryRow { how: Ended::Delivered { .. }, .. }) => MessageState::Delivered,
            Self::Ended(HistoryRow { how: Ended::Discarded, .. }) => MessageState::Discarded,
        }
    }

    fn summary(&self, now: Moment) -> MessageSummary {
        let message = self.message();
        let (tally, due, last_failure) = match self {
            Self::Fresh(row) => (Tally::default(), row.not_before.filter(|moment| *moment > now), None),
            Self::Aside(aside) => (aside.tally, aside.due, aside.failures.last().cloned()),
            Self::Ended(row) => (row.tally, None, row.failures.last().cloned()),
        };
        MessageSummary {
            id: message.id,
            topic: message.topic.clone(),
            message_type: message.message_type.clone(),
            key: message.key.clone(),
            state: self.state(now),
            tally,
            created_at: message.created_at,
            due_in: due.map(|due| due.saturating_sub(now)),
            last_failure,
        }
    }
}

fn state_of(aside: &AsideRow) -> MessageState {
    let Tally { attempts, crashes, in_doubt } = aside.tally;
    match aside.state {
        AsideState::Scheduled => MessageState::Scheduled,
        AsideState::Parked => MessageState::Parked,
        AsideState::Dead => MessageState::Dead,
        AsideState::Waiting if aside.due.is_none() => MessageState::Behind,
        AsideState::Waiting if attempts > 0 || crashes > 0 || in_doubt => MessageState::Retrying,
        AsideState::Waiting => MessageState::Behind,
    }
}

/// Whether it counts for the age of the oldest.
fn is_on_its_way(state: MessageState) -> bool {
    match state {
        MessageState::Waiting | MessageState::Retrying | MessageState::Behind | MessageState::Parked => true,
        MessageState::Scheduled | MessageState::Dead | MessageState::Delivered | MessageState::Discarded => {
            false
        }
    }
}
