//! A store that works, except for one flaw.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use outbox_core::conformance::{CorruptFixture, StoreFixture};
use outbox_core::{
    Batch, BatchNo, Claim, ClaimRequest, Claimed, CorruptMessage, DeliveryError, DispatcherId, Enqueue,
    Enqueued, EnqueuedIn, Epoch, FailureNote, Fence, HeldPlaces, Inbox, MemoryOutbox, MemoryTransaction,
    Message, MessageId, NewMessage, OnDead, OutboxStore, Ownership, Place, Settlement, Slot, StoreError,
    StoreErrorKind, Tally, Verdict, WakeUp, async_trait,
};

use super::flaw::Flaw;

/// The memory store behind a wrapper that adds the flaw.
pub(crate) struct Flawed {
    pub(crate) flaw: Flaw,
    pub(crate) store: MemoryOutbox,
    notes: Mutex<Notes>,
}

/// What the flaws need to remember.
#[derive(Default)]
struct Notes {
    owner: Option<(DispatcherId, Epoch)>,
    keys: HashMap<MessageId, (String, Option<String>)>,
    attempts: HashMap<i64, u32>,
}

const CORRUPT: &str = "application/x-corrupt";

impl Flawed {
    pub(crate) fn new(flaw: Flaw) -> Self {
        let store = MemoryOutbox::builder().history(Duration::from_secs(3600)).build();
        Self { flaw, store, notes: Mutex::default() }
    }

    pub(crate) fn is(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().expect("no test panics while it holds the notes")
    }

    /// What is written instead of `message`.
    fn spoil(&self, message: &NewMessage) -> NewMessage {
        let lower =
            |text: &str| if self.is(Flaw::IgnoresCase) { text.to_lowercase() } else { text.to_owned() };
        let topic = if self.is(Flaw::TopicsShareKeys) { "all" } else { message.topic() };
        let payload = message.payload();
        let cut = if self.is(Flaw::CutsPayloads) {
            payload.slice(..payload.len().min(65_535))
        } else {
            payload.clone()
        };
        let mut builder = NewMessage::builder(topic)
            .id(message.id())
            .message_type(message.message_type())
            .payload(cut, message.content_type());
        if self.is(Flaw::UnkeyedShareAKey) {
            builder = builder.key("none");
        }
        if self.is(Flaw::EveryMessageOnce) {
            builder = builder.idempotency_key("none");
        }
        if let Some(key) = message.key().filter(|_| !self.is(Flaw::ForgetsKeys)) {
            builder = builder.key(lower(key));
        }
        if let Some(key) = message.idempotency_key().filter(|_| !self.is(Flaw::ForgetsIdempotency)) {
            builder = builder.idempotency_key(lower(key));
        }
        if let Some(moment) = message.not_before().filter(|_| !self.is(Flaw::ForgetsNotBefore)) {
            builder = builder.not_before(moment);
        }
        for (name, value) in message.headers().iter().filter(|_| !self.is(Flaw::DropsHeaders)) {
            builder = builder.header(name, value);
        }
        builder.build().expect("the message was valid before")
    }

    /// What is handed out instead of `claimed`.
    fn distort(&self, claimed: &mut Claimed) {
        if self.is(Flaw::DoubtsEverything) {
            claimed.tally.in_doubt = true;
        }
        if self.is(Flaw::ClaimingCounts) {
            let mut notes = self.notes();
            let attempts = notes.attempts.entry(claimed.place.seq).or_default();
            *attempts += 1;
            claimed.tally.attempts = *attempts;
        }
        if self.is(Flaw::ForgetsTheTally) {
            claimed.tally = Tally::default();
        }
        claimed.fresh |= self.is(Flaw::AlwaysFresh);
        if self.is(Flaw::AlwaysOld) {
            claimed.age = Duration::from_secs(1_000_000_000);
        }
        let Ok(message) = &mut claimed.message else { return };
        if let Some((topic, key)) = self.notes().keys.get(&message.id) {
            (message.topic, message.key) = (topic.clone(), key.clone());
        }
        if self.is(Flaw::TextPayloads) {
            message.payload = String::from_utf8_lossy(&message.payload).into_owned().into();
        }
        if message.content_type == CORRUPT {
            let (topic, key) = (message.topic.clone(), message.key.clone());
            let reason = "the headers are no JSON".to_owned();
            claimed.message = Err(CorruptMessage { id: None, topic, key, reason });
        }
    }

