//! What the dispatcher holds in memory, and the rules of order: no I/O, no clock but for pauses.
//!
//! A message that was claimed is in one of three stages: in *line* (of its key, or ready by itself), *in flight*
//! (begun, its outcome unknown), or *judged* (its verdict waits to be written). Its place stays held until the
//! verdict is written, so that no claim brings it twice.

mod intake;
mod judge;
mod places;
mod plan;
#[cfg(test)]
mod races;

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, RandomState};
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;
use tokio::time::Instant;

use super::DispatchSummary;
use super::route::Route;
use super::route_state::{RouteState, Runnable};
use crate::store::{HeldPlaces, PlaceHasher};
use crate::{BatchNo, DeliveryReport, Message, Place, Slot, Tally, Verdict};

pub(super) use plan::Plan;

use places::Places;

/// How long the next write waits for the outcomes of a call that has just started. Measured with a destination that
/// answers at once: a tenth more messages a second than without; a slow one never notices it.
pub(super) const ANSWER_SOON: Duration = Duration::from_micros(500);

/// By the hash of a topic and a key, which was made with a secret of this process: hashing it again would protect
/// nothing.
type ByHash<V> = HashMap<u64, V, BuildHasherDefault<PlaceHasher>>;

/// A claim reads at least this part of what a route may hold: a small batch is for what is sent, not for what is read.
const READ_PARTS: usize = 8;

/// How many emptied lines are kept.
const SPARE_LINES: usize = 1_000;

/// A message in memory.
#[derive(Debug)]
struct Held {
    place: Place,
    fresh: bool,
    message: Arc<Message>,
    route: usize,
    key: Option<u64>,
    claimed: Tally,
    tally: Tally,
    age: Duration,
    claimed_at: Instant,
    size: usize,
    batch: Option<BatchNo>,
}

impl Held {
    /// A message that may kill its process is sent with nothing else in flight.
    fn goes_alone(&self) -> bool {
        self.tally.crashes >= Tally::ALONE_FROM
    }

    fn age(&self) -> Duration {
        self.age.saturating_add(self.claimed_at.elapsed())
    }
}

/// The messages of one key, in the order of their places.
#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<usize>,
    /// In flight, or about to be.
    busy: usize,
    /// A `Runnable::Key` for it is in its route's queue.
    queued: bool,
    /// The batch that its latest message in flight was planned for.
    planned: Option<BatchNo>,
    /// An earlier or later message of the key was set aside while these were in flight: what comes back unsent
    /// is set aside too, or it would overtake, or be overtaken after a restart.
    broken: bool,
}

/// Why messages of a key that a claim brings must be set aside, although the claim does not say so yet:
/// the settlement that sets an earlier one aside was not written when the claim read.
#[derive(Debug, Clone, Copy, Default)]
struct Block {
    /// Verdicts not written yet.
    pending: u32,
    /// Claims up to this one may have read before the write.
    stale_until: u64,
}

/// A call of a transport that is under way.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) route: usize,
    tickets: Vec<Option<usize>>,
    pub(super) report: DeliveryReport,
    started: Instant,
    alone: bool,
    progress: bool,
}

/// What waits to be written.
#[derive(Debug, Clone, Default)]
pub(super) struct Judged {
    /// In the order in which they were judged.
    pub(super) verdicts: Vec<(Place, Verdict)>,
    /// The keys that they block.
    blocks: Vec<(u64, Scope)>,
    /// Batches of which nothing is in flight any more.
    pub(super) ended: Vec<BatchNo>,
    /// What is set aside behind one of them may go once they are written. Behind a fresh message that was delivered
    /// nothing can be.
    pub(super) frees: bool,
}

/// Which messages of a key a block stops at intake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Fresh ones: those set aside earlier are ahead of the one that was just set aside.
    Fresh,
    /// All: the head failed.
    All,
}

pub(super) struct Ledger {
    routes: Arc<Vec<Route>>,
    states: Vec<RouteState>,
    quota: usize,
    quota_bytes: usize,
    hasher: RandomState,

