//! The class of an outcome, to compare outcomes whose texts do not matter.

use outbox_core::Outcome;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Delivered,
    Transient,
    Permanent,
    Unavailable,
    Ambiguous,
    NotSent,
}

pub(crate) fn class(outcome: &Outcome) -> Class {
    match outcome {
        Outcome::Delivered { .. } => Class::Delivered,
        Outcome::Transient { .. } => Class::Transient,
        Outcome::Permanent { .. } => Class::Permanent,
        Outcome::Unavailable { .. } => Class::Unavailable,
        Outcome::Ambiguous { .. } => Class::Ambiguous,
        Outcome::NotSent => Class::NotSent,
        other => panic!("an outcome nobody knows: {other:?}"),
    }
}