    fn spoil_verdict(&self, place: Place, verdict: &Verdict) -> Option<(Place, Verdict)> {
        let mut verdict = verdict.clone();
        match &mut verdict {
            Verdict::Delivered { .. } if self.is(Flaw::DeliveredStays) => return None,
            Verdict::Dead { tally, .. } if self.is(Flaw::DeadLettersReturn) => {
                verdict = Verdict::Wait { tally: *tally };
            }
            Verdict::Schedule { delay } if self.is(Flaw::ScheduledBlocks) => {
                let failure = FailureNote::new(0, "transient", &DeliveryError::new("not yet"));
                verdict = Verdict::Retry { delay: *delay, tally: Tally::default(), failure };
            }
            Verdict::Dead { then, .. } if self.is(Flaw::SkippedHolds) => *then = OnDead::Park,
            Verdict::Dead { then, .. } if self.is(Flaw::ParkedLetsGo) => *then = OnDead::Skip,
            Verdict::Retry { delay, .. } | Verdict::Schedule { delay } if self.is(Flaw::Impatient) => {
                *delay = Duration::ZERO;
            }
            Verdict::Retry { tally, .. } if self.is(Flaw::NotRepeatable) => {
                let mut notes = self.notes();
                let attempts = notes.attempts.entry(place.seq).or_default();
                *attempts += 1;
                tally.attempts = *attempts;
            }
            _ => {}
        }
        Some((place, verdict))
    }
}

#[async_trait]
impl StoreFixture for Flawed {
    type Outbox = Self;
    type Conn = MemoryTransaction;
    type Transaction = MemoryTransaction;

    async fn fresh() -> Self {
        Self::new(Flaw::None)
    }
    fn outbox(&self) -> &Self {
        self
    }
    async fn begin(&self) -> MemoryTransaction {
        self.store.begin()
    }
    fn conn(tx: &mut MemoryTransaction) -> &mut MemoryTransaction {
        tx
    }
    async fn commit(&self, tx: MemoryTransaction) {
        if !self.is(Flaw::ForgetsCommit) {
            self.store.commit(tx);
        }
    }
    async fn rollback(&self, tx: MemoryTransaction) {
        drop(tx);
    }
}

#[async_trait]
impl CorruptFixture for Flawed {
    async fn insert_corrupt(&self, topic: &str, key: Option<&str>) {
        let mut builder = NewMessage::builder(topic).payload(&b""[..], CORRUPT);
        if let Some(key) = key {
            builder = builder.key(key);
        }
        let mut tx = self.store.begin();
        let message = builder.build().expect("the message is valid");
        self.store.enqueue(&mut tx, &[message]).await.expect("enqueue succeeds");
        self.store.commit(tx);
    }
}

#[async_trait]
impl Enqueue<MemoryTransaction> for Flawed {
    async fn enqueue(
        &self,
        conn: &mut MemoryTransaction,
        messages: &[NewMessage],
    ) -> Result<Vec<Enqueued>, StoreError> {
        let most = if self.is(Flaw::StoresAThousandMessages) { 1000 } else { usize::MAX };
        let spoilt: Vec<NewMessage> = messages.iter().take(most).map(|message| self.spoil(message)).collect();
        let identity = |message: &NewMessage| (message.topic().to_owned(), message.key().map(str::to_owned));
        self.notes().keys.extend(messages.iter().map(|message| (message.id(), identity(message))));
        if self.is(Flaw::ForgetsRollback) {
            // Writes on a connection of its own instead of the caller's.
            let mut own = self.store.begin();
            let answers = self.store.enqueue(&mut own, &spoilt).await;
            self.store.commit(own);
            return answers;
        }
        let mut answers = self.store.enqueue(conn, &spoilt).await?;
        if self.is(Flaw::AnswersBackwards) {
            answers.reverse();
        }
        Ok(answers)
    }
}

