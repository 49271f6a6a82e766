//! Random operations against a simple model: nothing is lost, and the order of each key is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use outbox_core::{
    Act, Claimed, Fence, MessageId, MessageState, NewMessage, OnDead, OutboxAdmin, Place, Selection, Tally,
    Verdict,
};
use proptest::prelude::*;

use crate::fixture::{File, Session, delivered, failure};

#[derive(Debug, Clone)]
enum Step {
    Enqueue {
        keys: Vec<u8>,
    },
    Claim {
        limit: usize,
        restart: bool,
    },
    Settle {
        pick: usize,
        how: How,
    },
    /// Begins what may go out, dies, and a successor takes over.
    Crash,
    Act {
        discard: bool,
        state: MessageState,
    },
}

#[derive(Debug, Clone, Copy)]
enum How {
    Deliver,
    Retry,
    Skip,
    Park,
    Schedule,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    use MessageState::{Behind, Dead, Parked, Retrying, Waiting};
    let how = prop_oneof![
        5 => Just(How::Deliver), 3 => Just(How::Retry), 1 => Just(How::Skip), 1 => Just(How::Park),
        1 => Just(How::Schedule),
    ];
    let state = prop::sample::select(vec![Behind, Dead, Parked, Retrying, Waiting]);
    let step = prop_oneof![
        3 => prop::collection::vec(0..4u8, 1..6).prop_map(|keys| Step::Enqueue { keys }),
        4 => (1..7usize, prop::bool::weighted(0.2)).prop_map(|(limit, restart)| Step::Claim { limit, restart }),
        8 => (any::<usize>(), how).prop_map(|(pick, how)| Step::Settle { pick, how }),
        1 => Just(Step::Crash),
        1 => (any::<bool>(), state).prop_map(|(discard, state)| Step::Act { discard, state }),
    ];
    prop::collection::vec(step, 5..60)
}

/// The file, a dispatcher that keeps the rules, and what should be true.
struct World {
    file: File,
    session: Session,
    /// Claimed and neither settled nor forgotten, by place.
    holds: BTreeMap<i64, Held>,
    /// Every message ever enqueued, by number; the key of each is its class, 0 for none.
    sent: Vec<(MessageId, u8)>,
    delivered: Vec<MessageId>,
    /// Out of the order of their keys: set free by a person, or scheduled.
    unordered: BTreeSet<MessageId>,
}

struct Held {
    place: Place,
    id: MessageId,
    key: Option<String>,
    tally: Tally,
}

impl World {
    async fn new(history: bool) -> Self {
        let file = File::with(|builder| builder.history(history)).await;
        let session = Session::start(&file.outbox, Duration::ZERO).await;
        let (holds, sent) = (BTreeMap::new(), Vec::new());
        Self { file, session, holds, sent, delivered: Vec::new(), unordered: BTreeSet::new() }
    }

    async fn step(&mut self, step: &Step) {
        match step {
            Step::Enqueue { keys } => self.enqueue(keys).await,
            Step::Claim { limit, restart } => self.claim(*limit, *restart).await,
            Step::Settle { pick, how } => self.settle(*pick, *how).await,
            Step::Crash => self.crash().await,
            Step::Act { discard, state } => self.act(*discard, *state).await,
        }
        self.check_keys().await;
    }

    async fn enqueue(&mut self, keys: &[u8]) {
        let mut messages = Vec::new();
        for key in keys {
            let builder = NewMessage::builder("t").json(&self.sent.len());
            let builder = if *key == 0 { builder } else { builder.key(format!("k{key}")) };
            let message = builder.build().unwrap();
            self.sent.push((message.id(), *key));
            messages.push(message);
        }
        self.file.send(&messages).await;
    }

    async fn claim(&mut self, limit: usize, restart: bool) {
        if restart {
            self.holds.clear();
            self.session.held.clear();
        }
        let claimed = self.session.claim_all(limit, restart).await.messages;
        assert!(claimed.len() <= limit);
        let mut aside = Vec::new();
        for Claimed { place, message, tally, behind, due_in, .. } in claimed {
            let message = message.unwrap();
            assert!(due_in.is_none() && !self.delivered.contains(&message.id));
            if behind {
                aside.push((place, Verdict::Wait { tally }));
            } else {
                let held = Held { place, id: message.id, key: message.key, tally };
                assert!(self.holds.insert(place.seq, held).is_none(), "a held place came again");
            }
        }
        self.session.settle(&aside).await;
    }

    /// What may go out: the first held message of each key, and every one without a key.
    fn ready(&self) -> Vec<i64> {
        let mut keys = BTreeSet::new();
        let first = |held: &&Held| held.key.as_ref().is_none_or(|key| keys.insert(key.clone()));
        self.holds.values().filter(first).map(|held| held.place.seq).collect()
    }

