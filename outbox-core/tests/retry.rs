//! Retry policies: pure, bounded, and without a number that breaks them.

use std::sync::Arc;
use std::time::Duration;

use outbox_core::{Decision, ExponentialBackoff, Failure, FixedDelays, MessageId, NeverRetry, RetryPolicy};
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn delays_stay_below_ceilings_that_double_up_to_the_cap() {
    let policy = ExponentialBackoff::default().with_max_delay(10 * SECOND).with_max_attempts(None);
    for (attempt, ceiling) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 10), (6, 10), (1000, 10)] {
        for _ in 0..50 {
            let delay = delay(&policy, &failure(attempt));
            assert!(delay <= ceiling * SECOND, "attempt {attempt} waits {delay:?}, more than {ceiling} s");
        }
    }
}

#[test]
fn delays_are_spread_over_the_whole_interval() {
    let policy = ExponentialBackoff::default();
    let delays: Vec<Duration> = (0..400).map(|_| delay(&policy, &failure(4))).collect();
    for quarter in 0..4 {
        let (from, to) = (2 * quarter * SECOND, 2 * (quarter + 1) * SECOND);
        let within = delays.iter().filter(|delay| (from..to).contains(delay)).count();
        // 100 are expected; fewer than 50 would be five standard deviations off.
        assert!(within > 50, "only {within} of 400 between {from:?} and {to:?}");
    }
}

#[test]
fn messages_that_failed_together_do_not_come_back_together() {
    let policy = ExponentialBackoff::default();
    let mut delays: Vec<Duration> = (0..100).map(|_| delay(&policy, &failure(5))).collect();
    delays.sort_unstable();
    delays.dedup();
    assert!(delays.len() > 95, "only {} different delays for 100 messages", delays.len());
}

#[test]
fn by_default_the_twentieth_attempt_is_the_last() {
    let policy = ExponentialBackoff::default();
    assert!(matches!(policy.decide(&failure(19)), Decision::RetryIn(_)));
    assert_eq!(policy.decide(&failure(20)), Decision::GiveUp);
    assert_eq!(policy.decide(&failure(u32::MAX)), Decision::GiveUp);
}

#[test]
fn a_message_that_is_too_old_is_given_up_at_its_next_failure() {
    let policy = ExponentialBackoff::default().with_max_age(Some(Duration::from_secs(3600)));
    let aged = |age| Failure { age, ..failure(1) };
    assert!(matches!(policy.decide(&aged(Duration::from_secs(3599))), Decision::RetryIn(_)));
    assert_eq!(policy.decide(&aged(Duration::from_secs(3600))), Decision::GiveUp);
    assert_eq!(policy.decide(&aged(Duration::MAX)), Decision::GiveUp);
    assert!(
        matches!(ExponentialBackoff::default().decide(&aged(Duration::MAX)), Decision::RetryIn(_)),
        "no limit"
    );
}

#[test]
fn a_policy_without_delays_never_waits() {
    let policy = ExponentialBackoff::default().with_initial(Duration::ZERO).with_max_attempts(None);
    for attempt in [1, 2, 100, 1024, 1025, 5000, u32::MAX] {
        assert_eq!(delay(&policy, &failure(attempt)), Duration::ZERO, "attempt {attempt}");
    }
}

#[test]
fn multipliers_that_make_no_sense_count_as_one() {
    for multiplier in [0.5, 0.0, -3.0, f64::NAN, f64::NEG_INFINITY] {
        let policy = ExponentialBackoff::default().with_multiplier(multiplier).with_max_attempts(None);
        for attempt in [1, 10, 100] {
            assert!(delay(&policy, &failure(attempt)) <= SECOND, "{multiplier} shrinks or grows the ceiling");
        }
    }
}

#[test]
fn fixed_delays_are_used_in_turn_and_then_it_gives_up() {
    let policy = FixedDelays::new([SECOND, 5 * SECOND]);
    let decisions: Vec<_> = (1..=4).map(|attempt| policy.decide(&failure(attempt))).collect();
    let expected =
        [Decision::RetryIn(SECOND), Decision::RetryIn(5 * SECOND), Decision::GiveUp, Decision::GiveUp];
    assert_eq!(decisions, expected);
    assert_eq!(FixedDelays::new([]).decide(&failure(1)), Decision::GiveUp, "no delays, one attempt");
}