#[async_trait]
impl EnqueuedIn<MemoryTransaction> for Flawed {
    async fn enqueued_in(&self, conn: &mut MemoryTransaction) -> Result<Vec<Message>, StoreError> {
        let mut messages = self.store.enqueued_in(conn).await?;
        if self.is(Flaw::Reverses) {
            messages.reverse();
        }
        Ok(messages)
    }
}

#[async_trait]
impl Inbox<MemoryTransaction> for Flawed {
    async fn first_time(
        &self,
        conn: &mut MemoryTransaction,
        consumer: &str,
        message: MessageId,
    ) -> Result<bool, StoreError> {
        match self.flaw {
            Flaw::ForgetsIdempotency => Ok(true),
            Flaw::IgnoresCase => self.store.first_time(conn, &consumer.to_lowercase(), message).await,
            Flaw::ForgetsRollback => {
                let mut own = self.store.begin();
                let first = self.store.first_time(&mut own, consumer, message).await;
                self.store.commit(own);
                first
            }
            _ => self.store.first_time(conn, consumer, message).await,
        }
    }
}

#[async_trait]
impl OutboxStore for Flawed {
    async fn renew(
        &self,
        me: &DispatcherId,
        epoch: Option<Epoch>,
        lease_for: Duration,
    ) -> Result<Ownership, StoreError> {
        let owner = self.notes().owner.clone();
        let lease_for =
            if self.is(Flaw::NeverExpires) { lease_for.max(Duration::from_secs(60)) } else { lease_for };
        if let (Flaw::RobsTheLiving, Some((owner, old))) = (self.flaw, &owner) {
            self.store.renew(owner, Some(*old), Duration::ZERO).await?;
        }
        let epoch = match (self.flaw, &owner) {
            // Every session has the number 1; the store below still tells them apart.
            (Flaw::ReusesEpochs, Some((owner, inner))) if owner == me && epoch.is_some() => Some(*inner),
            (Flaw::ReusesEpochs, _) => None,
            (Flaw::NewEpochOnRenewal, Some((_, old))) if epoch.is_some() => {
                self.store.release(*old, &[Slot(0)]).await?;
                None
            }
            _ => epoch,
        };
        let mut owned = self.store.renew(me, epoch, lease_for).await?;
        if let (Flaw::RevivesUnknownSessions, Some(given)) = (self.flaw, epoch) {
            owned.epoch = given;
        }
        if !owned.slots.is_empty() {
            self.notes().owner = Some((me.clone(), owned.epoch));
        }
        match self.flaw {
            Flaw::ReusesEpochs => owned.epoch = Epoch(1),
            Flaw::OwnsNothing => owned.slots.clear(),
            _ => {}
        }
        Ok(owned)
    }