    held: Slab<Held>,
    /// The places of everything held, judged ones included.
    places: Places,
    lines: ByHash<Line>,
    /// Emptied lines, for keys to come: most keys have one message at a time.
    spare: Vec<Line>,
    blocks: ByHash<(Block, Block)>,
    alone: VecDeque<usize>,

    calls: HashMap<u64, Call>,
    next_call: u64,
    /// How many of each open batch are in flight; a few batches at most.
    open: Vec<(BatchNo, usize)>,
    next_batch: i64,
    in_flight: usize,
    turn: usize,

    judged: Judged,
    /// Topics without a route that the log has named: each once, as there may be any number of messages.
    without_route: HashSet<String>,
    pub(super) summary: DispatchSummary,
}

impl Ledger {
    /// A ledger; `probes` says whether a route that paused is tried again in this run.
    pub(super) fn new(
        routes: Arc<Vec<Route>>,
        max_held: usize,
        max_held_bytes: usize,
        batch: usize,
        probes: bool,
    ) -> Self {
        let states = routes.iter().map(|_| RouteState::new(probes)).collect();
        // With room for two batches a route never sends back what it was just given.
        let quota = (max_held / routes.len().max(1)).max(batch.saturating_mul(2));
        let quota_bytes = (max_held_bytes / routes.len().max(1)).max(1);
        Self {
            routes,
            states,
            quota,
            quota_bytes,
            hasher: RandomState::new(),
            held: Slab::new(),
            places: Places::default(),
            lines: ByHash::default(),
            spare: Vec::new(),
            blocks: ByHash::default(),
            alone: VecDeque::new(),
            calls: HashMap::new(),
            next_call: 0,
            open: Vec::new(),
            next_batch: 0,
            in_flight: 0,
            turn: 0,
            judged: Judged::default(),
            without_route: HashSet::new(),
            summary: DispatchSummary::default(),
        }
    }

    /// Forgets everything: another session owns it now.
    pub(super) fn reset(&mut self) {
        let fresh = Self {
            quota: self.quota,
            quota_bytes: self.quota_bytes,
            next_call: self.next_call,
            // The session may be the same one, and a number is never used twice in it.
            next_batch: self.next_batch,
            summary: self.summary,
            ..Self::new(Arc::clone(&self.routes), 1, 1, 0, true)
        };
        // Pauses are kept: a destination that is down stays down.
        let states = std::mem::take(&mut self.states);
        *self = fresh;
        self.states = states.iter().map(RouteState::emptied).collect();
    }

    pub(super) fn places(&mut self) -> Arc<HeldPlaces> {
        self.places.share()
    }

