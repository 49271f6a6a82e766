//! What a person on call sees, as far as it is the same on every database.

use outbox_core::{MessageState, PageRequest, StoreError, StoreErrorKind, TopicCounts};

use crate::micros;

/// The most failures of a message that are shown.
pub(crate) const MOST_FAILURES: usize = 10;

/// Refuses a page that is too large or empty.
pub(crate) fn check_page(request: &PageRequest) -> Result<(), StoreError> {
    if (1..=1_000).contains(&request.limit) {
        return Ok(());
    }
    let text = format!("a page holds 1 to 1,000 messages; {} were asked for", request.limit);
    Err(StoreError::new(StoreErrorKind::Invalid, text))
}

/// Where messages in `state` lie in the overview, if in one table.
pub(crate) fn lies(state: MessageState) -> Option<&'static str> {
    match state {
        MessageState::Waiting => Some("fresh"),
        MessageState::Retrying | MessageState::Behind | MessageState::Dead | MessageState::Parked => {
            Some("set aside")
        }
        MessageState::Delivered | MessageState::Discarded => Some("ended"),
        _ => None,
    }
}

/// Counts by topic, from counts by topic and state that come with the topics together.
#[derive(Debug, Default)]
pub(crate) struct Counts(Vec<TopicCounts>);

impl Counts {
    /// There are `count` messages of `topic` in `state`, the oldest of them `age` microseconds old.
    pub(crate) fn add(&mut self, topic: &str, state: MessageState, count: i64, age: i64) {
        if self.0.last().is_none_or(|last| last.topic != topic) {
            self.0.push(TopicCounts { topic: topic.to_owned(), states: Vec::new(), oldest: None });
        }
        let Some(counts) = self.0.last_mut() else { return };
        counts.states.push((state, u64::try_from(count).unwrap_or(0)));
        let on_its_way = matches!(
            state,
            MessageState::Waiting | MessageState::Retrying | MessageState::Behind | MessageState::Parked
        );
        if on_its_way {
            let age = micros::positive(age);
            counts.oldest = Some(counts.oldest.map_or(age, |oldest| oldest.max(age)));
        }
    }

    /// All of them, with the states of each topic in their order.
    pub(crate) fn done(mut self) -> Vec<TopicCounts> {
        for counts in &mut self.0 {
            counts.states.sort_unstable();
        }
        self.0
    }
}
