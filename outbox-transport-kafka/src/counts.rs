//! [`Counts`]: whether a producer has sent more than it has heard back.
//!
//! A message that is taken back from the queue of a producer may have left before: its first request broke, and it
//! waited to be sent again. librdkafka does not tell which messages these are, only how many it has ever sent. As
//! long as each of them was answered, what is taken back never left.

use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
pub(crate) struct Counts {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    queued: u64,
    reported: u64,
    /// Reports of messages that had left.
    answered: u64,
    /// Sent more often than answered when nothing was under way: earlier retries, each long answered.
    repeated: u64,
    /// The last word of librdkafka on how many were sent, retries included.
    sent: u64,
    /// How often the word came since the producer was retired and empty.
    words_since_empty: Option<u32>,
}

impl Counts {
    pub(crate) fn queued(&self) {
        self.lock().queued += 1;
    }

    pub(crate) fn not_queued(&self) {
        self.lock().queued -= 1;
    }

    pub(crate) fn reported(&self, had_left: bool) {
        let mut inner = self.lock();
        inner.reported += 1;
        inner.answered += u64::from(had_left);
    }

    /// librdkafka says how many it has sent.
    pub(crate) fn sent(&self, total: u64) {
        let mut inner = self.lock();
        inner.sent = total;
        if let Some(words) = &mut inner.words_since_empty {
            *words += 1;
        } else if inner.queued == inner.reported {
            inner.repeated = total.saturating_sub(inner.answered);
        }
    }

    /// Of a retired producer: whether something that was taken back may have left. `None` until it is empty and
    /// librdkafka has counted twice since; the first count may have been under way before.
    pub(crate) fn may_have_left(&self, empty: bool) -> Option<bool> {
        let mut inner = self.lock();
        if inner.words_since_empty.is_none() {
            inner.words_since_empty = empty.then_some(0);
        }
        let told = inner.words_since_empty.is_some_and(|words| words >= 2);
        told.then_some(inner.sent > inner.answered + inner.repeated)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A producer that has queued three and heard of each, of `answered` that they had left.
    fn ended(answered: usize) -> Counts {
        let counts = Counts::default();
        for n in 0..3 {
            counts.queued();
            counts.reported(n < answered);
        }
        counts
    }

    fn verdict(counts: &Counts, sent: u64) -> Option<bool> {
        assert_eq!(counts.may_have_left(true), None, "not before librdkafka has counted");
        counts.sent(sent);
        assert_eq!(counts.may_have_left(true), None, "the first count may be an old one");
        counts.sent(sent);
        counts.may_have_left(true)
    }

    #[test]
    fn when_all_that_was_sent_was_answered_what_was_taken_back_never_left() {
        assert_eq!(verdict(&ended(0), 0), Some(false));
        assert_eq!(verdict(&ended(2), 2), Some(false));
        assert_eq!(verdict(&ended(2), 3), Some(true));
    }

    #[test]
    fn retries_that_were_answered_long_ago_count_no_more() {
        let counts = Counts::default();
        counts.queued();
        counts.reported(true);
        counts.sent(2);
        counts.queued();
        counts.reported(false);
        assert_eq!(verdict(&counts, 2), Some(false));
    }
}
