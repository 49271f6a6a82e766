//! [`OutboxStore`]: the dispatcher's side of a database, and the types in its signatures.

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::{DeliveryError, Message, MessageId, StoreError, WakeUp};

/// Where messages wait, as the dispatcher sees it. Only durations cross it: the store's clock judges.
///
/// A store keeps two sets of messages. Fresh ones are only inserted and deleted. What cannot go out when it is
/// read is *set aside*: it waits there for a time, behind an earlier message of its key, or for a person.
/// A key is *blocked* exactly while a message of it is set aside that is neither scheduled nor a skipped dead letter.
///
/// No call may block its thread; the dispatcher's own task polls [`settle`](Self::settle).
///
/// The conformance suite (feature `conformance`) has a named check for every "must" below.
#[async_trait]
pub trait OutboxStore: Send + Sync + 'static {
    /// Starts the session of `me`, or keeps session `epoch` alive, for `lease_for` from now; answers what it owns.
    ///
    /// A session that ran out but was not fenced may renew. A fenced one (or `None`) gets a new session with a
    /// number never used before; everything held under the old one is lost to the caller. The store takes free
    /// and abandoned slots, up to a fair share when several sessions are alive.
    ///
    /// Taking a slot of a session that ran out must, in one transaction, fence that session, set aside what its
    /// journal lists and has no verdict yet (in doubt, with one more crash as [`Tally::after_crash`] says), and
    /// delete its journal.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is owned then that was not owned before.
    async fn renew(
        &self,
        me: &DispatcherId,
        epoch: Option<Epoch>,
        lease_for: Duration,
    ) -> Result<Ownership, StoreError>;

    /// Reads what may go out now, in order of place per slot. Writes nothing.
    ///
    /// Fresh messages come whatever their topic, each at least once per session: the caller holds what it was
    /// handed until a settlement sets it aside or deletes it, so a store may read on from where it stopped;
    /// [`ClaimRequest::restart`] asks it to read from the beginning. Of the messages set aside come those that
    /// are due, whose topic is wanted and that are not behind another of their key. Neither kind may starve the
    /// other. No message whose place is in [`ClaimRequest::held`] may come.
    ///
    /// A fresh or scheduled message must say [`Claimed::behind`] while its key is blocked.
    /// A row that cannot be decoded comes as an error in its place and never fails the claim.
    ///
    /// # Errors
    /// [`StoreError`]; the next claim reads the same again.
    async fn claim(&self, request: &ClaimRequest<'_>) -> Result<Claim, StoreError>;

    /// Writes a [`Settlement`] in one transaction: verdicts, ended batches, the next batch's journal.
    ///
    /// Does nothing and answers [`Fence::Lost`] unless `epoch` still owns its slots; the check and the writes are
    /// one atomic step. A person's act since the last claim with [`restart`](ClaimRequest::restart) (or since the
    /// session began) is answered with [`Fence::Changed`]: verdicts are written, the next batch is not begun, and
    /// if an earlier try of the same settlement began it, it is open no more.
    ///
    /// Must be repeatable: after an error the caller sends the same settlement again, and a verdict on a place
    /// that is gone changes nothing. Within one settlement each place has at most one verdict.
    ///
    /// Durable on return: once it answers [`Fence::Held`], a successor knows the places of the begun batch.
    ///
    /// # Errors
    /// [`StoreError`]: written whole or not at all.
    async fn settle(&self, epoch: Epoch, settlement: &Settlement<'_>) -> Result<Fence, StoreError>;

    /// Gives `slots` back, so that another session may take them at once. A session that keeps no slot has ended;
    /// if its journal still lists messages, its successor treats them as in doubt. Of a fenced session: does nothing.
    ///
    /// # Errors
    /// [`StoreError`]; the lease then runs out by itself.
    async fn release(&self, epoch: Epoch, slots: &[Slot]) -> Result<(), StoreError>;

    /// Removes at most `limit` rows that the store's retention no longer keeps (history, idempotency keys, inbox),
    /// oldest first; answers how many it removed. The dispatcher calls it now and then, away from the dispatch path.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn tidy(&self, limit: u32) -> Result<u64, StoreError>;

    /// The bell that this store's enqueue and commit ring; a store without one returns a fresh [`WakeUp`]. The
    /// dispatcher listens to it from before its first renewal until it ends.
    fn wake_up(&self) -> WakeUp;
}

/// Who runs: a name for people and a number that tells two processes of the same name apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DispatcherId {
    /// For people: a host or service name.
    pub name: String,
    /// Fresh for each running dispatcher.
    pub instance: Uuid,
}