    /// A call has only just started, so its outcomes may be here in a moment, and less than half a `batch` of others
    /// waits to be written.
    pub(super) fn awaits_answers(&self, batch: usize) -> bool {
        self.judged.verdicts.len() * 2 < batch
            && self.calls.values().any(|call| call.started.elapsed() < ANSWER_SOON)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// In flight as the store sees it: what came to an end counts until its verdict is being written.
    pub(super) fn unsettled(&self) -> usize {
        self.in_flight + self.judged.begun()
    }

    /// Nothing is under way and nothing waits to be written.
    pub(super) fn is_settled(&self) -> bool {
        self.in_flight == 0 && self.judged.is_empty() && self.calls.is_empty()
    }

    /// Something is held that a route may send now or will send soon, other than on a route that is paused.
    pub(super) fn has_runnable(&self, now: Instant) -> bool {
        self.held.iter().any(|(_, held)| !self.states[held.route].is_paused(now))
    }

    /// How many messages and bytes a claim may bring: a `batch`, or a part of what a route may hold, if that is more;
    /// `None` while no route has room for so many, since small claims cost as much as large ones.
    pub(super) fn claim_room(&self, batch: usize) -> Option<(usize, usize)> {
        // What is set aside as soon as it is read makes room at once: a store that reads faster than it writes would
        // fall behind for good.
        if self.judged.verdicts.len() >= self.quota {
            return None;
        }
        let limit = batch.max(self.quota / READ_PARTS);
        let bytes = |route: usize| self.quota_bytes.saturating_sub(self.states[route].held_bytes);
        let open = (0..self.states.len()).filter(|route| self.room(*route) >= limit);
        open.map(bytes).max().map(|bytes| (limit, bytes))
    }

    /// Which routes want messages that were set aside: room for all that a claim brings, and no pause.
    pub(super) fn wanting(&self, limit: usize, now: Instant) -> Vec<bool> {
        let wants = |route: usize| self.room(route) >= limit && !self.states[route].is_paused(now);
        (0..self.states.len()).map(wants).collect()
    }

    /// When the next pause ends.
    pub(super) fn next_probe(&self, now: Instant) -> Option<Instant> {
        self.states.iter().filter_map(RouteState::paused_until).filter(|until| *until > now).min()
    }

    /// Messages that `route` may still hold.
    fn room(&self, route: usize) -> usize {
        let state = &self.states[route];
        if state.held_bytes >= self.quota_bytes { 0 } else { self.quota.saturating_sub(state.held) }
    }

    fn hash(&self, topic: &str, key: &str) -> u64 {
        // A collision lets two keys share a line: slower, never out of order.
        self.hasher.hash_one((topic, key))
    }

    fn judge_place(&mut self, place: Place, verdict: Verdict, blocks: Option<(u64, Scope)>) {
        if let Some((key, scope)) = blocks {
            let (fresh, all) = self.blocks.entry(key).or_default();
            match scope {
                Scope::Fresh => fresh.pending += 1,
                Scope::All => all.pending += 1,
            }
            self.judged.blocks.push((key, scope));
        }
        self.judged.frees |= !matches!(verdict, Verdict::Delivered { .. } | Verdict::Schedule { .. });
        self.judged.verdicts.push((place, verdict));
    }

    /// Takes a message out of memory; its place stays held until the verdict is written.
    fn drop_held(&mut self, ticket: usize) -> Held {
        let held = self.held.remove(ticket);
        let state = &mut self.states[held.route];
        state.held -= 1;
        state.held_bytes -= held.size;
        held
    }

    /// What was judged so far, in order, at most `most` verdicts of it.
    pub(super) fn take_judged(&mut self, most: usize) -> Judged {
        let later =
            if self.judged.verdicts.len() > most { self.judged.split_off(most) } else { Judged::default() };
        std::mem::replace(&mut self.judged, later)
    }

    /// Takes back what is to be written later, before everything judged since.
    pub(super) fn write_later(&mut self, later: Judged) {
        let since = std::mem::replace(&mut self.judged, later);
        self.judged.verdicts.extend(since.verdicts);
        self.judged.blocks.extend(since.blocks);
        self.judged.ended.extend(since.ended);
        self.judged.frees |= since.frees;
    }

    /// How many verdicts wait to be written.
    pub(super) fn judged(&self) -> usize {
        self.judged.verdicts.len()
    }

    pub(super) fn has_judged(&self) -> bool {
        !self.judged.is_empty()
    }

    /// What was judged is written; claim number `claims` was the last to start until then.
    pub(super) fn written(&mut self, judged: &Judged, claims: u64) {
        for (place, _) in &judged.verdicts {
            self.places.remove(*place);
        }
        for (key, scope) in &judged.blocks {
            if let Some((fresh, all)) = self.blocks.get_mut(key) {
                let block = if *scope == Scope::Fresh { fresh } else { all };
                block.pending -= 1;
                block.stale_until = claims;
            }
        }
    }

    /// Forgets what is not in flight, of `slots` or of all: it will be claimed anew, by whoever owns it then.
    pub(super) fn forget_unbegun(&mut self, slots: Option<&[Slot]>) {
        let concerned = |place: &Place| slots.is_none_or(|slots| slots.contains(&place.slot));
        let unbegun = self.held.iter().filter(|(_, held)| held.batch.is_none() && concerned(&held.place));
        let gone: HashSet<usize> = unbegun.map(|(ticket, _)| ticket).collect();
        for ticket in self.alone.iter().filter(|ticket| gone.contains(ticket)).copied().collect::<Vec<_>>() {
            self.free_key(self.held[ticket].key);
        }
        for ticket in &gone {
            let held = self.drop_held(*ticket);
            self.places.remove(held.place);
        }
        self.alone.retain(|ticket| !gone.contains(ticket));
        for state in &mut self.states {
            state
                .ready
                .retain(|runnable| !matches!(runnable, Runnable::Message(ticket) if gone.contains(ticket)));
        }
        // An emptied line that is still queued is dropped when its turn comes.
        for line in self.lines.values_mut() {
            line.waiting.retain(|ticket| !gone.contains(ticket));
        }
        self.lines.retain(|_, line| line.busy > 0 || line.queued || !line.waiting.is_empty());
    }

    /// Whether anything of `slots` is in flight or waits to be written.
    pub(super) fn holds_any(&mut self, slots: &[Slot]) -> bool {
        self.places.any_of(slots)
    }

    /// One message of the key less is in flight.
    fn free_key(&mut self, key: Option<u64>) {
        if let Some(line) = key.and_then(|key| self.lines.get_mut(&key)) {
            line.busy -= 1;
            line.broken &= line.busy > 0;
        }
    }

    /// A message of `key` is being set aside: so is what stands in line behind `place` (or all of it), earliest
    /// first, and what is in flight if it comes back unsent.
    fn break_line(&mut self, key: u64, behind: Option<Place>) {
        let Some(line) = self.lines.get_mut(&key) else { return };
        line.broken = line.busy > 0;
        let keep =
            behind.map_or(0, |place| line.waiting.partition_point(|&t| self.held[t].place.seq < place.seq));
        // A `Runnable::Key` that stays in a queue finds the line empty and is dropped there.
        for ticket in line.waiting.split_off(keep) {
            let held = self.drop_held(ticket);
            self.summary.set_aside += 1;
            self.judge_place(held.place, Verdict::Wait { tally: held.tally }, Some((key, Scope::All)));
        }
    }

    /// Puts the key into its route's queue if a message of it can go.
    fn queue_key(&mut self, key: u64) {
        let Some(line) = self.lines.get_mut(&key) else { return };
        if line.busy > 0 || line.queued {
            return;
        }
        match line.waiting.front() {
            Some(&head) => {
                line.queued = true;
                self.states[self.held[head].route].ready.push_back(Runnable::Key(key));
            }
            None => {
                let small = |line: &Line| line.waiting.capacity() <= 16 && self.spare.len() < SPARE_LINES;
                let emptied = self.lines.remove(&key).filter(small);
                self.spare.extend(emptied.map(|line| Line { waiting: line.waiting, ..Line::default() }));
            }
        }
    }
}

impl Judged {
    /// The verdicts after the first `most`, with the batches that ended, which stay open until then, and the keys, which
    /// stay blocked.
    pub(super) fn split_off(&mut self, most: usize) -> Self {
        Self {
            verdicts: self.verdicts.split_off(most),
            blocks: std::mem::take(&mut self.blocks),
            ended: std::mem::take(&mut self.ended),
            frees: self.frees,
        }
    }

    fn is_empty(&self) -> bool {
        self.verdicts.is_empty() && self.ended.is_empty()
    }

    /// How many of them were sent: their verdict is not that they must wait.
    pub(super) fn begun(&self) -> usize {
        let begun = |verdict: &Verdict| !matches!(verdict, Verdict::Wait { .. } | Verdict::Schedule { .. });
        self.verdicts.iter().filter(|(_, verdict)| begun(verdict)).count()
    }
}
