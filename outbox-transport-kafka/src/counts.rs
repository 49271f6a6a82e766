//! [`Counts`]: whether a producer has sent more than it has heard back.
//!
//! A message that is taken back from the queue of a producer may have left before: its first request broke, and it
//! waited to be sent again. librdkafka does not tell which messages these are, only that there are some (see the
//! listener), and how many it has ever sent. As long as each of them was answered, what is taken back never left.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Deserialize;

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

/// A word of librdkafka, part of its statistics: how many it has sent to each partition that it knows, retries included.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Sent {
    topics: HashMap<String, Topic>,
}

#[derive(Debug, Default, Deserialize)]
struct Topic {
    /// By number; -1 stands for what has no partition yet, and nothing is sent from there.
    partitions: HashMap<i32, Partition>,
}

#[derive(Debug, Default, Deserialize)]
struct Partition {
    txmsgs: u64,
}

impl Sent {
    fn total(&self) -> u64 {
        self.topics
            .values()
            .flat_map(|topic| topic.partitions.values())
            .map(|partition| partition.txmsgs)
            .sum()
    }

    /// Whether each partition that `earlier` knows is still counted, on from there.
    fn goes_on_from(&self, earlier: &Self) -> bool {
        earlier.topics.iter().all(|(name, topic)| {
            let now = self.topics.get(name);
            let known = topic.partitions.iter().filter(|(number, _)| **number >= 0);
            known.into_iter().all(|(number, partition)| {
                let now = now.and_then(|topic| topic.partitions.get(number));
                now.is_some_and(|now| now.txmsgs >= partition.txmsgs)
            })
        })
    }
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
    /// The last word of librdkafka.
    sent: Sent,
    /// A partition is gone, and nobody knows how much was sent there since the word before.
    gone: bool,
    /// How often the word came since the producer was retired and empty.
    words_since_empty: Option<u32>,
}

impl Counts {
    /// One is about to be queued. `false` when it must not be, since what was sent is being counted at the end.
    pub(crate) fn queued(&self) -> bool {
        let mut inner = self.lock();
        let goes_on = inner.words_since_empty.is_none();
        inner.queued += u64::from(goes_on);
        goes_on
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

    /// librdkafka says how many it has sent.
    pub(crate) fn sent(&self, sent: Sent) {
        let mut inner = self.lock();
        inner.gone |= !sent.goes_on_from(&inner.sent);
        inner.sent = sent;
        if let Some(words) = &mut inner.words_since_empty {
            *words += 1;
        } else if inner.queued == inner.reported && !inner.open {
            inner.repeated = inner.sent.total().saturating_sub(inner.answered);
        }
    }

    /// Nothing was sent yet, as far as librdkafka has told.
    pub(crate) fn nothing_sent(&self) -> bool {
        let inner = self.lock();
        !inner.gone && inner.answered == 0 && inner.sent.total() == 0
    }

    /// Of a retired producer: whether something that was taken back may have left. `None` until it is empty and
    /// librdkafka has counted twice since; the first count may have been under way before.
    pub(crate) fn may_have_left(&self, empty: bool) -> Option<bool> {
        let mut inner = self.lock();
        if inner.words_since_empty.is_none() {
            // What is about to be queued has no report yet, although librdkafka does not know of it.
            inner.words_since_empty = (empty && inner.queued == inner.reported).then_some(0);
        }
        let told = inner.words_since_empty.is_some_and(|words| words >= 2);
        told.then_some(inner.gone || inner.sent.total() != inner.answered + inner.repeated)
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
            assert!(counts.queued());
            counts.reported(if n < answered { Report::Left } else { Report::Open });
        }
        counts
    }

    /// What librdkafka says of topics with one partition each.
    fn sent(topics: &[(&str, u64)]) -> Sent {
        let topics = topics.iter().map(|(name, txmsgs)| {
            let unassigned = Partition::default();
            let partitions = HashMap::from([(-1, unassigned), (0, Partition { txmsgs: *txmsgs })]);
            ((*name).to_owned(), Topic { partitions })
        });
        Sent { topics: topics.collect() }
    }

