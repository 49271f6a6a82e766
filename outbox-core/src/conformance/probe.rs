//! [`Probe`]: the short steps that checks of a store are made of.

use std::collections::HashSet;
use std::time::Duration;

use super::StoreFixture;
use crate::{
    Act, Batch, BatchNo, Claim, ClaimRequest, Claimed, DeliveryError, DispatcherId, Enqueue, Enqueued, Epoch,
    FailureNote, Fence, HeldPlaces, Message, MessageDetail, MessageId, NewMessage, OnDead, OutboxAdmin,
    OutboxStore, Ownership, Place, Selection, Settlement, Slot, Tally, Verdict,
};

pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// A producer and any number of dispatchers of one outbox, by hand.
pub(super) struct Probe<F> {
    pub(super) fixture: F,
}

/// A dispatcher's session, with what a dispatcher keeps in memory.
pub(super) struct Session {
    pub(super) me: DispatcherId,
    pub(super) epoch: Epoch,
    pub(super) slots: Vec<Slot>,
    pub(super) held: HeldPlaces,
    batches: i64,
}

impl<F: StoreFixture> Probe<F> {
    pub(super) fn new(fixture: F) -> Self {
        Self { fixture }
    }

    pub(super) fn outbox(&self) -> &F::Outbox {
        self.fixture.outbox()
    }

    /// Enqueues `messages` in one transaction and commits it.
    pub(super) async fn enqueue(&self, messages: &[NewMessage]) -> Vec<Enqueued> {
        let mut tx = self.fixture.begin().await;
        let answers = self.enqueue_in(&mut tx, messages).await;
        self.fixture.commit(tx).await;
        answers
    }

    pub(super) async fn enqueue_in(&self, tx: &mut F::Transaction, messages: &[NewMessage]) -> Vec<Enqueued> {
        self.outbox().enqueue(F::conn(tx), messages).await.expect("enqueue succeeds")
    }

    /// A dispatcher that starts and is alive for an hour.
    pub(super) async fn start(&self) -> Session {
        self.start_for(HOUR).await
    }

    pub(super) async fn start_for(&self, lease_for: Duration) -> Session {
        let me = DispatcherId::new("probe");
        let owned = self.outbox().renew(&me, None, lease_for).await.expect("renew succeeds");
        Session { me, epoch: owned.epoch, slots: owned.slots, held: HeldPlaces::default(), batches: 0 }
    }

    pub(super) async fn renew(&self, session: &Session, lease_for: Duration) -> Ownership {
        let renewed = self.outbox().renew(&session.me, Some(session.epoch), lease_for).await;
        renewed.expect("renew succeeds")
    }

    /// The lease of `session` runs out, as when its process has died; the next one to start takes over.
    pub(super) async fn expire(&self, session: &Session) {
        let owned = self.renew(session, Duration::ZERO).await;
        assert_eq!(owned.epoch, session.epoch, "renewing a session that nobody fenced keeps its epoch");
    }

    /// `session` dies and another one takes over.
    pub(super) async fn take_over(&self, session: &Session) -> Session {
        self.expire(session).await;
        let successor = self.start().await;
        assert!(!successor.slots.is_empty(), "a slot whose session ran out can be taken");
        successor
    }

    /// Everything that can go out now, whatever its topic; `session` holds it then.
    pub(super) async fn claim(&self, session: &mut Session) -> Vec<Claimed> {
        let mut all = Vec::new();
        loop {
            tokio::task::yield_now().await;
            let claim = self.claim_some(session, &|_| true, false, 1000, usize::MAX).await;
            let nothing = claim.messages.is_empty();
            all.extend(claim.messages);
            if nothing || !claim.more {
                return all;
            }
        }
    }

    /// Like [`claim`](Self::claim), after `session` forgot what it held.
    pub(super) async fn claim_anew(&self, session: &mut Session) -> Vec<Claimed> {
        session.held.clear();
        let first = self.claim_some(session, &|_| true, true, 1000, usize::MAX).await;
        let mut all = first.messages;
        if first.more {
            all.extend(self.claim(session).await);
        }
        all
    }

