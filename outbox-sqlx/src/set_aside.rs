//! [`SetAside`]: what becomes of a message that a verdict sets aside, for every database alike.

use outbox_core::{FailureNote, OnDead, Place, Tally, Verdict};

use crate::micros;

/// One message and what becomes of it; `None` keeps what is stored.
#[derive(Debug)]
pub(crate) struct SetAside<'a> {
    pub(crate) seq: i64,
    pub(crate) state: &'static str,
    /// Microseconds from now on until it is due.
    pub(crate) delay: Option<i64>,
    pub(crate) tally: Option<Tally>,
    pub(crate) failure: Option<&'a FailureNote>,
}

impl<'a> SetAside<'a> {
    /// The message at `seq` waits from now on; `None` keeps its tally.
    pub(crate) fn waiting(seq: i64, tally: Option<Tally>) -> Self {
        Self { seq, state: "waiting", delay: Some(0), tally, failure: None }
    }

    /// What `verdict` does; `None` if it delivers the message.
    pub(crate) fn by((place, verdict): &'a (Place, Verdict)) -> Option<Self> {
        let seq = place.seq;
        Some(match verdict {
            Verdict::Delivered { .. } => return None,
            Verdict::Retry { delay, tally, failure } => Self {
                seq,
                state: "waiting",
                delay: Some(micros::duration(*delay)),
                tally: Some(*tally),
                failure: Some(failure),
            },
            Verdict::Wait { tally } => Self::waiting(seq, Some(*tally)),
            Verdict::Schedule { delay } => Self {
                seq,
                state: "scheduled",
                delay: Some(micros::duration(*delay)),
                tally: None,
                failure: None,
            },
            Verdict::Dead { tally, failure, then } => {
                let state = match then {
                    OnDead::Skip => "dead",
                    OnDead::Park => "parked",
                };
                Self { seq, state, delay: None, tally: Some(*tally), failure: Some(failure) }
            }
        })
    }

    /// Whether it blocks its key.
    pub(crate) fn blocks(&self) -> bool {
        matches!(self.state, "waiting" | "parked")
    }
}
