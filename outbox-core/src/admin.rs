//! [`OutboxAdmin`]: what a person on call sees and does.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{FailureNote, Message, MessageId, StoreError, StoreErrorKind, Tally};

/// Looking into an outbox, and the acts of a person. Every act carries who and why, is recorded, and cannot race
/// with the dispatcher: a message in flight is refused, and a dispatcher that holds it in memory drops it.
///
/// A store must refuse what [`Act::check`] refuses, before it looks at the selection.
#[async_trait]
pub trait OutboxAdmin: Send + Sync {
    /// Per topic, how many messages are in each state and how old the oldest is; topics in alphabetical order.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn counts(&self) -> Result<Vec<TopicCounts>, StoreError>;

    /// One page of messages, without payloads, in the order of their places.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list(&self, request: &PageRequest) -> Result<Page, StoreError>;

    /// Everything known of one message, or `None` when the outbox does not have it (any more).
    ///
    /// # Errors
    /// [`StoreError`].
    async fn show(&self, id: MessageId) -> Result<Option<MessageDetail>, StoreError>;

    /// Sends messages out again that are dead or parked (attempts, crashes and age start anew), or that wait for a retry
    /// (they go now). Of a key that was skipped over they join at the end; a parked one stays the head.
    /// Messages in other states are left alone. Answers how many were redriven.
    ///
    /// # Errors
    /// [`StoreErrorKind::InFlight`] when a message named by id is in flight: nothing was done.
    /// [`StoreErrorKind::Invalid`] as [`Act::check`] says.
    async fn redrive(&self, what: &Selection, act: &Act) -> Result<u64, StoreError>;

    /// Ends messages without delivering them: any state but delivered. Answers how many were discarded.
    ///
    /// # Errors
    /// [`StoreErrorKind::InFlight`] when a message named by id is in flight: nothing was done.
    /// With [`Selection::All`], messages in flight are left alone.
    /// [`StoreErrorKind::Invalid`] as [`Act::check`] says.
    async fn discard(&self, what: &Selection, act: &Act) -> Result<u64, StoreError>;

    /// Deletes at most `limit` rows of history older than `older_than`, oldest first; answers how many.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn purge_history(&self, older_than: Duration, limit: u32) -> Result<u64, StoreError>;
}

/// Where a message is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MessageState {
    /// Committed; not tried yet, or in flight for the first time.
    Waiting,
    /// It failed, or was left in doubt, and waits for its next attempt.
    Retrying,
    /// It waits behind an earlier message of its key, or for a route.
    Behind,
    /// Its not-before time has not come.
    Scheduled,
    /// A dead letter; its key went on.
    Dead,
    /// A dead letter that holds its key until a person decides.
    Parked,
    /// Delivered; known while the history keeps it.
    Delivered,
    /// Ended by a person; known while the history keeps it.
    Discarded,
}

impl MessageState {
    const ALL: [Self; 8] = [
        Self::Waiting,
        Self::Retrying,
        Self::Behind,
        Self::Scheduled,
        Self::Dead,
        Self::Parked,
        Self::Delivered,
        Self::Discarded,
    ];

    /// Its name: `waiting`, `retrying` and so on, as stores write it and as it is serialised.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Retrying => "retrying",
            Self::Behind => "behind",
            Self::Scheduled => "scheduled",
            Self::Dead => "dead",
            Self::Parked => "parked",
            Self::Delivered => "delivered",
            Self::Discarded => "discarded",
        }
    }
}

impl FromStr for MessageState {
    type Err = UnknownState;

    /// The state of that name, exactly as [`as_str`](Self::as_str) writes it.
    fn from_str(name: &str) -> Result<Self, UnknownState> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == name)
            .ok_or_else(|| UnknownState(name.to_owned()))
    }
}

/// No [`MessageState`] has this name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "there is no message state {0:?}; take waiting, retrying, behind, scheduled, dead, parked, delivered or discarded"
)]
pub struct UnknownState(String);

/// How many messages of a topic there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicCounts {
    /// The topic.
    pub topic: String,
    /// Count per state; states without a message are left out.
    pub states: Vec<(MessageState, u64)>,
    /// The age of the oldest message that is neither delivered, discarded, dead, nor scheduled.
    pub oldest: Option<Duration>,
}