impl DispatcherId {
    /// An id with a fresh instance number.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), instance: Uuid::now_v7() }
    }
}

/// The number of a session, never used again: the fencing token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub i64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a lease covers: a hash class of keys. A simple store has one, `Slot(0)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u32);

/// What a session owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ownership {
    /// The session. Another number than before means: everything held before is lost.
    pub epoch: Epoch,
    /// The slots it owns; empty while another session owns them all.
    pub slots: Vec<Slot>,
    /// Those of `slots` that it should give back once nothing of them is in flight.
    pub hand_over: Vec<Slot>,
}

/// A row's place: equality and hash are those of slot and `seq`.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The slot.
    pub slot: Slot,
    /// The row's number, unique in the outbox and rising in the order of enqueueing.
    pub seq: i64,
    /// The store's own note on where the row lies; the dispatcher hands it back untouched.
    pub hint: u64,
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.seq == other.seq && self.slot == other.slot
    }
}
impl Eq for Place {}
impl Hash for Place {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Places that follow each other must differ in high and low bits alike. They come from the database's own
        // sequence, so that nobody chooses them to collide.
        let seq = self.seq.cast_unsigned() ^ u64::from(self.slot.0).rotate_left(48);
        state.write_u64(seq.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    }
}

/// The places that a dispatcher holds.
pub type HeldPlaces = HashSet<Place, BuildHasherDefault<PlaceHasher>>;

/// Of [`HeldPlaces`]: takes a number as its own hash, for keys that are hashes already.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlaceHasher(u64);

impl Hasher for PlaceHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// What [`OutboxStore::claim`] is asked for.
#[derive(Clone, Copy)]
pub struct ClaimRequest<'a> {
    /// The session that asks.
    pub epoch: Epoch,
    /// The slots to read, all owned.
    pub slots: &'a [Slot],
    /// Which topics are wanted of the messages set aside: those with a route that can take more now.
    pub wants: &'a (dyn Fn(&str) -> bool + Send + Sync),
    /// The places the caller holds.
    pub held: &'a HeldPlaces,
    /// Read from the beginning: the caller forgot what is not in `held`.
    pub restart: bool,
    /// The most messages to answer; at least 1.
    pub limit: usize,
    /// Stop after the message that reaches this many bytes of payload; at least one message is answered.
    pub max_bytes: usize,
}

impl fmt::Debug for ClaimRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaimRequest")
            .field("epoch", &self.epoch)
            .field("slots", &self.slots)
            .field("held", &self.held.len())
            .field("restart", &self.restart)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// The answer of [`OutboxStore::claim`].
#[derive(Debug, Default)]
pub struct Claim {
    /// The messages.
    pub messages: Vec<Claimed>,
    /// Another claim may find more right now.
    pub more: bool,
    /// When the next message set aside becomes due, if one will.
    pub next_due: Option<Duration>,
}

/// One message that was read.
#[derive(Debug)]
pub struct Claimed {
    /// Its place.
    pub place: Place,
    /// The message, or why its row cannot be decoded.
    pub message: Result<Message, CorruptMessage>,
    /// It was never set aside; a row that was set aside and is due comes with `false`.
    pub fresh: bool,
    /// What happened to it so far.
    pub tally: Tally,
    /// How long it could have been delivered: since it was created, since its not-before time, or since a person
    /// redrove it.
    pub age: Duration,
    /// An earlier message of its key is set aside: it must not go out now.
    pub behind: bool,
    /// It must not go out before this much time has passed.
    pub due_in: Option<Duration>,
}

/// A row that cannot be decoded.
#[derive(Debug, Clone, Error)]
#[error("the stored message {id:?} cannot be decoded: {reason}")]
pub struct CorruptMessage {
    /// The id, when at least that is readable.
    pub id: Option<MessageId>,
    /// The topic, when readable; chooses what becomes of the message's key.
    pub topic: String,
    /// The key, when readable.
    pub key: Option<String>,
    /// What is wrong with the row.
    pub reason: String,
}

/// What happened to a message so far. Verdicts carry the new tally as absolute numbers, which makes them repeatable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Attempts spent on failures of the message.
    pub attempts: u32,
    /// Deaths of a process (or panics) while it was in flight and nothing was recorded; a recorded outcome resets it.
    pub crashes: u32,
    /// It may have been delivered already.
    pub in_doubt: bool,
}

impl Tally {
    /// From this many crashes on, the message is sent with nothing else in flight.
    pub const ALONE_FROM: u32 = 2;
    /// At this many crashes the message becomes a dead letter: two in company and three alone.
    pub const DEAD_AT: u32 = 5;