    fn verdict(counts: &Counts, topics: &[(&str, u64)]) -> Option<bool> {
        assert_eq!(counts.may_have_left(true), None, "not before librdkafka has counted");
        counts.sent(sent(topics));
        assert_eq!(counts.may_have_left(true), None, "the first count may be an old one");
        counts.sent(sent(topics));
        counts.may_have_left(true)
    }

    #[test]
    fn when_all_that_was_sent_was_answered_what_was_taken_back_never_left() {
        assert_eq!(verdict(&ended(0), &[]), Some(false));
        assert_eq!(verdict(&ended(2), &[("a", 1), ("b", 1)]), Some(false));
        assert_eq!(verdict(&ended(2), &[("a", 1), ("b", 2)]), Some(true));
    }

    #[test]
    fn retries_that_were_answered_long_ago_count_no_more() {
        let counts = Counts::default();
        assert!(counts.queued());
        counts.reported(Report::Left);
        counts.sent(sent(&[("a", 2)]));
        assert!(counts.queued());
        counts.reported(Report::Open);
        assert_eq!(verdict(&counts, &[("a", 2)]), Some(false));
    }

    #[test]
    fn a_word_that_comes_between_the_last_report_and_the_retirement_answers_nothing() {
        let counts = ended(2);
        counts.sent(sent(&[("a", 3)]));
        assert_eq!(verdict(&counts, &[("a", 3)]), Some(true), "the third had left, and was never answered");
    }

    #[test]
    fn what_was_sent_to_a_topic_that_is_gone_hides_nothing() {
        let counts = ended(2);
        counts.sent(sent(&[("a", 1), ("b", 1)]));
        // One of `b` is sent and not answered, and makes up for the one of `a` that is counted no more.
        assert_eq!(verdict(&counts, &[("b", 2)]), Some(true));
        let counts = ended(2);
        counts.sent(sent(&[("a", 0), ("b", 1)]));
        assert_eq!(verdict(&counts, &[("b", 2)]), Some(true), "one to `a` was counted by no word");
        let counts = ended(2);
        counts.sent(sent(&[("a", 2), ("b", 0)]));
        assert_eq!(verdict(&counts, &[("a", 1), ("b", 1)]), Some(true), "`a` was created again");
        assert_eq!(verdict(&ended(2), &[("a", 1)]), Some(true), "more was answered than is counted");
    }

    #[test]
    fn a_producer_has_sent_nothing_until_a_word_or_an_answer_says_so() {
        let counts = Counts::default();
        assert!(counts.queued() && counts.nothing_sent());
        counts.reported(Report::Open);
        counts.sent(sent(&[("a", 0)]));
        assert!(counts.nothing_sent(), "it was taken back");
        counts.sent(sent(&[("a", 1)]));
        assert!(!counts.nothing_sent());
        assert!(!ended(1).nothing_sent());
        let counts = Counts::default();
        counts.sent(sent(&[("a", 0)]));
        counts.sent(sent(&[]));
        assert!(!counts.nothing_sent(), "nobody knows what was sent to a topic that is gone");
    }

    #[test]
    fn nothing_is_queued_any_more_once_the_producer_is_empty() {
        let counts = Counts::default();
        assert!(counts.queued());
        assert_eq!(counts.may_have_left(true), None);
        counts.sent(sent(&[]));
        counts.sent(sent(&[]));
        assert_eq!(counts.may_have_left(true), None, "one is about to be queued");
        counts.reported(Report::Open);
        assert_eq!(verdict(&counts, &[]), Some(false));
        assert!(!counts.queued());
    }

    #[test]
    fn the_statistics_are_understood() {
        let json = r#"{"name": "x", "brokers": {"b": {"tx": 7}}, "topics": {"a": {"topic": "a", "batchcnt": {"avg": 1},
            "partitions": {"0": {"partition": 0, "txmsgs": 3}, "-1": {"partition": -1, "txmsgs": 0}}}}, "txmsgs": 3}"#;
        let sent: Sent = serde_json::from_str(json).expect("a word");
        assert_eq!((sent.total(), sent.topics["a"].partitions[&0].txmsgs), (3, 3));
    }
}
