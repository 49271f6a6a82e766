//! What goes out next: one batch of calls, whose places are journalled before any of them starts.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Call, Ledger};
use crate::dispatcher::route_state::Runnable;
use crate::{Batch, BatchNo, Delivery, DeliveryReport};

/// A batch that is about to be begun.
#[derive(Debug)]
pub(in crate::dispatcher) struct Plan {
    pub(in crate::dispatcher) batch: Batch,
    calls: Vec<(usize, Vec<usize>)>,
}

/// What a key has for the call that is being planned.
enum Next {
    Nothing,
    Ticket(usize),
    Alone(usize),
}

impl Ledger {
    /// Chooses what goes out next, up to `limit` messages; `None` when nothing can.
    pub(in crate::dispatcher) fn plan(&mut self, limit: usize, now: Instant) -> Option<Plan> {
        if self.calls.values().any(|call| call.alone) {
            return None;
        }
        if let Some(plan) = self.plan_alone(now) {
            return plan;
        }
        let mut calls = Vec::new();
        let mut left = limit;
        let routes = self.states.len();
        for offset in 0..routes {
            let route = (self.turn + offset) % routes;
            if left == 0 {
                break;
            }
            let tickets = self.plan_call(route, left, now);
            if !tickets.is_empty() {
                left -= tickets.len();
                calls.push((route, tickets));
            }
        }
        // Another route comes first next time, or a busy one could take every batch.
        self.turn = (self.turn + 1) % routes.max(1);
        if calls.is_empty() {
            // What was found may have to go alone.
            return self.plan_alone(now).flatten();
        }
        Some(self.batch(calls, false))
    }

    /// A message that must go alone waits until nothing is in flight; meanwhile nothing else begins.
    fn plan_alone(&mut self, now: Instant) -> Option<Option<Plan>> {
        let position =
            self.alone.iter().position(|&ticket| !self.states[self.held[ticket].route].is_paused(now))?;
        if self.in_flight > 0 {
            return Some(None);
        }
        let ticket = self.alone.remove(position)?;
        let route = self.held[ticket].route;
        self.start(route, ticket);
        Some(Some(self.batch(vec![(route, vec![ticket])], true)))
    }

    fn plan_call(&mut self, route: usize, left: usize, now: Instant) -> Vec<usize> {
        let routes = Arc::clone(&self.routes);
        let settings = &routes[route];
        let state = &self.states[route];
        let probing = state.is_probing();
        if state.is_paused(now) || state.calls >= settings.parallel || (probing && state.calls > 0) {
            return Vec::new();
        }
        let room = settings.max_in_flight.saturating_sub(state.in_flight);
        let limit = if probing { 1 } else { settings.batch.min(room) }.min(left);
        let keeps_order = settings.transport.keeps_order();
        let max_bytes = settings.max_in_flight_bytes;
        let mut tickets = Vec::new();
        while tickets.len() < limit {
            let Some(runnable) = self.states[route].ready.pop_front() else { break };
            let fits = |ledger: &Self, ticket: usize| {
                let state = &ledger.states[route];
                state.in_flight == 0 || state.in_flight_bytes + ledger.held[ticket].size <= max_bytes
            };
            match runnable {
                Runnable::Message(ticket) if self.held[ticket].goes_alone() => self.alone.push_back(ticket),
                Runnable::Message(ticket) if fits(self, ticket) => {
                    self.start(route, ticket);
                    tickets.push(ticket);
                }
                Runnable::Message(_) => {
                    self.states[route].ready.push_front(runnable);
                    break;
                }
                Runnable::Key(key) => match self.next_of_key(key, route, keeps_order) {
                    Next::Nothing => {}
                    Next::Alone(ticket) => self.alone.push_back(ticket),
                    Next::Ticket(ticket) if fits(self, ticket) => {
                        self.take_from_line(key, keeps_order);
                        self.start(route, ticket);
                        tickets.push(ticket);
                    }
                    Next::Ticket(_) => {
                        self.states[route].ready.push_front(runnable);
                        break;
                    }
                },
            }
        }
        tickets
    }

