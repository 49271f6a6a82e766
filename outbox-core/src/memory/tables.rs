//! [`Tables`]: everything the outbox holds, and the steps that change it.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::aside::{AsideRow, AsideState, SetAside};
use super::clock::{Moment, moment};
use super::ended::{Ended, Expiring, History};
use super::session::Sessions;
use crate::{Act, Message, MessageId, NewMessage, Verdict};

pub(super) struct Tables {
    last_seq: i64,
    pub(super) fresh: BTreeMap<i64, Row>,
    pub(super) aside: SetAside,
    pub(super) sessions: Sessions,
    pub(super) history: Option<History>,
    pub(super) idempotency: Expiring<(String, String), MessageId>,
    pub(super) inbox: Expiring<(String, MessageId), ()>,
    /// What open transactions are about to make known.
    pub(super) reserved: HashSet<Reservation>,
    pub(super) acts: HashMap<MessageId, Vec<Act>>,
    /// Raised by every act of a person.
    pub(super) changes: u64,
}

#[derive(Clone)]
pub(super) struct Row {
    pub(super) message: Message,
    pub(super) not_before: Option<Moment>,
}

/// Something that only one open transaction at a time may do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Reservation {
    Idempotency { topic: String, key: String },
    Inbox { consumer: String, message: MessageId },
}

impl Row {
    pub(super) fn new(message: &NewMessage, now: Moment) -> Self {
        Self {
            message: Message {
                id: message.id(),
                topic: message.topic().to_owned(),
                message_type: message.message_type().to_owned(),
                key: message.key().map(str::to_owned),
                payload: message.payload().clone(),
                content_type: message.content_type().to_owned(),
                headers: message.headers().clone(),
                idempotency_key: message.idempotency_key().map(str::to_owned),
                created_at: super::clock::time(now),
            },
            not_before: message.not_before().map(moment),
        }
    }

    /// How long it could have been delivered.
    pub(super) fn age(&self, now: Moment) -> std::time::Duration {
        let from = moment(self.message.created_at).max(self.not_before.unwrap_or_default());
        now.saturating_sub(from)
    }
}

impl Tables {
    pub(super) fn new(with_history: bool) -> Self {
        Self {
            last_seq: 0,
            fresh: BTreeMap::new(),
            aside: SetAside::default(),
            sessions: Sessions::default(),
            history: with_history.then(History::default),
            idempotency: Expiring::default(),
            inbox: Expiring::default(),
            reserved: HashSet::new(),
            acts: HashMap::new(),
            changes: 0,
        }
    }

    /// Adds a message at the end.
    pub(super) fn append(&mut self, row: Row) {
        self.last_seq += 1;
        self.fresh.insert(self.last_seq, row);
    }

    /// Takes a message out of whichever set holds it.
    pub(super) fn take(&mut self, seq: i64) -> Option<AsideRow> {
        self.fresh.remove(&seq).map(AsideRow::new).or_else(|| self.aside.remove(seq))
    }

    /// Writes `verdict` on the message at `seq`; one that is gone changes nothing. The caller straightens its line.
    pub(super) fn apply(&mut self, seq: i64, verdict: &Verdict, now: Moment) {
        let Some(mut row) = self.take(seq) else { return };
        match verdict {
            Verdict::Delivered { receipt } => {
                return self.end(seq, &row, Ended::Delivered { receipt: receipt.clone() }, now);
            }
            Verdict::Retry { delay, tally, failure } => {
                row.state = AsideState::Waiting;
                row.not_until = now.saturating_add(*delay);
                row.tally = *tally;
                row.note(failure);
            }
            Verdict::Wait { tally } => {
                row.state = AsideState::Waiting;
                row.not_until = now;
                row.tally = *tally;
            }
            Verdict::Schedule { delay } => {
                row.state = AsideState::Scheduled;
                row.not_until = now.saturating_add(*delay);
            }
            Verdict::Dead { tally, failure, then } => {
                row.state = match then {
                    crate::OnDead::Skip => AsideState::Dead,
                    crate::OnDead::Park => AsideState::Parked,
                };
                row.tally = *tally;
                row.note(failure);
            }
        }
        self.aside.insert(seq, row);
    }

    /// Sets aside as in doubt what a dead session had in flight.
    pub(super) fn doubt(&mut self, in_flight: Vec<(i64, bool)>, now: Moment) {
        let mut lines = HashSet::new();
        for (seq, alone) in in_flight {
            let Some(mut row) = self.take(seq) else { continue };
            row.tally = row.tally.after_crash(alone);
            row.state = AsideState::Waiting;
            row.not_until = now;
            lines.extend(line_of(&row.row));
            self.aside.insert(seq, row);
        }
        self.straighten(lines, now);
    }

    pub(super) fn straighten(&mut self, lines: HashSet<(String, String)>, now: Moment) {
        for (topic, key) in lines {
            self.aside.straighten(&topic, &key, now);
        }
    }

    /// The line that the message at `seq` stands in, or will once it is set aside.
    pub(super) fn line_at(&self, seq: i64) -> Option<(String, String)> {
        let row = self.fresh.get(&seq).or_else(|| self.aside.get(seq).map(|aside| &aside.row))?;
        line_of(row)
    }

    pub(super) fn end(&mut self, seq: i64, row: &AsideRow, how: Ended, now: Moment) {
        if let Some(history) = &mut self.history {
            history.add(seq, row, how, now);
        }
    }
}

pub(super) fn line_of(row: &Row) -> Option<(String, String)> {
    let message = &row.message;
    message.key.as_ref().map(|key| (message.topic.clone(), key.clone()))
}
