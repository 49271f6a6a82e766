//! Outcomes are complete and true.

use futures_util::future::join_all;

use super::{TransportFixture, arrivals, batch, deliver, is_delivered, messages, outcomes};
use crate::{DeliveryReport, Outcome, Transport};

pub async fn an_empty_batch_records_nothing<F: TransportFixture>(fixture: F) {
    assert!(deliver(&fixture, &[]).await.is_empty(), "no message, no outcome");
    assert!(fixture.arrived().await.is_empty(), "nothing was sent");
}

pub async fn every_message_of_a_batch_is_delivered_once<F: TransportFixture>(fixture: F) {
    let messages = messages(&fixture, 20);
    let outcomes = deliver(&fixture, &messages).await;
    for (message, outcome) in messages.iter().zip(&outcomes) {
        assert!(is_delivered(outcome), "the destination accepts everything, but the outcome is {outcome:?}");
        assert_eq!(arrivals(&fixture, message).await, 1, "delivered means arrived, with its id, once");
    }
}

pub async fn a_batch_of_one_is_delivered<F: TransportFixture>(fixture: F) {
    let messages = messages(&fixture, 1);
    assert!(is_delivered(&deliver(&fixture, &messages).await[0]), "the destination accepts it");
    assert_eq!(fixture.arrived().await, [messages[0].id], "with its id");
}

pub async fn keyed_messages_are_delivered<F: TransportFixture>(fixture: F) {
    let messages: Vec<_> = (0..10).map(|n| fixture.message(Some(&n.to_string()))).collect();
    let outcomes = deliver(&fixture, &messages).await;
    assert!(outcomes.iter().all(is_delivered), "one message of each key: {outcomes:?}");
    assert_eq!(fixture.arrived().await.len(), 10, "all arrived");
}

pub async fn a_redelivery_arrives_with_the_same_id<F: TransportFixture>(fixture: F) {
    let message = fixture.message(Some("a"));
    let mut again = batch(std::slice::from_ref(&message));
    assert!(is_delivered(&deliver(&fixture, std::slice::from_ref(&message)).await[0]), "the first time");
    again[0].attempt = 3;
    again[0].in_doubt = true;
    let report = DeliveryReport::collecting(&again);
    fixture.transport().deliver(&again, &report).await;
    assert!(is_delivered(&outcomes(&report, 1)[0]), "in doubt or not, it is sent again");
    assert_eq!(arrivals(&fixture, &message).await, 2, "receivers tell a redelivery by the id");
}

pub async fn a_refused_message_is_permanent_and_leaves_its_neighbours_alone<F: TransportFixture>(fixture: F) {
    let messages = messages(&fixture, 5);
    fixture.refuse(&messages[1]).await;
    let outcomes = deliver(&fixture, &messages).await;
    assert!(
        matches!(outcomes[1], Some(Outcome::Permanent { .. })),
        "refused for good, not {:?}",
        outcomes[1]
    );
    assert_only_the_second_failed(&fixture, &messages, &outcomes).await;
}

pub async fn a_failing_message_is_transient_and_leaves_its_neighbours_alone<F: TransportFixture>(fixture: F) {
    let messages = messages(&fixture, 5);
    fixture.fail(&messages[1]).await;
    let outcomes = deliver(&fixture, &messages).await;
    assert!(matches!(outcomes[1], Some(Outcome::Transient { .. })), "refused for now, not {:?}", outcomes[1]);
    assert_only_the_second_failed(&fixture, &messages, &outcomes).await;
}

pub async fn a_destination_that_is_down_is_unavailable<F: TransportFixture>(fixture: F) {
    fixture.stop().await;
    let messages = messages(&fixture, 5);
    let outcomes = deliver(&fixture, &messages).await;
    for outcome in &outcomes {
        let free = matches!(outcome, Some(Outcome::Unavailable { .. } | Outcome::NotSent));
        assert!(free, "an outage costs no message an attempt, but the outcome is {outcome:?}");
    }
    let told = outcomes.iter().any(|outcome| matches!(outcome, Some(Outcome::Unavailable { .. })));
    assert!(told, "at least one outcome says that the destination is down, so that its route pauses");
    assert!(fixture.arrived().await.is_empty(), "nothing arrived");
}

pub async fn a_destination_that_is_back_is_used_again<F: TransportFixture>(fixture: F) {
    let early = messages(&fixture, 2);
    assert!(deliver(&fixture, &early).await.iter().all(is_delivered), "before the outage");
    fixture.stop().await;
    let messages = messages(&fixture, 5);
    assert!(!deliver(&fixture, &messages).await.iter().any(is_delivered), "during the outage");
    fixture.resume().await;
    let outcomes = deliver(&fixture, &messages).await;
    assert!(outcomes.iter().all(is_delivered), "the same transport, after the outage: {outcomes:?}");
    for message in &messages {
        assert_eq!(arrivals(&fixture, message).await, 1, "once");
    }
}

pub async fn batches_side_by_side_do_not_mix_their_outcomes<F: TransportFixture>(fixture: F) {
    let batches: Vec<_> = (0..4).map(|_| messages(&fixture, 8)).collect();
    for (n, messages) in batches.iter().enumerate() {
        fixture.refuse(&messages[n]).await;
    }
    let all = join_all(batches.iter().map(|messages| deliver(&fixture, messages))).await;
    for (n, outcomes) in all.iter().enumerate() {
        for (m, outcome) in outcomes.iter().enumerate() {
            let expected = if m == n {
                matches!(outcome, Some(Outcome::Permanent { .. }))
            } else {
                is_delivered(outcome)
            };
            assert!(expected, "batch {n}, message {m}: {outcome:?}");
        }
    }
}

async fn assert_only_the_second_failed<F: TransportFixture>(
    fixture: &F,
    messages: &[crate::Message],
    outcomes: &[Option<Outcome>],
) {
    assert_eq!(arrivals(fixture, &messages[1]).await, 0, "the destination did not accept it");
    for n in [0, 2, 3, 4] {
        assert!(is_delivered(&outcomes[n]), "a neighbour is delivered, but its outcome is {:?}", outcomes[n]);
        assert_eq!(arrivals(fixture, &messages[n]).await, 1, "and has arrived");
    }
}