impl TopicCounts {
    /// How many messages are in `state`.
    #[must_use]
    pub fn of(&self, state: MessageState) -> u64 {
        self.states.iter().filter(|(s, _)| *s == state).map(|(_, count)| count).sum()
    }
}

/// What [`OutboxAdmin::list`] is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// Only this topic.
    pub topic: Option<String>,
    /// Only this state.
    pub state: Option<MessageState>,
    /// After this cursor, taken from [`Page::next`].
    pub after: Option<i64>,
    /// At most this many, 1 to 1,000.
    pub limit: u32,
}

impl Default for PageRequest {
    fn default() -> Self {
        Self { topic: None, state: None, after: None, limit: 100 }
    }
}

/// One page of messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The messages.
    pub messages: Vec<MessageSummary>,
    /// The cursor of the next page; `None` at the end.
    pub next: Option<i64>,
}

/// A message in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageSummary {
    /// The id.
    pub id: MessageId,
    /// The topic.
    pub topic: String,
    /// The type.
    pub message_type: String,
    /// The key.
    pub key: Option<String>,
    /// The state.
    pub state: MessageState,
    /// What happened to it so far.
    pub tally: Tally,
    /// When it was created.
    pub created_at: SystemTime,
    /// When it is due again, if it waits for a time.
    pub due_in: Option<Duration>,
    /// Its latest failure.
    pub last_failure: Option<FailureNote>,
}

/// Everything known of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageDetail {
    /// What a list shows.
    pub summary: MessageSummary,
    /// The message itself; `None` once it left for the history, which keeps no payload.
    pub message: Option<Message>,
    /// The last ten failures, oldest first.
    pub failures: Vec<FailureNote>,
    /// The receipt of its delivery.
    pub receipt: Option<String>,
    /// What people did to it, oldest first.
    pub acts: Vec<Act>,
}

/// Which messages an act is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// These.
    Ids(Vec<MessageId>),
    /// All of one topic or of every topic, in one state or in any that the act is for: a redrive takes what is dead,
    /// parked or retrying, a discard everything that has not ended.
    All {
        /// The topic, or `None` for every topic.
        topic: Option<String>,
        /// The state, or `None` for every state.
        state: Option<MessageState>,
    },
}

/// Who did something, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// The person or the tool.
    pub who: String,
    /// The reason.
    pub why: String,
    /// What was done: filled in by the store (`redrive`, `discard`).
    pub what: String,
    /// When: filled in by the store.
    pub at: SystemTime,
}

impl Act {
    /// The longest name in [`who`](Self::who), in characters.
    pub const MAX_WHO: usize = 255;
    /// The longest reason in [`why`](Self::why), in characters.
    pub const MAX_WHY: usize = 2_000;

    /// An act by `who` because of `why`.
    #[must_use]
    pub fn new(who: impl Into<String>, why: impl Into<String>) -> Self {
        Self { who: who.into(), why: why.into(), what: String::new(), at: SystemTime::UNIX_EPOCH }
    }
    /// Whether it says who and why in a form that can be kept. Every store calls this before it carries an act out.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`] when `who` or `why` is empty or only white space, is longer than
    /// [`MAX_WHO`](Self::MAX_WHO) or [`MAX_WHY`](Self::MAX_WHY), or holds a control character.
    pub fn check(&self) -> Result<(), StoreError> {
        check("who", &self.who, Self::MAX_WHO)?;
        check("why", &self.why, Self::MAX_WHY)
    }
}

fn check(field: &str, text: &str, limit: usize) -> Result<(), StoreError> {
    let length = text.chars().count();
    let wrong = if text.trim().is_empty() {
        format!("an act must say {field}; give a name and a reason")
    } else if length > limit {
        format!("{field} of the act is {length} characters long; the limit is {limit}")
    } else if text.chars().any(char::is_control) {
        format!("{field} of the act holds a control character; write it in one line")
    } else {
        return Ok(());
    };
    Err(StoreError::new(StoreErrorKind::Invalid, wrong))
}
