//! What services bring along that still configure the `backoff` crate.

use std::time::Duration;

use backoff::ExponentialBackoffBuilder;
use outbox_core::{Decision, ExponentialBackoff, Failure, MessageId, Outcome, RetryPolicy};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn delays_lie_where_the_backoff_crate_would_put_them() {
    let theirs = ExponentialBackoffBuilder::new()
        .with_initial_interval(4 * SECOND)
        .with_multiplier(3.0)
        .with_max_interval(30 * SECOND)
        .with_randomization_factor(0.25)
        .with_max_elapsed_time(None)
        .build();
    let ours = ExponentialBackoff::from(&theirs);
    for (attempt, interval) in [(1, 4), (2, 12), (3, 30), (50, 30), (100_000, 30)] {
        for _ in 0..50 {
            let Decision::RetryIn(delay) = ours.decide(&failure(attempt, SECOND)) else {
                panic!("there is no limit on attempts");
            };
            let (low, high) = ((interval * SECOND).mul_f64(0.75), (interval * SECOND).mul_f64(1.25));
            assert!(
                (low..=high).contains(&delay),
                "attempt {attempt}: {delay:?} is not within {low:?} to {high:?}"
            );
        }
    }
}

#[test]
fn the_elapsed_time_becomes_the_highest_age() {
    let theirs = ExponentialBackoffBuilder::new().with_max_elapsed_time(Some(60 * SECOND)).build();
    let ours = ExponentialBackoff::from(theirs);
    assert!(matches!(ours.decide(&failure(1, 59 * SECOND)), Decision::RetryIn(_)));
    assert_eq!(ours.decide(&failure(1, 60 * SECOND)), Decision::GiveUp);
}

#[test]
fn without_randomisation_delays_are_exact() {
    let theirs = ExponentialBackoffBuilder::new()
        .with_initial_interval(SECOND)
        .with_multiplier(2.0)
        .with_randomization_factor(0.0)
        .build();
    let ours = ExponentialBackoff::from(&theirs);
    for (attempt, seconds) in [(1, 1), (2, 2), (3, 4), (4, 8)] {
        assert_eq!(ours.decide(&failure(attempt, SECOND)), Decision::RetryIn(seconds * SECOND));
    }
}

#[test]
fn their_errors_become_outcomes() {
    let permanent: Outcome = backoff::Error::permanent("no such recipient").into();
    assert_eq!(permanent, Outcome::permanent("no such recipient"));
    let transient: Outcome = backoff::Error::transient("busy").into();
    assert_eq!(transient, Outcome::transient("busy"));
    let later: Outcome = backoff::Error::retry_after("busy", 5 * SECOND).into();
    assert!(matches!(later, Outcome::Transient { retry_after: Some(wait), .. } if wait == 5 * SECOND));
}

fn failure(attempt: u32, age: Duration) -> Failure {
    Failure { message: MessageId::generate(), attempt, age, retry_after: None, ambiguous: false }
}
