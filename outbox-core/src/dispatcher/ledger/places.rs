//! [`Places`]: which places are held.

use std::sync::Arc;

use crate::store::HeldPlaces;
use crate::{Place, Slot};

/// The places of everything held, shared with the claim that runs.
///
/// A claim may have read a message before the settlement that ended it was written: to a claim, what was held at its
/// start stays held until it has answered. So a place that goes meanwhile is only noted, which also spares a copy of
/// the whole set.
#[derive(Debug, Default)]
pub(super) struct Places {
    held: Arc<HeldPlaces>,
    gone: Vec<Place>,
}

impl Places {
    /// For a claim that is about to start.
    pub(super) fn share(&mut self) -> Arc<HeldPlaces> {
        self.forget_gone();
        Arc::clone(&self.held)
    }

    /// Whether `place` was not held yet. To be asked when no claim runs; during one it copies the set.
    pub(super) fn insert(&mut self, place: Place) -> bool {
        self.forget_gone();
        Arc::make_mut(&mut self.held).insert(place)
    }

    /// `place` is held no more.
    pub(super) fn remove(&mut self, place: Place) {
        match Arc::get_mut(&mut self.held) {
            Some(held) => {
                held.remove(&place);
            }
            None => self.gone.push(place),
        }
    }

    /// Whether a place of `slots` is held.
    pub(super) fn any_of(&mut self, slots: &[Slot]) -> bool {
        self.forget_gone();
        self.held.iter().any(|place| slots.contains(&place.slot))
    }

    fn forget_gone(&mut self) {
        if !self.gone.is_empty() {
            let held = Arc::make_mut(&mut self.held);
            for place in self.gone.drain(..) {
                held.remove(&place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(seq: i64) -> Place {
        Place { slot: Slot(0), seq, hint: 0 }
    }

    #[test]
    fn to_a_claim_that_runs_nothing_goes() {
        let mut places = Places::default();
        assert!(places.insert(place(1)) && places.insert(place(2)));
        let claim = places.share();
        places.remove(place(1));
        assert!(claim.contains(&place(1)), "it may have read the message before it was settled");
        drop(claim);
        let next = places.share();
        assert!(!next.contains(&place(1)) && next.contains(&place(2)));
    }

    #[test]
    fn a_place_that_went_while_a_claim_ran_may_be_held_again() {
        let mut places = Places::default();
        places.insert(place(1));
        let claim = places.share();
        places.remove(place(1));
        assert!(!places.any_of(&[Slot(0)]), "also while the claim runs");
        assert!(places.insert(place(1)));
        assert!(!places.insert(place(1)), "twice it is not");
        places.remove(place(1));
        drop(claim);
        assert!(!places.any_of(&[Slot(0)]));
    }
}
