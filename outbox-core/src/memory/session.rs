//! [`Sessions`]: who runs, who owns the outbox, and what each has in flight.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::clock::Moment;
use crate::{Batch, BatchNo, Epoch};

/// A session that is fenced is forgotten: its number is never used again.
#[derive(Default)]
pub(super) struct Sessions {
    last_epoch: i64,
    owner: Option<Epoch>,
    sessions: BTreeMap<Epoch, Session>,
}

pub(super) struct Session {
    expires: Moment,
    /// It gave its slot back, and stays only for what its journal lists.
    ended: bool,
    /// The last fresh place it was handed.
    pub(super) read_to: i64,
    /// The change counter it knows: as of its start or its last claim that read from the beginning.
    pub(super) changes_known: u64,
    journal: Journal,
}

/// What is in flight: journalled, and without a verdict.
#[derive(Default)]
struct Journal {
    batches: BTreeMap<BatchNo, Open>,
    in_flight: HashMap<i64, BatchNo>,
}

struct Open {
    places: Vec<i64>,
    alone: bool,
}

impl Sessions {
    /// Keeps `epoch` alive until `expires`, or starts a new session.
    pub(super) fn keep_or_start(&mut self, epoch: Option<Epoch>, expires: Moment, changes: u64) -> Epoch {
        if let Some(epoch) = epoch
            && let Some(session) = self.sessions.get_mut(&epoch).filter(|session| !session.ended)
        {
            session.expires = expires;
            return epoch;
        }
        self.last_epoch += 1;
        let epoch = Epoch(self.last_epoch);
        let journal = Journal::default();
        let session = Session { expires, ended: false, read_to: 0, changes_known: changes, journal };
        self.sessions.insert(epoch, session);
        epoch
    }

    pub(super) fn owns(&self, epoch: Epoch) -> bool {
        self.owner == Some(epoch)
    }

    /// The session, if it owns the outbox.
    pub(super) fn owning(&mut self, epoch: Epoch) -> Option<&mut Session> {
        if self.owner == Some(epoch) { self.sessions.get_mut(&epoch) } else { None }
    }

    /// Makes `epoch` the owner, unless another session that is alive owns the outbox. Answers what those before it
    /// left in flight, by place and whether it was alone; they are fenced.
    pub(super) fn take_over(&mut self, epoch: Epoch, now: Moment) -> Option<Vec<(i64, bool)>> {
        let alive = |owner| self.sessions.get(&owner).is_some_and(|session| session.expires > now);
        if self.owner.is_some_and(alive) {
            return None;
        }
        let fenced: Vec<Epoch> = self
            .sessions
            .iter()
            .filter(|(number, session)| session.ended || self.owner == Some(**number))
            .map(|(number, _)| *number)
            .collect();
        let left = fenced.iter().filter_map(|number| self.sessions.remove(number));
        let in_flight = left.flat_map(|session| session.journal.into_in_flight()).collect();
        self.owner = Some(epoch);
        Some(in_flight)
    }

    /// Ends the session; what its journal lists is left to the successor.
    pub(super) fn end(&mut self, epoch: Epoch) {
        if self.owner == Some(epoch) {
            self.owner = None;
        }
        if let Some(session) = self.sessions.get_mut(&epoch) {
            session.ended = true;
        }
    }

    pub(super) fn in_flight(&self, seq: i64) -> bool {
        self.sessions.values().any(|session| session.journal.in_flight.contains_key(&seq))
    }

    /// Forgets sessions that own nothing and have shown no life for `silence`.
    pub(super) fn forget_silent(&mut self, now: Moment, silence: Duration) {
        let owner = self.owner;
        self.sessions.retain(|epoch, session| {
            owner == Some(*epoch)
                || !session.journal.in_flight.is_empty()
                || session.expires.saturating_add(silence) > now
        });
    }
}

impl Session {
    pub(super) fn settled(&mut self, seq: i64) {
        self.journal.in_flight.remove(&seq);
    }

    /// Opens `batch`, of whose number none is open.
    pub(super) fn open(&mut self, batch: &Batch) {
        let places: Vec<i64> = batch.places.iter().map(|place| place.seq).collect();
        self.journal.in_flight.extend(places.iter().map(|seq| (*seq, batch.number)));
        self.journal.batches.insert(batch.number, Open { places, alone: batch.alone });
    }

    pub(super) fn close(&mut self, number: BatchNo) {
        let Some(open) = self.journal.batches.remove(&number) else { return };
        for seq in open.places {
            if self.journal.in_flight.get(&seq) == Some(&number) {
                self.journal.in_flight.remove(&seq);
            }
        }
    }
}

impl Journal {
    fn into_in_flight(self) -> impl Iterator<Item = (i64, bool)> {
        let Self { batches, in_flight } = self;
        in_flight
            .into_iter()
            .map(move |(seq, number)| (seq, batches.get(&number).is_some_and(|open| open.alone)))
    }
}
