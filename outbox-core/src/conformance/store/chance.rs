//! Long runs of steps drawn by chance, the same ones in every run.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::super::probe::*;
use super::StoreFixture;
use crate::retry::split_mix;
use crate::{Claimed, Fence, MessageId, NewMessage, OnDead, OutboxStore, Place, Settlement, Verdict};

pub async fn whatever_happens_nothing_is_lost_and_keys_keep_their_order<F: StoreFixture>(fixture: F) {
    run_by_chance(fixture, 1).await;
}

/// The check `whatever_happens_nothing_is_lost_and_keys_keep_their_order` with a seed of your own, for longer tests.
pub async fn run_by_chance<F: StoreFixture>(fixture: F, seed: u64) {
    let mut run = Run::start(fixture, seed).await;
    for _ in 0..150 {
        match run.chance.below(10) {
            0..=2 => run.produce().await,
            3..=7 => run.dispatch().await,
            8 => run.die().await,
            _ => run.hand_over().await,
        }
    }
    run.finish().await;
}

/// One dispatcher after another, each as careful as the contract asks, on an outbox that fills up.
struct Run<F> {
    probe: Probe<F>,
    chance: Chance,
    session: Session,
    /// Keys of which a claimed message has no verdict yet: nothing later of theirs may go out or be set aside.
    unsettled: HashSet<String>,
    committed: HashMap<Option<String>, Vec<MessageId>>,
    /// Delivered or dead, in that order.
    ended: HashMap<Option<String>, Vec<MessageId>>,
}

struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(1);
        split_mix(self.0) % limit
    }
}

impl<F: StoreFixture> Run<F> {
    async fn start(fixture: F, seed: u64) -> Self {
        let probe = Probe::new(fixture);
        let session = probe.start().await;
        let (committed, ended) = (HashMap::new(), HashMap::new());
        Self { probe, chance: Chance(seed << 32), session, unsettled: HashSet::new(), committed, ended }
    }

    /// A transaction with up to four messages, which is rolled back now and then.
    async fn produce(&mut self) {
        let count = self.chance.below(5);
        let messages: Vec<NewMessage> = (0..count).map(|_| self.any_message()).collect();
        let mut tx = self.probe.fixture.begin().await;
        self.probe.enqueue_in(&mut tx, &messages).await;
        if self.chance.below(4) == 0 {
            return self.probe.fixture.rollback(tx).await;
        }
        self.probe.fixture.commit(tx).await;
        for message in messages {
            self.committed.entry(message.key().map(str::to_owned)).or_default().push(message.id());
        }
    }

    fn any_message(&mut self) -> NewMessage {
        match self.chance.below(4) {
            0 => unkeyed(),
            key => keyed(&key.to_string()),
        }
    }

    /// A claim, and verdicts on some of it; what has none stays held.
    async fn dispatch(&mut self) {
        let limit = 1 + self.chance.below(12) as usize;
        let claim = self.probe.claim_some(&mut self.session, &|_| true, false, limit, usize::MAX).await;
        let mut verdicts = self.judge(&claim.messages);
        // Places come to a settlement in the order in which their outcomes became known: any.
        for n in (1..verdicts.len()).rev() {
            verdicts.swap(n, self.chance.below(n as u64 + 1) as usize);
        }
        let batch = self.session.batch(&verdicts.iter().map(|(place, _)| *place).collect::<Vec<_>>(), false);
        let begin = Settlement { begin: Some(&batch), ..Settlement::default() };
        assert_eq!(
            self.probe.try_settle(&mut self.session, begin).await,
            Fence::Held,
            "the session is alive"
        );
        let settlement = Settlement { verdicts: &verdicts, ended: &[batch.number], begin: None };
        for _ in 0..=self.chance.below(2) {
            assert_eq!(
                self.probe.try_settle(&mut self.session, settlement).await,
                Fence::Held,
                "still alive"
            );
        }
    }

    fn judge(&mut self, claimed: &[Claimed]) -> Vec<(Place, Verdict)> {
        let mut verdicts = Vec::new();
        let mut waiting = HashSet::new();
        for one in claimed {
            let (id, key) = (message(one).id, message(one).key.clone());
            if key.as_ref().is_some_and(|key| self.unsettled.contains(key)) {
                continue;
            }
            let wait = Verdict::Wait { tally: one.tally };
            if one.behind || key.as_ref().is_some_and(|key| waiting.contains(key)) {
                verdicts.push((one.place, wait));
                continue;
            }
            let verdict = match self.chance.below(8) {
                0..=3 => delivered(),
                4 => dead(OnDead::Skip),
                5 => retry(Duration::ZERO),
                6 => wait,
                _ => {
                    self.unsettled.extend(key);
                    continue;
                }
            };
            match verdict {
                Verdict::Delivered { .. } | Verdict::Dead { .. } => {
                    self.ended.entry(key).or_default().push(id)
                }
                _ => waiting.extend(key),
            }
            verdicts.push((one.place, verdict));
        }
        verdicts
    }

    /// The dispatcher dies with a batch in flight.
    async fn die(&mut self) {
        let claim = self.probe.claim_some(&mut self.session, &|_| true, false, 5, usize::MAX).await;
        let mut begun = Vec::new();
        for one in &claim.messages {
            let key = message(one).key.as_ref();
            if one.behind || key.is_some_and(|key| self.unsettled.contains(key)) {
                self.unsettled.extend(key.cloned());
                continue;
            }
            begun.push(one.place);
        }
        self.probe.begin(&mut self.session, &begun).await;
        self.session = self.probe.take_over(&self.session).await;
        self.unsettled.clear();
    }

    /// The dispatcher stops in good order and another one starts.
    async fn hand_over(&mut self) {
        let released = self.probe.outbox().release(self.session.epoch, &self.session.slots).await;
        released.expect("release succeeds");
        self.session = self.probe.start().await;
        self.unsettled.clear();
    }

    async fn finish(mut self) {
        self.hand_over().await;
        let rest = self.probe.drain(&mut self.session).await;
        for (key, committed) in &self.committed {
            let mut ended = self.ended.remove(key).unwrap_or_default();
            ended.extend(rest.iter().filter(|id| committed.contains(id)));
            if key.is_none() {
                let all: HashSet<_> = ended.iter().collect();
                let complete = all.len() == ended.len() && all == committed.iter().collect();
                assert!(complete, "messages without a key are ended once each, in any order");
            } else {
                assert_eq!(
                    ended, *committed,
                    "the key {key:?}: each message once, in the order of the commits"
                );
            }
        }
        let committed: usize = self.committed.values().map(Vec::len).sum();
        assert!(committed > 10, "the run was long enough to show something");
        assert!(self.ended.is_empty(), "something was delivered that was never committed");
    }
}