    async fn settle(&mut self, pick: usize, how: How) {
        let ready = self.ready();
        if ready.is_empty() {
            return;
        }
        let held = self.holds.remove(&ready[pick % ready.len()]).unwrap();
        let tally = Tally { attempts: held.tally.attempts + 1, ..held.tally };
        let note = failure(tally.attempts);
        let verdict = match how {
            How::Deliver => {
                self.delivered.push(held.id);
                delivered()
            }
            How::Retry => Verdict::Retry { delay: Duration::ZERO, tally, failure: note },
            How::Skip => Verdict::Dead { tally, failure: note, then: OnDead::Skip },
            How::Park => Verdict::Dead { tally, failure: note, then: OnDead::Park },
            How::Schedule => {
                self.unordered.insert(held.id);
                Verdict::Schedule { delay: Duration::ZERO }
            }
        };
        let mut verdicts = vec![(held.place, verdict)];
        // What is held of a key that is blocked now waits behind.
        if held.key.is_some() && matches!(how, How::Retry | How::Park) {
            let behind: Vec<i64> = self
                .holds
                .values()
                .filter(|other| other.key == held.key)
                .map(|other| other.place.seq)
                .collect();
            for seq in behind {
                let other = self.holds.remove(&seq).unwrap();
                verdicts.push((other.place, Verdict::Wait { tally: other.tally }));
            }
        }
        assert_eq!(self.session.settle(&verdicts).await, Fence::Held);
    }

    async fn crash(&mut self) {
        let places: Vec<Place> = self.ready().iter().map(|seq| self.holds[seq].place).collect();
        let (fence, _) = self.session.begin(&places, false).await;
        if fence == Fence::Changed {
            self.claim(1, true).await;
        }
        let old =
            std::mem::replace(&mut self.session, Session::start(&self.file.outbox, Duration::ZERO).await);
        assert!(self.session.owner && self.session.epoch > old.epoch);
        self.holds.clear();
    }

    async fn act(&mut self, discard: bool, state: MessageState) {
        let all = Selection::All { topic: None, state: Some(state) };
        let act = Act::new("model", "step");
        if discard {
            self.file.outbox.discard(&all, &act).await.unwrap();
        } else {
            let dead = sqlx::query_scalar("SELECT id FROM outbox_deferred WHERE state = 'dead'");
            let dead: Vec<String> = dead.fetch_all(&self.file.pool).await.unwrap();
            if state == MessageState::Dead {
                self.unordered.extend(dead.iter().map(|id| id.parse::<MessageId>().unwrap()));
            }
            self.file.outbox.redrive(&all, &act).await.unwrap();
        }
        // The dispatcher learns of it by `Fence::Changed` and reads anew.
        self.claim(1, true).await;
    }

    /// Of a key, times rise with the places, nothing with a time lies behind something without, and no head waits
    /// without a time.
    async fn check_keys(&self) {
        let overtaking = "SELECT count(*) FROM outbox_deferred AS d JOIN outbox_deferred AS e
            ON e.topic = d.topic AND e.message_key = d.message_key AND e.seq < d.seq
                AND e.state IN ('waiting', 'parked') AND (e.due_at IS NULL OR e.due_at > d.due_at)
            WHERE d.state = 'waiting' AND d.due_at IS NOT NULL";
        assert_eq!(self.file.number(overtaking).await, 0, "a message could pass an earlier one of its key");
        let stuck = "SELECT count(*) FROM outbox_deferred AS d
            WHERE d.state = 'waiting' AND d.due_at IS NULL AND NOT EXISTS (
                SELECT 1 FROM outbox_deferred AS e
                WHERE e.topic = d.topic AND e.message_key = d.message_key AND e.seq < d.seq
                    AND e.state IN ('waiting', 'parked'))";
        assert_eq!(self.file.number(stuck).await, 0, "a head would wait for ever");
    }

    /// Frees what is parked, delivers the rest, and compares.
    async fn finish(mut self) {
        let parked = Selection::All { topic: None, state: Some(MessageState::Parked) };
        self.file.outbox.redrive(&parked, &Act::new("model", "end")).await.unwrap();
        self.claim(100, true).await;
        for _ in 0..10_000 {
            self.settle(0, How::Deliver).await;
            if self.holds.is_empty() {
                self.claim(100, false).await;
                if self.holds.is_empty() {
                    break;
                }
            }
        }
        self.check_keys().await;
        let ended = "SELECT id FROM outbox_deferred WHERE state = 'dead'
            UNION ALL SELECT message_id FROM outbox_acts WHERE what = 'discard'";
        let ended: Vec<String> = sqlx::query_scalar(ended).fetch_all(&self.file.pool).await.unwrap();
        let mut all: Vec<MessageId> = ended.iter().map(|id| id.parse().unwrap()).collect();
        all.extend(&self.delivered);
        all.sort();
        let mut sent: Vec<MessageId> = self.sent.iter().map(|(id, _)| *id).collect();
        sent.sort();
        assert_eq!(all, sent, "each message was delivered once, discarded, or is a dead letter");

        let number = |id: &MessageId| self.sent.iter().position(|(sent, _)| sent == id).unwrap();
        for key in 1..4 {
            let ordered = |id: &&MessageId| !self.unordered.contains(*id) && self.sent[number(id)].1 == key;
            let numbers: Vec<usize> = self.delivered.iter().filter(ordered).map(number).collect();
            assert!(numbers.is_sorted(), "key {key} was delivered in the order {numbers:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_operations_lose_nothing_and_keep_the_order_of_each_key(history: bool, steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new(history).await;
            for step in &steps {
                world.step(step).await;
            }
            world.finish().await;
        });
    }
}
