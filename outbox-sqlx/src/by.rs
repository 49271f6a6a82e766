//! [`By`]: whose settlement it is.

use outbox_core::Epoch;

/// Whose settlement it is and what it goes by.
#[derive(Clone, Copy)]
pub(crate) struct By {
    pub(crate) epoch: Epoch,
    /// The count of a person's acts that the caller's claims are known to follow.
    pub(crate) changes: Option<i64>,
    /// An earlier try may come late: the count is raised by one.
    pub(crate) late: bool,
    /// Delivered messages join the history.
    pub(crate) history: bool,
}

impl By {
    /// A count of a person's acts that no session has.
    pub(crate) const NEVER: i64 = -1;
}
