//! `deliver` may be dropped at any await: a deadline passed, the lease was lost.

use super::super::drop_after;
use super::{TransportFixture, arrivals, batch, deliver, is_delivered, messages, outcomes};
use crate::{DeliveryReport, Outcome, Transport};

pub async fn after_a_drop_the_next_batch_gets_its_own_outcomes<F: TransportFixture>(fixture: F) {
    for polls in 0..12 {
        let dropped = messages(&fixture, 3);
        fixture.refuse(&dropped[0]).await;
        let handed_over = batch(&dropped);
        let report = DeliveryReport::collecting(&handed_over);
        drop_after(polls, fixture.transport().deliver(&handed_over, &report)).await;

        // What the destination answered to the dropped batch must not be taken for an answer to this one.
        let next = messages(&fixture, 3);
        fixture.refuse(&next[1]).await;
        let outcomes = deliver(&fixture, &next).await;
        assert!(is_delivered(&outcomes[0]), "after {polls} polls: {:?}", outcomes[0]);
        let permanent = matches!(outcomes[1], Some(Outcome::Permanent { .. }));
        assert!(permanent, "after {polls} polls, a refused message: {:?}", outcomes[1]);
        assert!(is_delivered(&outcomes[2]), "after {polls} polls: {:?}", outcomes[2]);
        let arrived = [arrivals(&fixture, &next[0]).await, arrivals(&fixture, &next[1]).await];
        assert_eq!(arrived, [1, 0], "after {polls} polls, the outcomes are true");
    }
}

pub async fn what_was_recorded_before_a_drop_is_true<F: TransportFixture>(fixture: F) {
    for polls in 0..12 {
        let messages = messages(&fixture, 6);
        fixture.refuse(&messages[3]).await;
        let handed_over = batch(&messages);
        let report = DeliveryReport::collecting(&handed_over);
        drop_after(polls, fixture.transport().deliver(&handed_over, &report)).await;
        for (message, outcome) in messages.iter().zip(outcomes(&report, messages.len())) {
            match outcome {
                Some(Outcome::Delivered { .. }) => {
                    assert_eq!(
                        arrivals(&fixture, message).await,
                        1,
                        "after {polls} polls, recorded but not arrived"
                    );
                }
                // Without a record the dispatcher treats it as ambiguous, whatever became of it.
                None | Some(Outcome::Ambiguous { .. }) => {}
                Some(outcome) => {
                    assert_eq!(
                        arrivals(&fixture, message).await,
                        0,
                        "after {polls} polls, arrived but {outcome:?}"
                    );
                }
            }
        }
    }
}

pub async fn many_drops_do_not_use_the_transport_up<F: TransportFixture>(fixture: F) {
    for polls in 0..50 {
        let handed_over = batch(&messages(&fixture, 2));
        let report = DeliveryReport::collecting(&handed_over);
        drop_after(polls % 5, fixture.transport().deliver(&handed_over, &report)).await;
    }
    let messages = messages(&fixture, 4);
    let outcomes = deliver(&fixture, &messages).await;
    assert!(outcomes.iter().all(is_delivered), "connections and permits came back: {outcomes:?}");
}
