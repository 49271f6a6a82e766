//! [`Place::hint`]: whether a message was fresh when it was claimed, and the mark of its id.
//!
//! A server that took over from one that failed may lack its last commits, and then gives their places out again. So a
//! settlement names each message by its place and the CRC-32 of its id, which the server computes: of a place that
//! another message has by now, nothing is written.

use outbox_core::{Place, Slot};

/// The place of a message that was fresh when it was claimed.
pub(super) fn fresh(slot: Slot, seq: i64, mark: u32) -> Place {
    Place { slot, seq, hint: u64::from(mark) << 1 }
}

/// The place of a message that was set aside when it was claimed.
pub(super) fn set_aside(slot: Slot, seq: i64, mark: u32) -> Place {
    Place { slot, seq, hint: u64::from(mark) << 1 | 1 }
}

/// Whether the message was fresh when it was claimed.
pub(super) fn is_fresh(place: &Place) -> bool {
    place.hint & 1 == 0
}

/// The mark of the message that was claimed.
pub(super) fn mark(place: &Place) -> i64 {
    i64::from((place.hint >> 1) as u32)
}
