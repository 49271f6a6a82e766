//! What a claim brought: into line, or set aside at once.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::{debug, error, warn};

use super::{Held, Ledger, Scope};
use crate::dispatcher::route::{OnAmbiguous, find};
use crate::dispatcher::route_state::Runnable;
use crate::{Claimed, CorruptMessage, DeliveryError, FailureNote, Message, OnDead, Tally, Verdict};

/// Topics are few; were they many, the log would have named enough of them.
const TOPICS_TOLD: usize = 100;

impl Ledger {
    /// Takes in the answer of claim number `claim`; answers how many messages were new.
    pub(in crate::dispatcher) fn take_in(&mut self, messages: Vec<Claimed>, claim: u64) -> usize {
        self.blocks.retain(|_, (fresh, all)| {
            let stale = |block: &super::Block| block.pending > 0 || block.stale_until >= claim;
            stale(fresh) || stale(all)
        });
        let now = Instant::now();
        let mut new = 0;
        for claimed in messages {
            if !self.places.insert(claimed.place) {
                // A store must not answer a held place; taking it twice would deliver it twice.
                warn!(seq = claimed.place.seq, "the store answered a place that is held already; ignored");
                continue;
            }
            self.take_one(claimed, claim, now);
            new += 1;
        }
        new
    }

    fn take_one(&mut self, claimed: Claimed, claim: u64, now: Instant) {
        let Claimed { place, message, tally, .. } = claimed;
        let message = match message {
            Ok(message) => message,
            Err(corrupt) => return self.dead_at_intake(place, &corrupt, tally),
        };
        let key = message.key.as_deref().map(|key| self.hash(&message.topic, key));
        if let Some(delay) = claimed.due_in {
            self.summary.set_aside += 1;
            return self.judge_place(place, Verdict::Schedule { delay }, None);
        }
        let Some(route) = find(&self.routes, &message.topic) else {
            self.tell_of_no_route(&message);
            self.summary.set_aside += 1;
            return self.judge_place(place, Verdict::Wait { tally }, key.map(|key| (key, Scope::All)));
        };
        if claimed.behind {
            self.summary.set_aside += 1;
            return self.judge_place(place, Verdict::Wait { tally }, key.map(|key| (key, Scope::Fresh)));
        }
        if let Some(key) = key
            && self.is_blocked(key, claimed.fresh, claim)
        {
            self.summary.set_aside += 1;
            return self.judge_place(place, Verdict::Wait { tally }, Some((key, Scope::Fresh)));
        }
        let route_settings = &self.routes[route];
        if tally.crashes >= Tally::DEAD_AT {
            let text = "the process died each time this message was delivered alone";
            let then = route_settings.on_dead;
            return self.dead(place, &message, key, tally, "crash", text, then);
        }
        if tally.in_doubt && route_settings.on_ambiguous == OnAmbiguous::Park {
            let text = "it may have been delivered, and its route does not deliver in doubt";
            return self.dead(place, &message, key, tally, "ambiguous", text, OnDead::Park);
        }
        let size = message.size();
        if self.room(route) == 0 {
            self.summary.set_aside += 1;
            if let Some(key) = key {
                // What is in line before it must stay before it in the store too.
                self.break_line(key, None);
            }
            return self.judge_place(place, Verdict::Wait { tally }, key.map(|key| (key, Scope::All)));
        }
        let state = &mut self.states[route];
        state.held += 1;
        state.held_bytes += size;
        let ticket = self.held.insert(Held {
            place,
            fresh: claimed.fresh,
            message: Arc::new(message),
            route,
            key,
            claimed: tally,
            tally,
            age: claimed.age,
            claimed_at: now,
            size,
            batch: None,
        });
        self.stand_in_line(ticket);
    }

    fn tell_of_no_route(&mut self, message: &Message) {
        debug!(id = %message.id, topic = message.topic, "set aside: no route");
        if self.without_route.len() < TOPICS_TOLD && !self.without_route.contains(&message.topic) {
            warn!(
                topic = message.topic,
                "no route takes this topic: its messages are set aside until a dispatcher has one"
            );
            self.without_route.insert(message.topic.clone());
        }
    }

    /// Puts an unbegun message where its turn will come: in the line of its key by place, or ready by itself.
    pub(super) fn stand_in_line(&mut self, ticket: usize) {
        let held = &self.held[ticket];
        let Some(key) = held.key else {
            self.states[held.route].ready.push_back(Runnable::Message(ticket));
            return;
        };
        let seq = held.place.seq;
        let line = self.lines.entry(key).or_insert_with(|| self.spare.pop().unwrap_or_default());
        // Nearly always it is the latest one.
        match line.waiting.back() {
            Some(&last) if self.held[last].place.seq > seq => {
                let position = line.waiting.partition_point(|&other| self.held[other].place.seq < seq);
                line.waiting.insert(position, ticket);
            }
            _ => line.waiting.push_back(ticket),
        }
        self.queue_key(key);
    }

    fn is_blocked(&self, key: u64, fresh: bool, claim: u64) -> bool {
        let Some((of_fresh, of_all)) = self.blocks.get(&key) else { return false };
        let holds = |block: &super::Block| block.pending > 0 || block.stale_until >= claim;
        holds(of_all) || (fresh && holds(of_fresh))
    }

    #[allow(clippy::too_many_arguments)]
    fn dead(
        &mut self,
        place: crate::Place,
        message: &Message,
        key: Option<u64>,
        tally: Tally,
        class: &str,
        text: &str,
        then: OnDead,
    ) {
        error!(id = %message.id, topic = message.topic, class, "dead letter: {text}");
        let failure = FailureNote::new(tally.attempts, class, &DeliveryError::new(text));
        let blocks = key.filter(|_| then == OnDead::Park).map(|key| (key, Scope::All));
        if let Some((key, _)) = blocks {
            self.break_line(key, None);
        }
        self.summary.dead += 1;
        self.judge_place(place, Verdict::Dead { tally, failure, then }, blocks);
    }

    fn dead_at_intake(&mut self, place: crate::Place, corrupt: &CorruptMessage, tally: Tally) {
        error!(id = ?corrupt.id, topic = corrupt.topic, reason = corrupt.reason, "dead letter: the row cannot be decoded");
        let then =
            find(&self.routes, &corrupt.topic).map_or(OnDead::Skip, |route| self.routes[route].on_dead);
        let failure = FailureNote::new(tally.attempts, "corrupt", &DeliveryError::new(&corrupt.reason));
        let key = corrupt.key.as_deref().map(|key| self.hash(&corrupt.topic, key));
        let blocks = key.filter(|_| then == OnDead::Park).map(|key| (key, Scope::All));
        self.summary.dead += 1;
        self.judge_place(place, Verdict::Dead { tally, failure, then }, blocks);
    }
}