    async fn claim(&self, request: &ClaimRequest<'_>) -> Result<Claim, StoreError> {
        let nothing = HeldPlaces::default();
        let wants_all = |_: &str| true;
        let mut asked = *request;
        match self.flaw {
            Flaw::ClaimsWithoutSlots => asked.slots = &[Slot(0)],
            Flaw::ClaimsTwice => (asked.held, asked.restart) = (&nothing, true),
            Flaw::IgnoresRestart => asked.restart = false,
            Flaw::IgnoresLimits => (asked.limit, asked.max_bytes) = (usize::MAX, usize::MAX),
            Flaw::WantsEverything => asked.wants = &wants_all,
            Flaw::AnyClaimForgetsActs => asked.restart = true,
            _ => {}
        }
        if self.is(Flaw::ReusesEpochs)
            && let Some((_, inner)) = self.notes().owner
        {
            asked.epoch = inner;
        }
        let mut claim = self.store.claim(&asked).await?;
        let corrupt =
            |claimed: &Claimed| matches!(&claimed.message, Ok(message) if message.content_type == CORRUPT);
        match self.flaw {
            Flaw::CorruptFailsTheClaim if claim.messages.iter().any(corrupt) => {
                return Err(StoreError::new(StoreErrorKind::Other, "a row cannot be decoded"));
            }
            Flaw::CorruptIsSkipped => claim.messages.retain(|claimed| !corrupt(claimed)),
            Flaw::Reverses => claim.messages.reverse(),
            Flaw::AlwaysMore => claim.more = true,
            Flaw::WantsOnlyRoutes => {
                claim.messages.retain(|c| c.message.as_ref().is_ok_and(|m| (request.wants)(&m.topic)));
            }
            Flaw::StarvesTheDeferred if claim.messages.iter().any(|claimed| claimed.fresh) => {
                claim.messages.retain(|claimed| claimed.fresh);
            }
            Flaw::StarvesTheFresh if claim.messages.iter().any(|claimed| !claimed.fresh) => {
                claim.messages.retain(|claimed| !claimed.fresh);
            }
            Flaw::LosesADroppedClaim => {
                // The place up to which it has read is moved on before the answer is out.
                tokio::task::yield_now().await;
            }
            _ => {}
        }
        claim.messages.iter_mut().for_each(|claimed| self.distort(claimed));
        Ok(claim)
    }

    async fn settle(&self, epoch: Epoch, settlement: &Settlement<'_>) -> Result<Fence, StoreError> {
        let owner = self.notes().owner.as_ref().map(|(_, epoch)| *epoch);
        let epoch = match self.flaw {
            Flaw::NoFence | Flaw::ReusesEpochs => owner.unwrap_or(epoch),
            _ => epoch,
        };
        let verdicts: Vec<(Place, Verdict)> = settlement
            .verdicts
            .iter()
            .filter_map(|(place, verdict)| self.spoil_verdict(*place, verdict))
            .collect();
        let every_batch: Vec<BatchNo> = (0..100).map(BatchNo).collect();
        let alone = settlement.begin.map(|batch| Batch { alone: true, ..batch.clone() });
        let mut spoilt = Settlement { verdicts: &verdicts, ..*settlement };
        match self.flaw {
            Flaw::IgnoresTheJournal => spoilt.begin = None,
            Flaw::TakesEverybodyForAlone => spoilt.begin = alone.as_ref(),
            Flaw::NeverEndsABatch => spoilt.ended = &[],
            Flaw::EndsEveryBatch => spoilt.ended = &every_batch,
            Flaw::WritesAThousandVerdicts => spoilt.verdicts = &verdicts[..verdicts.len().min(1000)],
            Flaw::HalfWritten => {
                for one in &verdicts {
                    let half = Settlement { verdicts: std::slice::from_ref(one), ..Settlement::default() };
                    self.store.settle(epoch, &half).await?;
                    tokio::task::yield_now().await;
                }
            }
            Flaw::ActsGoUnnoticed => {
                let (wants, held, slots) = (|_: &str| false, HeldPlaces::default(), [Slot(0)]);
                let restart = ClaimRequest {
                    epoch,
                    slots: &slots,
                    wants: &wants,
                    held: &held,
                    restart: true,
                    limit: 1,
                    max_bytes: 1,
                };
                self.store.claim(&restart).await?;
            }
            _ => {}
        }
        let fence = self.store.settle(epoch, &spoilt).await?;
        Ok(if self.is(Flaw::NoFence) { Fence::Held } else { fence })
    }

    async fn release(&self, epoch: Epoch, slots: &[Slot]) -> Result<(), StoreError> {
        if self.is(Flaw::IgnoresRelease) {
            return Ok(());
        }
        let owner = self.notes().owner.as_ref().map(|(_, epoch)| *epoch);
        let epoch = if self.is(Flaw::ReusesEpochs) { owner.unwrap_or(epoch) } else { epoch };
        self.store.release(epoch, slots).await
    }

    async fn tidy(&self, limit: u32) -> Result<u64, StoreError> {
        self.store.tidy(limit).await
    }

    fn wake_up(&self) -> WakeUp {
        self.store.wake_up()
    }
}
