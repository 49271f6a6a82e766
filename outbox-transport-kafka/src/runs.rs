//! [`Runs`]: which messages of a batch may be queued, so that none passes an earlier one of its key.
//!
//! librdkafka keeps the order of what is queued for one partition, through its retries, as long as the broker knows
//! the producer there: then the broker refuses what would come out of sequence. A broker that has no record of this
//! producer in the partition takes any sequence, so after a first set of records that is refused or delayed, the
//! second one could pass it. So of each key one message goes ahead. Once it is acknowledged, the rest of its run
//! follows together, if it goes to the same place by the same producer.

use std::collections::{HashMap, VecDeque};

use outbox_core::Delivery;

use crate::destination::Destination;

/// The messages of a batch, as runs: those of one topic and key one after another; those without a key each by itself.
#[derive(Debug)]
pub(crate) struct Runs {
    runs: Vec<Run>,
    run_of: Vec<usize>,
    later: Vec<Option<usize>>,
    state: Vec<State>,
    /// Runs that may have something to queue.
    active: VecDeque<usize>,
}

#[derive(Debug)]
struct Run {
    next: Option<usize>,
    /// Queued and not answered, the last of them, and by which producer they go.
    flying: usize,
    last: usize,
    producer: u64,
    /// The producer by which the last acknowledged message of the run went.
    known_by: Option<u64>,
    stopped: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Flying,
    Done,
}

impl Runs {
    pub(crate) fn of(batch: &[Delivery]) -> Self {
        let mut runs = Self {
            runs: Vec::with_capacity(batch.len()),
            run_of: Vec::with_capacity(batch.len()),
            later: vec![None; batch.len()],
            state: vec![State::Waiting; batch.len()],
            active: VecDeque::with_capacity(batch.len()),
        };
        let mut keyed: HashMap<(&str, &str), usize> = HashMap::with_capacity(batch.len());
        for (index, delivery) in batch.iter().enumerate() {
            let fresh = runs.runs.len();
            let message = &delivery.message;
            let run = match message.key.as_deref() {
                Some(key) => *keyed.entry((&message.topic, key)).or_insert(fresh),
                None => fresh,
            };
            if run == fresh {
                runs.runs.push(Run {
                    next: Some(index),
                    flying: 0,
                    last: index,
                    producer: 0,
                    known_by: None,
                    stopped: false,
                });
                runs.active.push_back(run);
            } else {
                let last = std::mem::replace(&mut runs.runs[run].last, index);
                runs.later[last] = Some(index);
            }
            runs.run_of.push(run);
        }
        runs
    }

    /// The next message that may be queued with `producer`; it flies from now on.
    pub(crate) fn take(&mut self, producer: u64, to: &[Option<Destination>]) -> Option<usize> {
        while let Some(&position) = self.active.front() {
            let run = &mut self.runs[position];
            while let Some(next) = run.next.filter(|next| self.state[*next] != State::Waiting) {
                run.next = self.later[next];
            }
            let next = run.next.filter(|next| {
                let follows = run.known_by == Some(producer) && run.producer == producer;
                !run.stopped && (run.flying == 0 || (follows && to[*next] == to[run.last]))
            });
            if let Some(index) = next {
                run.next = self.later[index];
                run.flying += 1;
                run.last = index;
                run.producer = producer;
                self.state[index] = State::Flying;
                return Some(index);
            }
            self.active.pop_front();
        }
        None
    }

    /// `index` was acknowledged to `producer`.
    pub(crate) fn delivered(&mut self, index: usize, producer: u64) {
        self.land(index, State::Done);
        let run = self.run_of[index];
        self.runs[run].known_by = Some(producer);
        if self.runs[run].next.is_some() {
            self.active.push_back(run);
        }
    }

    /// `index` has its outcome and was not delivered: nothing later of its run goes.
    pub(crate) fn failed(&mut self, index: usize) {
        self.land(index, State::Done);
        self.runs[self.run_of[index]].stopped = true;
    }

    /// Whether an earlier message of the run failed, so that `index` must not go.
    pub(crate) fn is_stopped(&self, index: usize) -> bool {
        self.runs[self.run_of[index]].stopped
    }

    /// `index` was surely not sent and may be queued again, before the rest of its run.
    pub(crate) fn again(&mut self, index: usize) {
        self.land(index, State::Waiting);
        let position = self.run_of[index];
        let run = &mut self.runs[position];
        run.next = Some(run.next.map_or(index, |next| next.min(index)));
        run.known_by = None;
        self.active.push_front(position);
    }

