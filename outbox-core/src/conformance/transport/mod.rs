//! The suite of [`Transport`].

// The names of the checks are their documentation.
#![allow(missing_docs)]

mod dropped;
mod order;
mod outcome;

use async_trait::async_trait;

use crate::{Delivery, DeliveryReport, Message, MessageId, Outcome, Transport};

/// How the suite sets up the destination of a transport of yours: a server in the test, a mock, a sandbox.
#[async_trait]
pub trait TransportFixture: Sized + Send + Sync + 'static {
    /// The transport under test.
    type Transport: Transport;

    /// A destination that accepts everything, and a transport to it.
    async fn fresh() -> Self;

    /// The transport.
    fn transport(&self) -> &Self::Transport;

    /// A message that the transport can deliver, with a fresh id.
    fn message(&self, key: Option<&str>) -> Message;

    /// From now on the destination refuses this message for good.
    async fn refuse(&self, message: &Message);

    /// From now on the destination refuses this message for now.
    async fn fail(&self, message: &Message);

    /// The destination stops: it cannot be reached, or refuses everybody.
    async fn stop(&self);

    /// The destination is back.
    async fn resume(&self);

    /// The ids of the messages that the destination has accepted, one per arrival, in the order of arrival.
    async fn arrived(&self) -> Vec<MessageId>;
}

/// The checks; each takes a fixture whose destination accepts everything.
pub mod checks {
    pub use super::dropped::*;
    pub use super::order::*;
    pub use super::outcome::*;
}

/// One named test per promise of [`Transport`](crate::Transport), for a
/// [`TransportFixture`](crate::conformance::TransportFixture).
#[macro_export]
macro_rules! transport_conformance {
    ($fixture:ty $(, needs $needs:literal)? $(, except $check:ident = $why:literal)* $(,)?) => {
        mod transport_conformance {
            #[allow(unused_imports)]
            use super::*;
            $crate::__conformance_tests! {
                ($) transport, $fixture, <$fixture as $crate::conformance::TransportFixture>::fresh(),
                [$($needs)?], [$($check = $why),*],
                [
                    after_a_drop_the_next_batch_gets_its_own_outcomes,
                    what_was_recorded_before_a_drop_is_true,
                    many_drops_do_not_use_the_transport_up,
                    messages_of_a_key_arrive_in_order,
                    a_failure_stops_the_rest_of_its_key_in_the_batch,
                    an_empty_batch_records_nothing,
                    every_message_of_a_batch_is_delivered_once,
                    a_batch_of_one_is_delivered,
                    keyed_messages_are_delivered,
                    a_redelivery_arrives_with_the_same_id,
                    a_refused_message_is_permanent_and_leaves_its_neighbours_alone,
                    a_failing_message_is_transient_and_leaves_its_neighbours_alone,
                    a_destination_that_is_down_is_unavailable,
                    a_destination_that_is_back_is_used_again,
                    batches_side_by_side_do_not_mix_their_outcomes,
                ]
            }
        }
    };
}

/// Delivers `messages` as one batch; answers the outcome of each, in the order given.
async fn deliver<F: TransportFixture>(fixture: &F, messages: &[Message]) -> Vec<Option<Outcome>> {
    let batch = batch(messages);
    let report = DeliveryReport::collecting(&batch);
    fixture.transport().deliver(&batch, &report).await;
    outcomes(&report, messages.len())
}

fn batch(messages: &[Message]) -> Vec<Delivery> {
    messages.iter().enumerate().map(|(index, message)| Delivery::new(index, message.clone())).collect()
}

fn outcomes(report: &DeliveryReport, messages: usize) -> Vec<Option<Outcome>> {
    let mut outcomes = vec![None; messages];
    for (index, outcome) in report.take() {
        outcomes[index] = Some(outcome);
    }
    outcomes
}

fn messages<F: TransportFixture>(fixture: &F, count: usize) -> Vec<Message> {
    (0..count).map(|_| fixture.message(None)).collect()
}

fn is_delivered(outcome: &Option<Outcome>) -> bool {
    matches!(outcome, Some(Outcome::Delivered { .. }))
}

async fn arrivals<F: TransportFixture>(fixture: &F, message: &Message) -> usize {
    fixture.arrived().await.iter().filter(|id| **id == message.id).count()
}
