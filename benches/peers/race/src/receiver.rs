//! The handler of every library: notes what it gets, and checks it.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

/// Notes every message: which, how often, in which order per key, and when. Clones are one receiver.
#[derive(Debug, Clone)]
pub struct Receiver(Arc<Mutex<State>>);

#[derive(Debug, Default)]
pub(crate) struct State {
    seen: Vec<bool>,
    /// The last number of each key; none when messages have no key.
    last: Vec<Option<u64>>,
    /// Those that were refused once; `None` when none is to be refused.
    refused: Option<Vec<bool>>,
    log: Option<File>,
    stall_at: Option<u64>,
    pub(crate) times: Option<HashMap<u64, Instant>>,
    pub(crate) count: u64,
    /// Those among them that are never refused.
    pub(crate) willing: u64,
    pub(crate) twice: u64,
    pub(crate) disorder: u64,
    /// When the first messages came, the latest new one, and the latest that is never refused.
    pub(crate) first: Option<Instant>,
    pub(crate) latest: Option<Instant>,
    pub(crate) latest_willing: Option<Instant>,
}

/// Whether a message is refused at its first attempt, when one in a hundred is.
pub(crate) fn is_unwilling(number: u64) -> bool {
    number % 100 == 50
}

/// How many of the first `messages` are never refused.
pub(crate) fn willing_among(messages: u64) -> u64 {
    (0..messages).filter(|number| !is_unwilling(*number)).count() as u64
}

impl Receiver {
    /// Expects numbers below `messages`, spread over `keys`.
    #[must_use]
    pub fn new(messages: u64, keys: u64) -> Self {
        let size = |number: u64| usize::try_from(number).expect("a number that fits into memory");
        let state =
            State { seen: vec![false; size(messages)], last: vec![None; size(keys)], ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    pub(crate) fn with_times(self) -> Self {
        self.state().times = Some(HashMap::new());
        self
    }

    pub(crate) fn with_refusals(self) -> Self {
        let mut state = self.state();
        state.refused = Some(vec![false; state.seen.len()]);
        drop(state);
        self
    }

    /// Appends each number to `log`, and stalls at the `stall_at`th.
    pub(crate) fn with_log(self, log: File, stall_at: Option<u64>) -> Self {
        let mut state = self.state();
        state.log = Some(log);
        state.stall_at = stall_at;
        drop(state);
        self
    }

    /// Notes that a predecessor handled these.
    pub(crate) fn knows(&self, numbers: impl IntoIterator<Item = u64>) {
        let mut state = self.state();
        for number in numbers {
            let new = usize::try_from(number).ok().and_then(|index| state.seen.get_mut(index));
            state.count += u64::from(new.is_some_and(|seen| !std::mem::replace(seen, true)));
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics while counting")
    }

    /// Takes a message; `false` means that it is refused now and may come again.
    #[must_use]
    pub fn takes(&self, number: u64) -> bool {
        let mut state = self.state();
        let taken = state.take(number);
        if state.stall_at.is_some_and(|stall_at| state.count >= stall_at) {
            // With the state locked, every other handler stalls as well, until the process is killed.
            loop {
                std::thread::park();
            }
        }
        taken
    }
}

impl State {
    fn take(&mut self, number: u64) -> bool {
        let now = Instant::now();
        self.first.get_or_insert(now);
        let index = usize::try_from(number).expect("a number that fits into memory");
        if let Some(refused) = &mut self.refused
            && is_unwilling(number)
            && !std::mem::replace(&mut refused[index], true)
        {
            return false;
        }
        if let Some(log) = &mut self.log {
            log.write_all(&number.to_le_bytes()).expect("the log can be written");
        }
        if self.seen.len() <= index {
            self.seen.resize((index + 1).next_power_of_two(), false);
        }
        if std::mem::replace(&mut self.seen[index], true) {
            self.twice += 1;
            return true;
        }
        self.count += 1;
        self.latest = Some(now);
        if !is_unwilling(number) {
            self.willing += 1;
            self.latest_willing = Some(now);
        }
        if !self.last.is_empty() {
            let key = index % self.last.len();
            self.disorder += u64::from(self.last[key].replace(number).is_some_and(|last| last > number));
        }
        if let Some(times) = &mut self.times {
            times.insert(number, now);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_again_or_too_late_is_counted() {
        let receiver = Receiver::new(10, 2);
        for number in [0, 2, 1, 5, 3, 2] {
            assert!(receiver.takes(number));
        }
        let state = receiver.state();
        assert_eq!((state.count, state.twice, state.disorder), (5, 1, 1), "2 came twice; 3 came after 5");
    }

    #[test]
    fn what_a_predecessor_handled_comes_again_when_it_comes() {
        let receiver = Receiver::new(10, 0);
        receiver.knows([0, 1, 1]);
        assert!(receiver.takes(1) && receiver.takes(2));
        let state = receiver.state();
        assert_eq!((state.count, state.twice), (3, 1));
    }

    #[test]
    fn one_in_a_hundred_is_refused_once() {
        let receiver = Receiver::new(200, 0).with_refusals();
        let refused: Vec<u64> = (0..200).filter(|number| !receiver.takes(*number)).collect();
        assert_eq!(refused, [50, 150]);
        assert!(refused.iter().all(|number| receiver.takes(*number)));
        let state = receiver.state();
        assert_eq!((state.count, state.willing, state.twice), (200, willing_among(200), 0));
        assert_eq!(state.willing, 198);
    }
}
