//! What an outcome means: a verdict, or another turn.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, debug_span, error, info, warn};

use super::{Call, Ledger, Scope};
use crate::dispatcher::call::CallEnd;
use crate::dispatcher::route::OnAmbiguous;
use crate::report::Recorded;
use crate::{Decision, DeliveryError, Failure, FailureNote, OnDead, Outcome, Tally, Verdict};

/// What a judgement needs to know of the call.
#[derive(Clone, Copy)]
struct Context {
    route: usize,
    started: Instant,
    alone: bool,
}

impl Ledger {
    /// Takes what call `number` recorded since the last look; each outcome takes effect now.
    pub(in crate::dispatcher) fn recorded(&mut self, number: u64) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        let fresh = call.report.take_fresh();
        self.apply(number, fresh);
    }

    fn apply(&mut self, number: u64, fresh: Vec<(usize, Recorded)>) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        let context = Context { route: call.route, started: call.started, alone: call.alone };
        let mut resolved = Vec::with_capacity(fresh.len());
        for (index, recorded) in fresh {
            call.progress |= !matches!(recorded, Recorded::Outcome(Outcome::NotSent));
            if let Some(ticket) = call.tickets.get_mut(index).and_then(Option::take) {
                resolved.push((ticket, recorded));
            }
        }
        for (ticket, recorded) in resolved {
            self.judge(ticket, recorded, context);
        }
    }

    /// Call `number` is over: what it left unrecorded is judged by how it ended.
    pub(in crate::dispatcher) fn call_ended(&mut self, number: u64, end: CallEnd) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        let last = call.report.close();
        self.apply(number, last);
        let Some(Call { route, tickets, started, alone, progress, .. }) = self.calls.remove(&number) else {
            return;
        };
        self.states[route].calls -= 1;
        let context = Context { route, started, alone };
        let all_unsent = !progress && tickets.iter().all(Option::is_none);
        for ticket in tickets.into_iter().flatten() {
            match end {
                CallEnd::Returned => {
                    let text = "the transport returned without an outcome for this message";
                    self.judge(ticket, Recorded::Outcome(Outcome::ambiguous(text)), context);
                }
                CallEnd::DeadlinePassed(limit) => {
                    let text = format!("no outcome within the deadline of {limit:?}");
                    self.judge(ticket, Recorded::Outcome(Outcome::ambiguous(text)), context);
                }
                CallEnd::Panicked => self.judge(ticket, Recorded::Panicked, context),
                CallEnd::NotStarted => self.back(ticket),
                CallEnd::LeaseLapsed => {
                    // Our doing, not the message's: nothing is spent, but it may have left.
                    self.held[ticket].tally.in_doubt = true;
                    self.back(ticket);
                }
            }
        }
        if all_unsent {
            // A transport that sends nothing at all must not be called in a tight loop.
            self.pause(context, None, 0, "the transport sent nothing");
        }
    }

    fn judge(&mut self, ticket: usize, recorded: Recorded, context: Context) {
        let held = &self.held[ticket];
        let (id, topic, attempt) = (held.message.id, &held.message.topic, held.tally.attempts + 1);
        let _span = debug_span!("outbox.outcome", %id, topic, key = held.message.key, attempt).entered();
        match recorded {
            Recorded::Outcome(Outcome::Delivered { receipt }) => {
                debug!("delivered");
                self.summary.delivered += 1;
                self.answered(context);
                self.leave_flight(ticket);
                let held = self.drop_held(ticket);
                self.judged.frees |= !held.fresh;
                self.judge_place(held.place, Verdict::Delivered { receipt }, None);
                self.free_key(held.key);
                if let Some(key) = held.key {
                    self.queue_key(key);
                }
            }
            Recorded::Outcome(Outcome::Transient { retry_after, error }) => {
                self.answered(context);
                self.failed(ticket, retry_after, &error, "transient");
            }
            Recorded::Outcome(Outcome::Ambiguous { error }) => {
                self.held[ticket].tally.in_doubt = true;
                self.failed(ticket, None, &error, "ambiguous");
            }
            Recorded::Outcome(Outcome::Permanent { error }) => {
                self.answered(context);
                self.spend_attempt(ticket);
                let then = self.routes[context.route].on_dead;
                self.die(ticket, &error, "permanent", then);
            }
            Recorded::Outcome(Outcome::Unavailable { retry_after, error }) => {
                let seed = id.as_uuid().as_u128() as u64;
                self.pause(context, retry_after, seed, &error.to_string());
                self.held[ticket].tally.crashes = 0;
                self.back(ticket);
            }
            Recorded::Outcome(Outcome::NotSent) => self.back(ticket),
            Recorded::Panicked => {
                error!(%id, topic, attempt, "the transport panicked");
                self.crashed(ticket, context);
            }
        }
    }

    /// An attempt was spent and the policy decides.
    fn failed(&mut self, ticket: usize, retry_after: Option<Duration>, error: &DeliveryError, class: &str) {
        self.spend_attempt(ticket);
        let held = &self.held[ticket];
        let route = &self.routes[held.route];
        let ambiguous = class == "ambiguous";
        if ambiguous && route.on_ambiguous == OnAmbiguous::Park {
            return self.die(ticket, error, class, OnDead::Park);
        }
        let failure = Failure {
            message: held.message.id,
            attempt: held.tally.attempts,
            age: held.age(),
            retry_after,
            ambiguous,
        };
        match route.retry.decide(&failure) {
            Decision::GiveUp => {
                let then = route.on_dead;
                self.die(ticket, error, class, then);
            }
            Decision::RetryIn(delay) => self.retry(ticket, delay, error, class),
        }
    }

    fn spend_attempt(&mut self, ticket: usize) {
        let tally = &mut self.held[ticket].tally;
        tally.attempts = tally.attempts.saturating_add(1);
        tally.crashes = 0;
    }

    /// It may have killed its process, had this been a process.
    fn crashed(&mut self, ticket: usize, context: Context) {
        let held = &mut self.held[ticket];
        held.tally = held.tally.after_crash(context.alone);
        let error = DeliveryError::new("the transport panicked while this message was in flight");
        if held.tally.crashes >= Tally::DEAD_AT {
            let then = self.routes[context.route].on_dead;
            return self.die(ticket, &error, "crash", then);
        }
        let delay = Duration::from_millis(100) * 2_u32.pow(held.tally.crashes.min(10));
        self.retry(ticket, delay, &error, "crash");
    }

    fn retry(&mut self, ticket: usize, delay: Duration, error: &DeliveryError, class: &str) {
        self.leave_flight(ticket);
        let held = self.drop_held(ticket);
        let tally = held.tally;
        warn!(id = %held.message.id, topic = held.message.topic, attempt = tally.attempts, class, %error, ?delay, "failed; will be tried again");
        self.summary.retried += 1;
        let failure = FailureNote::new(tally.attempts, class, error);
        self.judge_place(
            held.place,
            Verdict::Retry { delay, tally, failure },
            held.key.map(|key| (key, Scope::All)),
        );
        self.free_key(held.key);
        if let Some(key) = held.key {
            self.break_line(key, Some(held.place));
            self.queue_key(key);
        }
    }

    fn die(&mut self, ticket: usize, error: &DeliveryError, class: &str, then: OnDead) {
        self.leave_flight(ticket);
        let held = self.drop_held(ticket);
        let tally = held.tally;
        error!(id = %held.message.id, topic = held.message.topic, attempt = tally.attempts, class, %error, ?then, "dead letter");
        self.summary.dead += 1;
        let failure = FailureNote::new(tally.attempts, class, error);
        let blocks = held.key.filter(|_| then == OnDead::Park).map(|key| (key, Scope::All));
        self.judge_place(held.place, Verdict::Dead { tally, failure, then }, blocks);
        self.free_key(held.key);
        if let Some((key, _)) = blocks {
            self.break_line(key, Some(held.place));
        }
        if let Some(key) = held.key {
            self.queue_key(key);
        }
    }

    /// Nothing was spent: it goes out again. When what we know of it changed, or its key is being set aside,
    /// that is written first.
    fn back(&mut self, ticket: usize) {
        self.leave_flight(ticket);
        let held = &self.held[ticket];
        let broken = held.key.and_then(|key| self.lines.get(&key)).is_some_and(|line| line.broken);
        if held.tally == held.claimed && !broken {
            return self.return_to_line(ticket);
        }
        let held = self.drop_held(ticket);
        let blocks = held.key.map(|key| (key, Scope::All));
        self.judge_place(held.place, Verdict::Wait { tally: held.tally }, blocks);
        self.free_key(held.key);
        if let Some(key) = held.key {
            self.break_line(key, Some(held.place));
            self.queue_key(key);
        }
    }

    /// Unbegun again: back in line by its place; its key is free once nothing else of it is in flight.
    pub(super) fn return_to_line(&mut self, ticket: usize) {
        let held = &mut self.held[ticket];
        held.batch = None;
        let key = held.key;
        self.free_key(key);
        self.stand_in_line(ticket);
    }

    /// The message is no longer in flight; its batch ends with the last of its messages.
    pub(super) fn leave_flight(&mut self, ticket: usize) {
        let held = &self.held[ticket];
        let state = &mut self.states[held.route];
        state.in_flight -= 1;
        state.in_flight_bytes -= held.size;
        self.in_flight -= 1;
        if let Some(number) = held.batch
            && let Some(position) = self.open.iter().position(|(open, _)| *open == number)
        {
            self.open[position].1 -= 1;
            if self.open[position].1 == 0 {
                self.open.swap_remove(position);
                self.judged.ended.push(number);
            }
        }
    }

    fn answered(&mut self, context: Context) {
        if self.states[context.route].answered(context.started) {
            info!(route = ?self.routes[context.route].pattern, "the destination answers again");
        }
    }

    fn pause(&mut self, context: Context, retry_after: Option<Duration>, seed: u64, why: &str) {
        let route = &self.routes[context.route];
        if let Some(length) =
            self.states[context.route].unavailable(route, context.started, retry_after, seed)
        {
            warn!(route = ?route.pattern, ?length, why, "the destination is unavailable: its route pauses, no attempt is spent");
        }
    }
}
