//! Reading what may go out now.

use super::aside::{AsideRow, AsideState};
use super::clock::Moment;
use super::store::SLOT;
use super::tables::{Row, Tables};
use crate::{Claim, ClaimRequest, Claimed, Place, Tally};

/// Reads fresh messages after the place `read_to`, and those set aside that are due. Answers how far it read.
pub(super) fn read(tables: &Tables, request: &ClaimRequest<'_>, read_to: i64, now: Moment) -> (Claim, i64) {
    let mut reading = Reading { tables, request, now, claim: Claim::default(), bytes: 0, read_to };
    let wanted = || tables.aside.topics().filter(|topic| (request.wants)(topic));
    let mut due = wanted().flat_map(|topic| tables.aside.due(topic, now));
    // Neither set starves the other: half for those set aside, and what one leaves to the other.
    reading.set_aside(&mut due, request.limit.div_ceil(2));
    reading.fresh();
    reading.set_aside(&mut due, request.limit);

    let mut claim = reading.claim;
    claim.more = claim.messages.len() >= request.limit || reading.bytes >= request.max_bytes;
    claim.next_due =
        wanted().filter_map(|topic| tables.aside.next_due(topic, now)).min().map(|due| due - now);
    (claim, reading.read_to)
}

struct Reading<'r, 'a> {
    tables: &'r Tables,
    request: &'r ClaimRequest<'a>,
    now: Moment,
    claim: Claim,
    bytes: usize,
    read_to: i64,
}

impl<'r> Reading<'r, '_> {
    fn set_aside(&mut self, due: &mut impl Iterator<Item = (i64, &'r AsideRow)>, limit: usize) {
        while self.has_room(limit)
            && let Some((seq, aside)) = due.next()
        {
            if self.is_held(seq) {
                continue;
            }
            // Those that wait are due only while nothing of their key is before them.
            let behind = aside.state == AsideState::Scheduled && self.tables.aside.blocked(&aside.row);
            let claimed =
                Claimed { fresh: false, tally: aside.tally, behind, ..self.first_claim(seq, &aside.row) };
            self.hand_out(claimed);
        }
    }

    fn fresh(&mut self) {
        let mut rows = self.tables.fresh.range(self.read_to.saturating_add(1)..);
        while self.has_room(self.request.limit)
            && let Some((seq, row)) = rows.next()
        {
            self.read_to = *seq;
            if self.is_held(*seq) {
                continue;
            }
            let wait = row.not_before.map(|moment| moment.saturating_sub(self.now));
            let due_in = wait.filter(|wait| !wait.is_zero());
            let behind = self.tables.aside.blocked(row);
            self.hand_out(Claimed { behind, due_in, ..self.first_claim(*seq, row) });
        }
    }

    fn has_room(&self, limit: usize) -> bool {
        let first = self.claim.messages.is_empty();
        first || (self.claim.messages.len() < limit && self.bytes < self.request.max_bytes)
    }

    fn is_held(&self, seq: i64) -> bool {
        self.request.held.contains(&Place { slot: SLOT, seq, hint: 0 })
    }

    fn first_claim(&self, seq: i64, row: &Row) -> Claimed {
        Claimed {
            place: Place { slot: SLOT, seq, hint: 0 },
            message: Ok(row.message.clone()),
            fresh: true,
            tally: Tally::default(),
            age: row.age(self.now),
            behind: false,
            due_in: None,
        }
    }

    fn hand_out(&mut self, claimed: Claimed) {
        self.bytes += claimed.message.as_ref().map_or(0, |message| message.payload.len());
        self.claim.messages.push(claimed);
    }
}