    /// Whether something may be queued, now or with another producer.
    pub(crate) fn may_go_on(&self) -> bool {
        let goes_on = |run: &Run| !run.stopped && run.next.is_some();
        self.runs.iter().any(goes_on)
    }

    /// Those that wait: nothing of them was queued, or it was taken back.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = usize> {
        self.state.iter().enumerate().filter(|(_, state)| **state == State::Waiting).map(|(index, _)| index)
    }

    fn land(&mut self, index: usize, state: State) {
        debug_assert_eq!(self.state[index], State::Flying, "only what flies can land");
        self.state[index] = state;
        self.runs[self.run_of[index]].flying -= 1;
    }
}

#[cfg(test)]
mod tests {
    use outbox_core::{Bytes, Message, MessageId};

    use super::*;

    const NOTHING: [usize; 0] = [];

    /// A batch with these keys, `-` for none.
    fn batch(keys: &str) -> (Vec<Delivery>, Vec<Option<Destination>>) {
        let delivery = |(index, key): (usize, char)| {
            let mut message = Message::new(MessageId::generate(), "t", Bytes::new());
            message.key = (key != '-').then(|| key.to_string());
            Delivery::new(index, message)
        };
        let batch: Vec<_> = keys.chars().enumerate().map(delivery).collect();
        let to = Destination { topic: "t".to_owned(), partition: None };
        let to = vec![Some(to); batch.len()];
        (batch, to)
    }

    fn all(runs: &mut Runs, producer: u64, to: &[Option<Destination>]) -> Vec<usize> {
        std::iter::from_fn(|| runs.take(producer, to)).collect()
    }

    #[test]
    fn of_each_key_one_goes_ahead_and_the_rest_follows_together() {
        let (batch, to) = batch("aab-a-");
        let mut runs = Runs::of(&batch);
        assert_eq!(all(&mut runs, 1, &to), [0, 2, 3, 5]);
        runs.delivered(2, 1);
        assert_eq!(all(&mut runs, 1, &to), NOTHING, "the head of a is still under way");
        runs.delivered(0, 1);
        assert_eq!(all(&mut runs, 1, &to), [1, 4]);
    }

    #[test]
    fn a_new_producer_begins_with_one_of_each_key_again() {
        let (batch, to) = batch("aaaa");
        let mut runs = Runs::of(&batch);
        assert_eq!(all(&mut runs, 1, &to), [0]);
        runs.delivered(0, 1);
        assert_eq!(runs.take(1, &to), Some(1));
        assert_eq!(all(&mut runs, 2, &to), NOTHING, "what flies with another producer comes first");
        runs.delivered(1, 1);
        assert_eq!(all(&mut runs, 2, &to), [2]);
        runs.delivered(2, 2);
        assert_eq!(all(&mut runs, 2, &to), [3]);
    }

    #[test]
    fn a_failure_stops_its_key_alone() {
        let (batch, to) = batch("aabb");
        let mut runs = Runs::of(&batch);
        assert_eq!(all(&mut runs, 1, &to), [0, 2]);
        runs.failed(0);
        runs.delivered(2, 1);
        assert_eq!(all(&mut runs, 1, &to), [3]);
        assert_eq!(runs.waiting().collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn what_was_taken_back_goes_again_before_the_rest() {
        let (batch, to) = batch("aaaa");
        let mut runs = Runs::of(&batch);
        assert_eq!(all(&mut runs, 1, &to), [0]);
        runs.delivered(0, 1);
        assert_eq!(all(&mut runs, 1, &to), [1, 2, 3]);
        // In whatever order that is told.
        runs.again(3);
        runs.again(1);
        runs.again(2);
        assert_eq!(all(&mut runs, 2, &to), [1]);
        runs.delivered(1, 2);
        assert_eq!(all(&mut runs, 2, &to), [2, 3]);
    }

    #[test]
    fn a_message_that_goes_elsewhere_waits_for_those_before_it() {
        let (batch, mut to) = batch("aaa");
        to[2] = Some(Destination { topic: "t".to_owned(), partition: Some(5) });
        let mut runs = Runs::of(&batch);
        assert_eq!(all(&mut runs, 1, &to), [0]);
        runs.delivered(0, 1);
        assert_eq!(all(&mut runs, 1, &to), [1]);
        runs.delivered(1, 1);
        assert_eq!(all(&mut runs, 1, &to), [2]);
    }
}
