//! The dispatcher's side. Every step is one short critical section, hence atomic.

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;

use super::clock::Moment;
use super::tables::Tables;
use super::{MemoryOutbox, claim};
use crate::{
    Claim, ClaimRequest, DispatcherId, Epoch, Fence, OutboxStore, Ownership, Place, Settlement, Slot,
    StoreError, Verdict, WakeUp,
};

/// The only slot: one session owns the outbox, others stand by.
pub(super) const SLOT: Slot = Slot(0);
/// How long a session that shows no life is remembered, in case it comes back.
const SILENCE: Duration = Duration::from_secs(24 * 3600);

#[async_trait]
impl OutboxStore for MemoryOutbox {
    async fn renew(
        &self,
        _me: &DispatcherId,
        epoch: Option<Epoch>,
        lease_for: Duration,
    ) -> Result<Ownership, StoreError> {
        let now = self.shared.clock.now();
        let mut tables = self.shared.tables();
        let changes = tables.changes;
        let epoch = tables.sessions.keep_or_start(epoch, now.saturating_add(lease_for), changes);
        if !tables.sessions.owns(epoch)
            && let Some(in_flight) = tables.sessions.take_over(epoch, now)
        {
            tables.doubt(in_flight, now);
        }
        let slots = if tables.sessions.owns(epoch) { vec![SLOT] } else { Vec::new() };
        Ok(Ownership { epoch, slots, hand_over: Vec::new() })
    }

    async fn claim(&self, request: &ClaimRequest<'_>) -> Result<Claim, StoreError> {
        let now = self.shared.clock.now();
        let mut guard = self.shared.tables();
        let tables = &mut *guard;
        let changes = tables.changes;
        if !request.slots.contains(&SLOT) {
            return Ok(Claim::default());
        }
        let Some(session) = tables.sessions.owning(request.epoch) else { return Ok(Claim::default()) };
        if request.restart {
            session.read_to = 0;
            session.changes_known = changes;
        }
        let read_to = session.read_to;
        let (claim, read_to) = claim::read(tables, request, read_to, now);
        if let Some(session) = tables.sessions.owning(request.epoch) {
            session.read_to = read_to;
        }
        Ok(claim)
    }

    async fn settle(&self, epoch: Epoch, settlement: &Settlement<'_>) -> Result<Fence, StoreError> {
        let now = self.shared.clock.now();
        let mut guard = self.shared.tables();
        let tables = &mut *guard;
        let verdicts = settlement.verdicts.iter().map(|(place, _)| place);
        let begun = settlement.begin.iter().flat_map(|batch| &batch.places);
        if verdicts.chain(begun).any(|place| place.slot != SLOT) {
            return Ok(Fence::Lost);
        }
        let Some(session) = tables.sessions.owning(epoch) else { return Ok(Fence::Lost) };
        let changed = session.changes_known != tables.changes;
        for (place, _) in settlement.verdicts {
            session.settled(place.seq);
        }
        for number in settlement.ended {
            session.close(*number);
        }
        if let Some(batch) = settlement.begin {
            // An earlier try of the same settlement may have begun it.
            session.close(batch.number);
            if !changed {
                session.open(batch);
            }
        }
        write(tables, settlement.verdicts, now);
        Ok(if changed { Fence::Changed } else { Fence::Held })
    }

    async fn release(&self, epoch: Epoch, slots: &[Slot]) -> Result<(), StoreError> {
        let mut tables = self.shared.tables();
        if slots.contains(&SLOT) {
            tables.sessions.end(epoch);
        }
        Ok(())
    }

    async fn tidy(&self, limit: u32) -> Result<u64, StoreError> {
        let now = self.shared.clock.now();
        let retention = self.shared.retention;
        let mut tables = self.shared.tables();
        tables.sessions.forget_silent(now, SILENCE);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut removed = 0;
        if let (Some(history), Some(retention)) = (&mut tables.history, retention.history) {
            removed += history.purge(now, retention, limit);
        }
        removed += tables.idempotency.purge(now, retention.idempotency, limit - removed);
        removed += tables.inbox.purge(now, retention.inbox, limit - removed);
        Ok(u64::try_from(removed).unwrap_or(u64::MAX))
    }

    fn wake_up(&self) -> WakeUp {
        self.shared.bell.clone()
    }
}

fn write(tables: &mut Tables, verdicts: &[(Place, Verdict)], now: Moment) {
    let mut lines = HashSet::new();
    for (place, verdict) in verdicts {
        // A fresh message that is delivered stands in no line.
        let in_no_line =
            matches!(verdict, Verdict::Delivered { .. }) && tables.fresh.contains_key(&place.seq);
        if !in_no_line {
            lines.extend(tables.line_at(place.seq));
        }
        tables.apply(place.seq, verdict, now);
    }
    tables.straighten(lines, now);
}
