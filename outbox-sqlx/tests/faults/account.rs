//! [`Account`]: what arrived, compared with what was committed.

use std::collections::{BTreeMap, HashMap, HashSet};

use outbox_core::MessageId;

use crate::outbox::Made;
use crate::receiver::{Answer, Arrival};

#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) messages: usize,
    pub(crate) duplicates: usize,
    /// Arrivals by how many attempts they were.
    pub(crate) attempts: BTreeMap<u32, usize>,
}

impl Account {
    /// Panics unless each message that was committed, and no other, was accepted, those of a key for the first time
    /// in their order, and each further copy came with a mark.
    pub(crate) fn of(made: &[Made], arrivals: &[Arrival]) -> Self {
        let exists: HashSet<MessageId> = made.iter().map(|made| made.id).collect();
        let accepted = || arrivals.iter().filter(|arrival| arrival.answer == Answer::Accept);
        let foreign: Vec<_> = accepted().filter(|arrival| !exists.contains(&arrival.id)).collect();
        assert!(foreign.is_empty(), "{} deliveries of what is not committed: {foreign:?}", foreign.len());

        let mut copies: HashMap<MessageId, usize> = HashMap::new();
        let mut first: HashMap<i64, Vec<i64>> = HashMap::new();
        let mut duplicates = 0;
        for arrival in accepted() {
            let copies = copies.entry(arrival.id).or_default();
            *copies += 1;
            if *copies == 1 {
                first.entry(arrival.key).or_default().push(arrival.number);
            } else {
                assert!(arrival.in_doubt || arrival.attempt > 1, "a copy without a mark: {arrival:?}");
                duplicates += 1;
            }
        }
        let lost: Vec<_> = made.iter().filter(|made| !copies.contains_key(&made.id)).collect();
        assert!(lost.is_empty(), "{} messages lost: {lost:?}", lost.len());

        let mut order: HashMap<i64, Vec<i64>> = HashMap::new();
        for made in made {
            order.entry(made.key).or_default().push(made.number);
        }
        for (key, numbers) in order {
            assert_eq!(first[&key], numbers, "first deliveries of key {key} in their order");
        }
        let mut attempts = BTreeMap::new();
        for arrival in arrivals {
            *attempts.entry(arrival.attempt).or_default() += 1;
        }
        Self { messages: made.len(), duplicates, attempts }
    }

    /// No message spent an attempt.
    pub(crate) fn spent_no_attempt(&self) -> &Self {
        assert_eq!(self.attempts.keys().copied().collect::<Vec<_>>(), [1], "{:?}", self.attempts);
        self
    }
}