    pub(super) async fn claim_some(
        &self,
        session: &mut Session,
        wants: &(dyn Fn(&str) -> bool + Send + Sync),
        restart: bool,
        limit: usize,
        max_bytes: usize,
    ) -> Claim {
        let request = ClaimRequest {
            epoch: session.epoch,
            slots: &session.slots,
            wants,
            held: &session.held,
            restart,
            limit,
            max_bytes,
        };
        let claim = self.outbox().claim(&request).await.expect("claim succeeds");
        for claimed in &claim.messages {
            assert!(!session.held.contains(&claimed.place), "a message that is held was claimed again");
            assert!(
                session.slots.contains(&claimed.place.slot),
                "a message of a slot that was not asked for"
            );
        }
        session.held.extend(claim.messages.iter().map(|claimed| claimed.place));
        claim
    }

    /// Settles, and expects that the session is alive.
    pub(super) async fn settle(&self, session: &mut Session, verdicts: &[(Place, Verdict)]) {
        let fence = self.try_settle(session, Settlement { verdicts, ..Settlement::default() }).await;
        assert_eq!(fence, Fence::Held, "the session is alive and nobody interfered");
    }

    pub(super) async fn try_settle(&self, session: &mut Session, settlement: Settlement<'_>) -> Fence {
        for (place, _) in settlement.verdicts {
            session.held.remove(place);
        }
        self.outbox().settle(session.epoch, &settlement).await.expect("settle succeeds")
    }

    /// Begins a batch of `places`, in company.
    pub(super) async fn begin(&self, session: &mut Session, places: &[Place]) -> BatchNo {
        self.begin_batch(session, places, false).await
    }

    pub(super) async fn begin_batch(&self, session: &mut Session, places: &[Place], alone: bool) -> BatchNo {
        let batch = session.batch(places, alone);
        let settlement = Settlement { begin: Some(&batch), ..Settlement::default() };
        assert_eq!(
            self.try_settle(session, settlement).await,
            Fence::Held,
            "a session that is alive can begin"
        );
        batch.number
    }

    pub(super) async fn deliver(&self, session: &mut Session, place: Place) {
        self.settle(session, &[(place, delivered())]).await;
    }

    /// Delivers all that comes, one claim after another, and answers the ids in the order of delivery.
    ///
    /// As a dispatcher does, it sets aside what is behind.
    pub(super) async fn drain(&self, session: &mut Session) -> Vec<MessageId> {
        let claimed = self.claim(session).await;
        self.drain_from(session, claimed).await
    }

    /// The same, after `claimed`.
    pub(super) async fn drain_from(
        &self,
        session: &mut Session,
        mut claimed: Vec<Claimed>,
    ) -> Vec<MessageId> {
        let mut order = Vec::new();
        let mut seen = HashSet::new();
        let mut rounds = 0;
        while !claimed.is_empty() {
            rounds += 1;
            assert!(rounds < 10_000, "the store hands out the same messages for ever");
            // Lets the limit on the check's time take effect, also with a store that never waits.
            tokio::task::yield_now().await;
            let mut verdicts = Vec::with_capacity(claimed.len());
            for claimed in claimed {
                if claimed.behind {
                    verdicts.push((claimed.place, Verdict::Wait { tally: claimed.tally }));
                } else {
                    let id = message(&claimed).id;
                    assert!(seen.insert(id), "a message came again after its delivery was settled");
                    order.push(id);
                    verdicts.push((claimed.place, delivered()));
                }
            }
            self.settle(session, &verdicts).await;
            claimed = self.claim(session).await;
        }
        order
    }
}

impl Session {
    pub(super) fn batch(&mut self, places: &[Place], alone: bool) -> Batch {
        self.batches += 1;
        Batch { number: BatchNo(self.batches), places: places.to_vec(), alone }
    }
}

