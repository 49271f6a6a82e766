//! What the tests of the mock and of the real broker share.

#![allow(dead_code, unused_imports)]

mod broker;
mod python;
mod reader;
mod story;

pub(crate) use broker::{Broker, Listener, folder, free_ports, java};
use outbox_core::{Delivery, DeliveryReport, Message, MessageId, Outcome, Transport};
pub(crate) use python::read_by_python;
pub(crate) use reader::{Arrived, Reader};
pub(crate) use story::Story;

/// A message with an id of its own.
pub(crate) fn message(topic: &str, key: Option<&str>) -> Message {
    let id = MessageId::generate();
    let mut message = Message::new(id, topic, format!("payload of {id}"));
    message.key = key.map(str::to_owned);
    message
}

pub(crate) fn batch(messages: &[Message]) -> Vec<Delivery> {
    messages.iter().enumerate().map(|(index, message)| Delivery::new(index, message.clone())).collect()
}

/// Delivers `messages` as one batch; answers the outcome of each.
pub(crate) async fn deliver(transport: &impl Transport, messages: &[Message]) -> Vec<Outcome> {
    let batch = batch(messages);
    let report = DeliveryReport::collecting(&batch);
    transport.deliver(&batch, &report).await;
    let mut outcomes = vec![None; messages.len()];
    for (index, outcome) in report.take() {
        outcomes[index] = Some(outcome);
    }
    outcomes.into_iter().map(|outcome| outcome.expect("every message has an outcome")).collect()
}

/// The kind of an outcome, for tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Delivered,
    Transient,
    Permanent,
    Unavailable,
    Ambiguous,
    NotSent,
}

pub(crate) fn kind(outcome: &Outcome) -> Kind {
    match outcome {
        Outcome::Delivered { .. } => Kind::Delivered,
        Outcome::Transient { .. } => Kind::Transient,
        Outcome::Permanent { .. } => Kind::Permanent,
        Outcome::Unavailable { .. } => Kind::Unavailable,
        Outcome::Ambiguous { .. } => Kind::Ambiguous,
        Outcome::NotSent => Kind::NotSent,
        other => panic!("an unknown outcome: {other:?}"),
    }
}

pub(crate) fn kinds(outcomes: &[Outcome]) -> Vec<Kind> {
    outcomes.iter().map(kind).collect()
}

/// The text that a person reads.
pub(crate) fn error(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Transient { error, .. }
        | Outcome::Permanent { error }
        | Outcome::Unavailable { error, .. }
        | Outcome::Ambiguous { error } => error.to_string(),
        other => panic!("no error: {other:?}"),
    }
}