#[test]
fn a_fixed_delay_gives_way_to_what_the_destination_asks() {
    let policy = FixedDelays::new([5 * SECOND]);
    let asked = |seconds| Failure { retry_after: Some(seconds * SECOND), ..failure(1) };
    assert_eq!(policy.decide(&asked(60)), Decision::RetryIn(60 * SECOND));
    assert_eq!(policy.decide(&asked(1)), Decision::RetryIn(5 * SECOND), "never sooner than the policy says");
}

#[test]
fn a_destination_cannot_ask_for_more_than_a_day() {
    let day = Duration::from_secs(24 * 3600);
    let exponential = |max| ExponentialBackoff::default().with_initial(max).with_max_delay(max);
    let policies: [(&dyn RetryPolicy, Duration); 4] = [
        (&FixedDelays::new([SECOND]), SECOND),
        (&FixedDelays::new([3 * day]), 3 * day),
        (&exponential(SECOND), SECOND),
        (&exponential(3 * day), 3 * day),
    ];
    for (policy, own) in policies {
        for (asked, least) in
            [(day - SECOND, day - SECOND), (day, day), (day + SECOND, day), (Duration::MAX, day)]
        {
            let decision = policy.decide(&Failure { retry_after: Some(asked), ..failure(1) });
            let Decision::RetryIn(delay) = decision else { panic!("{asked:?}: {decision:?}") };
            assert!(delay >= least, "{asked:?} asked, {delay:?} is sooner");
            assert!(
                delay <= least.max(own),
                "{asked:?} asked, {delay:?} is later than a day and its own delay"
            );
        }
    }
}

#[test]
fn never_means_never() {
    assert_eq!(NeverRetry.decide(&failure(1)), Decision::GiveUp);
}

#[test]
fn a_shared_policy_decides_as_the_policy_itself() {
    let shared: Arc<dyn RetryPolicy> = Arc::new(FixedDelays::new([SECOND]));
    assert_eq!(shared.decide(&failure(1)), Decision::RetryIn(SECOND));
}

fn any_duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        Just(Duration::ZERO),
        Just(Duration::MAX),
        Just(Duration::from_nanos(1)),
        (0..10_000_u64).prop_map(Duration::from_millis),
        (any::<u64>(), 0..1_000_000_000_u32).prop_map(|(seconds, nanos)| Duration::new(seconds, nanos)),
    ]
}

prop_compose! {
    fn any_failure()(
        id in any::<u128>(),
        attempt in prop_oneof![0..30_u32, any::<u32>(), Just(u32::MAX)],
        age in any_duration(),
        retry_after in prop::option::of(any_duration()),
        ambiguous in any::<bool>(),
    ) -> Failure {
        Failure { message: MessageId::from(uuid::Uuid::from_u128(id)), attempt, age, retry_after, ambiguous }
    }
}

prop_compose! {
    fn any_policy()(
        initial in any_duration(),
        multiplier in prop_oneof![Just(2.0), any::<f64>(), Just(f64::INFINITY)],
        max_delay in any_duration(),
        max_attempts in prop::option::of(any::<u32>()),
        max_age in prop::option::of(any_duration()),
    ) -> (ExponentialBackoff, Duration) {
        let policy = ExponentialBackoff::default().with_initial(initial).with_multiplier(multiplier);
        (policy.with_max_delay(max_delay).with_max_attempts(max_attempts).with_max_age(max_age), max_delay)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_decision_is_pure_and_within_its_bounds((policy, max_delay) in any_policy(), failure in any_failure()) {
        let decision = policy.decide(&failure);
        prop_assert_eq!(policy.clone().decide(&failure), decision, "the same failure, the same decision");
        if let Decision::RetryIn(delay) = decision {
            let asked = failure.retry_after.unwrap_or_default().min(Duration::from_secs(24 * 3600));
            prop_assert!(delay >= asked, "sooner than the destination asks");
            prop_assert!(delay <= max_delay.max(asked), "later than the cap");
        }
    }

    #[test]
    fn a_delay_depends_on_message_and_attempt_alone((policy, _) in any_policy(), failure in any_failure()) {
        let policy = policy.with_max_attempts(None).with_max_age(None);
        let other = Failure { age: Duration::ZERO, ambiguous: !failure.ambiguous, ..failure };
        prop_assert_eq!(policy.decide(&other), policy.decide(&failure));
    }
}

fn failure(attempt: u32) -> Failure {
    Failure { message: MessageId::generate(), attempt, age: SECOND, retry_after: None, ambiguous: false }
}

fn delay(policy: &impl RetryPolicy, failure: &Failure) -> Duration {
    match policy.decide(failure) {
        Decision::RetryIn(delay) => delay,
        Decision::GiveUp => panic!("the policy gave up"),
    }
}
