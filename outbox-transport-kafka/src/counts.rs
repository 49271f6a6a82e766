//! [`Counts`]: whether a producer has sent more than it has heard back.
//!
//! A message that is taken back from the queue of a producer may have left before: its first request broke, and it
//! waited to be sent again. librdkafka does not tell which messages these are, only how many it has ever sent. As
//! long as each of them was answered, what is taken back never left.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What the report of a message tells of its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Report {
    /// It had left, and this answers it.
    Left,
    /// It never left, or came back refused for what the whole cluster or topic lacks.
    Stayed,
    /// It may have left.
    Open,
}

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
    /// A report left open whether its message had left: what was sent and not answered may be that one from now on.
    open: bool,
    /// The last word of librdkafka on how many were sent, retries included.
    sent: u64,
    /// How many it counts no more, since their topic is gone.
    forgotten: u64,
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

    pub(crate) fn reported(&self, report: Report) {
        let mut inner = self.lock();
        inner.reported += 1;
        match report {
            Report::Left => inner.answered += 1,
            Report::Stayed => {}
            Report::Open => inner.open = true,
        }
    }

    /// librdkafka says how many it has sent to the topics that it knows.
    pub(crate) fn sent(&self, total: u64) {
        let mut inner = self.lock();
        let counted = inner.sent - inner.forgotten;
        inner.forgotten += counted.saturating_sub(total);
        inner.sent = inner.forgotten + total;
        if let Some(words) = &mut inner.words_since_empty {
            *words += 1;
        } else if inner.queued == inner.reported && !inner.open {
            inner.repeated = inner.sent.saturating_sub(inner.answered);
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
            counts.reported(if n < answered { Report::Left } else { Report::Open });
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
        counts.reported(Report::Left);
        counts.sent(2);
        counts.queued();
        counts.reported(Report::Open);
        assert_eq!(verdict(&counts, 2), Some(false));
    }

    #[test]
    fn a_word_that_comes_between_the_last_report_and_the_retirement_answers_nothing() {
        let counts = ended(2);
        counts.sent(3);
        assert_eq!(verdict(&counts, 3), Some(true), "the third had left, and was never answered");
    }

    #[test]
    fn what_was_sent_to_a_topic_that_is_gone_hides_nothing() {
        let counts = ended(2);
        counts.sent(2);
        counts.sent(1);
        assert_eq!(verdict(&counts, 2), Some(true), "of three that were sent one is counted no more");
    }
}
