//! What a person on call can do, for every database alike.

use outbox_core::MessageState;

/// How many messages one transaction of an act is about: other writers get a turn in between.
pub(crate) const STEP: i64 = 1_000;

/// A redrive or a discard.
#[derive(Debug, Clone, Copy)]
pub(crate) enum What {
    Redrive,
    Discard { history: bool },
}

impl What {
    /// The states of the messages that it can be done to; only `state`, if one is named.
    pub(crate) fn takes(self, state: Option<MessageState>) -> Vec<MessageState> {
        use MessageState::{Behind, Dead, Parked, Retrying, Scheduled, Waiting};
        let mut states = match self {
            Self::Redrive => vec![Dead, Parked, Retrying],
            Self::Discard { .. } => vec![Waiting, Retrying, Behind, Scheduled, Dead, Parked],
        };
        states.retain(|takes| state.is_none_or(|state| state == *takes));
        states
    }
}
