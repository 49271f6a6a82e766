//! The suite of rows that cannot be decoded.

// The names of the checks are their documentation.
#![allow(missing_docs)]

use async_trait::async_trait;

use super::StoreFixture;
use super::probe::*;
use crate::{Claimed, CorruptMessage, OnDead};

/// A [`StoreFixture`] that can damage a row: another program wrote it, or wrote into it.
#[async_trait]
pub trait CorruptFixture: StoreFixture {
    /// Commits a row of `topic` and `key` that cannot be decoded: its id is no UUID, its headers are no JSON, …
    async fn insert_corrupt(&self, topic: &str, key: Option<&str>);
}

/// The checks; each takes a fixture with an empty outbox.
pub mod checks {
    pub use super::{
        a_corrupt_row_can_be_ended, a_corrupt_row_comes_as_an_error_in_its_place,
        a_corrupt_row_that_is_parked_holds_its_key, a_corrupt_row_that_was_in_flight_is_not_lost,
    };
}

/// One named test per promise about rows that cannot be decoded, for a
/// [`CorruptFixture`](crate::conformance::CorruptFixture).
#[macro_export]
macro_rules! corrupt_conformance {
    ($fixture:ty $(, needs $needs:literal)? $(, except $check:ident = $why:literal)* $(,)?) => {
        mod corrupt_conformance {
            #[allow(unused_imports)]
            use super::*;
            $crate::__conformance_tests! {
                ($) corrupt, $fixture, <$fixture as $crate::conformance::StoreFixture>::fresh(),
                [$($needs)?], [$($check = $why),*],
                [
                    a_corrupt_row_can_be_ended,
                    a_corrupt_row_comes_as_an_error_in_its_place,
                    a_corrupt_row_that_is_parked_holds_its_key,
                    a_corrupt_row_that_was_in_flight_is_not_lost,
                ]
            }
        }
    };
}

pub async fn a_corrupt_row_comes_as_an_error_in_its_place<F: CorruptFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    let neighbours = line("a", 2);
    probe.enqueue(&neighbours[..1]).await;
    probe.fixture.insert_corrupt("orders", Some("a")).await;
    probe.enqueue(&neighbours[1..]).await;
    let claimed = probe.claim(&mut session).await;
    assert_eq!(claimed.len(), 3, "one bad row does not fail the claim");
    assert_eq!(message(&claimed[0]).id, neighbours[0].id(), "the one before it");
    assert_eq!(message(&claimed[2]).id, neighbours[1].id(), "the one after it");
    let corrupt = corrupt(&claimed[1]);
    assert_eq!(corrupt.topic, "orders", "its topic can be read");
    assert_eq!(corrupt.key.as_deref(), Some("a"), "its key can be read");
    assert!(!corrupt.reason.is_empty(), "and what is wrong with it");
}

pub async fn a_corrupt_row_can_be_ended<F: CorruptFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    probe.fixture.insert_corrupt("orders", Some("a")).await;
    probe.enqueue(&line("a", 1)).await;
    let claimed = probe.claim(&mut session).await;
    probe.settle(&mut session, &[(claimed[0].place, dead(OnDead::Skip))]).await;
    let left = only(probe.claim_anew(&mut session).await);
    assert!(left.message.is_ok(), "the corrupt row is a dead letter");
    assert!(!left.behind, "its key goes on");
}

pub async fn a_corrupt_row_that_is_parked_holds_its_key<F: CorruptFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    probe.fixture.insert_corrupt("orders", Some("a")).await;
    probe.enqueue(&line("a", 1)).await;
    let claimed = probe.claim(&mut session).await;
    probe.settle(&mut session, &[(claimed[0].place, dead(OnDead::Park))]).await;
    let left = only(probe.claim_anew(&mut session).await);
    assert!(left.message.is_ok() && left.behind, "the next of its key stands behind it");
}

pub async fn a_corrupt_row_that_was_in_flight_is_not_lost<F: CorruptFixture>(fixture: F) {
    let probe = Probe::new(fixture);
    let mut session = probe.start().await;
    probe.fixture.insert_corrupt("orders", None).await;
    probe.enqueue(&[unkeyed()]).await;
    let claimed = places(&probe.claim(&mut session).await);
    probe.begin(&mut session, &claimed).await;
    let mut successor = probe.take_over(&session).await;
    let claimed = probe.claim(&mut successor).await;
    assert_eq!(claimed.len(), 2, "a takeover sets aside also what cannot be decoded");
    assert_eq!(claimed.iter().filter(|claimed| claimed.message.is_err()).count(), 1, "and it stays corrupt");
}

fn corrupt(claimed: &Claimed) -> &CorruptMessage {
    claimed.message.as_ref().expect_err("the row cannot be decoded")
}