    /// The tally after a crash while the message was in flight, `alone` or not. In company only the first two
    /// count: any of the neighbours may have been the cause.
    #[must_use]
    pub const fn after_crash(self, alone: bool) -> Self {
        let counts = alone || self.crashes < Self::ALONE_FROM;
        Self { crashes: self.crashes + counts as u32, in_doubt: true, ..self }
    }
}

/// The number of a batch within its session; rises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchNo(pub i64);

/// What goes out together: one journal row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Its number.
    pub number: BatchNo,
    /// The places, each once. One that came back unsent may be in an earlier batch that is still open: the latest counts.
    pub places: Vec<Place>,
    /// One message, and nothing else of the session in flight.
    pub alone: bool,
}

/// What [`OutboxStore::settle`] writes; each part may be empty.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settlement<'a> {
    /// Verdicts on claimed places, begun or not.
    pub verdicts: &'a [(Place, Verdict)],
    /// Batches whose every place now has a verdict, or was given back unsent: their journal rows go.
    pub ended: &'a [BatchNo],
    /// The next batch: its journal row is written in the same transaction.
    pub begin: Option<&'a Batch>,
}

/// What becomes of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Delivered: it leaves the outbox (and joins the history, where one is kept).
    Delivered {
        /// What the destination answered, such as a queue id.
        receipt: Option<String>,
    },
    /// It failed: set aside for `delay`, and its key waits with it.
    Retry {
        /// How long.
        delay: Duration,
        /// The new tally.
        tally: Tally,
        /// What happened; the last ten are kept.
        failure: FailureNote,
    },
    /// It cannot go out now and nothing was spent: set aside, due at once, or, behind an earlier message of its
    /// key that is set aside, once that one is gone.
    Wait {
        /// The new tally.
        tally: Tally,
    },
    /// It must not go out before `delay` has passed: set aside, blocking nothing.
    Schedule {
        /// How long.
        delay: Duration,
    },
    /// It became a dead letter.
    Dead {
        /// The new tally.
        tally: Tally,
        /// The last failure.
        failure: FailureNote,
        /// What that does to its key.
        then: OnDead,
    },
}

/// What a dead letter does to its key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDead {
    /// The key goes on; a redrive joins at the end.
    #[default]
    Skip,
    /// The dead letter stays the head of its key until a person redrives or discards it; then the rest follows in order.
    Park,
}

/// A failure, as it is stored with the message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureNote {
    /// Which attempt failed, from 1; 0 when none was made.
    pub attempt: u32,
    /// What kind: `transient`, `permanent`, `ambiguous`, `crash` or `corrupt`.
    pub class: String,
    /// The destination's code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What happened, for a person.
    pub text: String,
}

impl FailureNote {
    /// The note on `error`.
    #[must_use]
    pub fn new(attempt: u32, class: &str, error: &DeliveryError) -> Self {
        Self {
            attempt,
            class: class.to_owned(),
            code: error.code().map(str::to_owned),
            text: error.text().to_owned(),
        }
    }
}

/// Whether a settlement was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fence {
    /// Everything was written.
    Held,
    /// A person redrove or discarded something since the last claim with `restart`, or the store cannot vouch for what
    /// it read before (its server may have lost it in a crash): verdicts and ended batches were written, the next
    /// batch was not begun. Forget what is not in flight and claim with `restart`.
    Changed,
    /// The session is fenced, or does not own the slots of the places: nothing was written. The dispatcher gives it up,
    /// as by [`release`](OutboxStore::release), and renews without an epoch, so that what the journal lists is taken over
    /// and marked.
    Lost,
}

#[async_trait]
impl<S: OutboxStore + ?Sized> OutboxStore for std::sync::Arc<S> {
    async fn renew(
        &self,
        me: &DispatcherId,
        epoch: Option<Epoch>,
        lease_for: Duration,
    ) -> Result<Ownership, StoreError> {
        (**self).renew(me, epoch, lease_for).await
    }
    async fn claim(&self, request: &ClaimRequest<'_>) -> Result<Claim, StoreError> {
        (**self).claim(request).await
    }
    async fn settle(&self, epoch: Epoch, settlement: &Settlement<'_>) -> Result<Fence, StoreError> {
        (**self).settle(epoch, settlement).await
    }
    async fn release(&self, epoch: Epoch, slots: &[Slot]) -> Result<(), StoreError> {
        (**self).release(epoch, slots).await
    }
    async fn tidy(&self, limit: u32) -> Result<u64, StoreError> {
        (**self).tidy(limit).await
    }
    fn wake_up(&self) -> WakeUp {
        (**self).wake_up()
    }
}