/// A message of the topic `orders`.
pub(super) fn unkeyed() -> NewMessage {
    build(NewMessage::builder("orders"))
}

/// A message of the topic `orders` and `key`.
pub(super) fn keyed(key: &str) -> NewMessage {
    build(NewMessage::builder("orders").key(key))
}

pub(super) fn of_topic(topic: &str) -> NewMessage {
    build(NewMessage::builder(topic))
}

pub(super) fn build(builder: crate::MessageBuilder) -> NewMessage {
    builder.payload(&b"payload"[..], "text/plain").build().expect("the message is valid")
}

/// `count` messages of one key.
pub(super) fn line(key: &str, count: usize) -> Vec<NewMessage> {
    (0..count).map(|_| keyed(key)).collect()
}

pub(super) fn ids(messages: &[NewMessage]) -> Vec<MessageId> {
    messages.iter().map(NewMessage::id).collect()
}

pub(super) fn message(claimed: &Claimed) -> &Message {
    claimed.message.as_ref().expect("the message can be decoded")
}

pub(super) fn claimed_ids(claimed: &[Claimed]) -> Vec<MessageId> {
    claimed.iter().map(|claimed| message(claimed).id).collect()
}

pub(super) fn places(claimed: &[Claimed]) -> Vec<Place> {
    claimed.iter().map(|claimed| claimed.place).collect()
}

/// The claimed message with this id.
pub(super) fn find<'c>(claimed: &'c [Claimed], wanted: &NewMessage) -> &'c Claimed {
    let found = claimed.iter().find(|claimed| message(claimed).id == wanted.id());
    found.expect("the message is claimed")
}

pub(super) fn has(claimed: &[Claimed], wanted: &NewMessage) -> bool {
    claimed.iter().any(|claimed| message(claimed).id == wanted.id())
}

/// The one message that was claimed.
pub(super) fn only(mut claimed: Vec<Claimed>) -> Claimed {
    assert_eq!(claimed.len(), 1, "exactly one message is claimed");
    claimed.remove(0)
}

pub(super) fn delivered() -> Verdict {
    Verdict::Delivered { receipt: None }
}

pub(super) fn attempts(attempts: u32) -> Tally {
    Tally { attempts, ..Tally::default() }
}

pub(super) fn note(attempt: u32) -> FailureNote {
    FailureNote::new(attempt, "transient", &DeliveryError::new("try again").with_code("450"))
}

/// The first attempt failed.
pub(super) fn retry(delay: Duration) -> Verdict {
    Verdict::Retry { delay, tally: attempts(1), failure: note(1) }
}

pub(super) fn wait() -> Verdict {
    Verdict::Wait { tally: Tally::default() }
}

pub(super) fn dead(then: OnDead) -> Verdict {
    Verdict::Dead { tally: attempts(1), failure: note(1), then }
}

/// What a person says about an act.
pub(super) fn act() -> Act {
    Act::new("probe", "to see what happens")
}

pub(super) async fn discard<F>(probe: &Probe<F>, messages: &[&NewMessage]) -> u64
where
    F: StoreFixture<Outbox: OutboxAdmin>,
{
    let selection = Selection::Ids(messages.iter().map(|message| message.id()).collect());
    probe.outbox().discard(&selection, &act()).await.expect("discard succeeds")
}

pub(super) async fn redrive<F>(probe: &Probe<F>, messages: &[&NewMessage]) -> u64
where
    F: StoreFixture<Outbox: OutboxAdmin>,
{
    let selection = Selection::Ids(messages.iter().map(|message| message.id()).collect());
    probe.outbox().redrive(&selection, &act()).await.expect("redrive succeeds")
}

pub(super) async fn show<F>(probe: &Probe<F>, id: MessageId) -> MessageDetail
where
    F: StoreFixture<Outbox: OutboxAdmin>,
{
    probe.outbox().show(id).await.expect("show succeeds").expect("the outbox knows the message")
}