    /// Whose turn it is in the line of `key`, which was taken out of the queue. A key that is in flight waits, unless
    /// it is with the call that is being planned and the transport keeps the order within a call.
    fn next_of_key(&mut self, key: u64, route: usize, keeps_order: bool) -> Next {
        let planning = BatchNo(self.next_batch + 1);
        let Some(line) = self.lines.get_mut(&key) else { return Next::Nothing };
        let idle = line.busy == 0;
        line.queued = false;
        let Some(&ticket) = line.waiting.front() else {
            self.queue_key(key);
            return Next::Nothing;
        };
        // Another route's message is here only if the hashes of two keys collide.
        if self.held[ticket].route != route {
            self.queue_key(key);
            return Next::Nothing;
        }
        if self.held[ticket].goes_alone() {
            if !idle {
                return Next::Nothing;
            }
            line.waiting.pop_front();
            line.busy += 1;
            return Next::Alone(ticket);
        }
        if idle || (keeps_order && line.planned == Some(planning)) {
            line.queued = true;
            return Next::Ticket(ticket);
        }
        Next::Nothing
    }

    /// Takes the head of the line into the call that is being planned. Keys take turns, message by message: a long
    /// line leaves room for the others, and rows leave the store about in the order in which they came.
    fn take_from_line(&mut self, key: u64, keeps_order: bool) {
        let planning = BatchNo(self.next_batch + 1);
        let Some(line) = self.lines.get_mut(&key) else { return };
        let Some(ticket) = line.waiting.pop_front() else { return };
        line.busy += 1;
        line.planned = Some(planning);
        line.queued = keeps_order && !line.waiting.is_empty();
        if line.queued {
            self.states[self.held[ticket].route].ready.push_back(Runnable::Key(key));
        }
    }

    fn start(&mut self, route: usize, ticket: usize) {
        let state = &mut self.states[route];
        state.in_flight += 1;
        state.in_flight_bytes += self.held[ticket].size;
        self.in_flight += 1;
    }

    fn batch(&mut self, calls: Vec<(usize, Vec<usize>)>, alone: bool) -> Plan {
        self.next_batch += 1;
        let number = BatchNo(self.next_batch);
        let mut places = Vec::with_capacity(calls.iter().map(|(_, tickets)| tickets.len()).sum());
        for (route, tickets) in &calls {
            self.states[*route].calls += 1;
            for &ticket in tickets {
                self.held[ticket].batch = Some(number);
                places.push(self.held[ticket].place);
            }
        }
        self.open.push((number, places.len()));
        Plan { batch: Batch { number, places, alone }, calls }
    }

    /// The batch is journalled: its calls may start. Answers what to hand to which route's transport.
    pub(in crate::dispatcher) fn begun(
        &mut self,
        plan: Plan,
        dirty: &mpsc::UnboundedSender<u64>,
    ) -> Vec<(u64, usize, Vec<Delivery>, DeliveryReport)> {
        let started = Instant::now();
        let mut starts = Vec::with_capacity(plan.calls.len());
        for (route, tickets) in plan.calls {
            let number = self.next_call;
            self.next_call += 1;
            let mut deliveries = Vec::with_capacity(tickets.len());
            for (index, &ticket) in tickets.iter().enumerate() {
                let held = &self.held[ticket];
                self.summary.redelivered_in_doubt += u64::from(held.tally.in_doubt);
                deliveries.push(Delivery {
                    attempt: held.tally.attempts + 1,
                    in_doubt: held.tally.in_doubt,
                    ..Delivery::new(index, Arc::clone(&held.message))
                });
            }
            let report = DeliveryReport::new(number, tickets.len(), Some(dirty.clone()));
            let tickets = tickets.into_iter().map(Some).collect();
            let alone = plan.batch.alone;
            let call = Call { route, tickets, report: report.clone(), started, alone, progress: false };
            self.calls.insert(number, call);
            starts.push((number, route, deliveries, report));
        }
        starts
    }

    /// The batch was refused or never written: its messages are unbegun again.
    pub(in crate::dispatcher) fn not_begun(&mut self, plan: Plan) {
        self.open.retain(|(number, _)| *number != plan.batch.number);
        for (route, tickets) in plan.calls {
            self.states[route].calls -= 1;
            for ticket in tickets {
                self.leave_flight(ticket);
                self.return_to_line(ticket);
            }
        }
    }
}
