//! Delivery against a relay whose every reply is scripted.

mod batches;
mod breaks;
mod conformance;
mod dispatched;
mod encryption;
#[path = "../outcome/mod.rs"]
mod outcome;
mod relay;
mod reuse;
mod stages;

use std::time::Duration;

use outbox_core::{Delivery, DeliveryReport, Message, MessageId, Outcome, Transport};
use outbox_transport_smtp::{Encryption, SmtpTransport, SmtpTransportBuilder, Timeouts};

use crate::outcome::{Class, class};
use crate::relay::Relay;

const MAIL: &str = "Subject: hello\r\n\r\nhello\r\n.\r\n..two dots\r\n";

/// A transport to `relay` over one connection at a time, with deadlines that no good relay comes near.
fn to(relay: &Relay) -> SmtpTransportBuilder {
    let long = Duration::from_secs(20);
    SmtpTransport::builder()
        .host("127.0.0.1")
        .port(relay.address.port())
        .encryption(Encryption::None)
        .connections(1)
        .timeouts(timeouts(long))
}

/// The same deadline for each step.
fn timeouts(each: Duration) -> Timeouts {
    Timeouts { connect: each, greeting: each, command: each, data: each, block: each, final_dot: each }
}

fn message(key: Option<&str>, body: impl Into<Vec<u8>>) -> Message {
    let mut message = Message::new(MessageId::generate(), "mail", body.into());
    message.key = key.map(str::to_owned);
    message.content_type = "message/rfc822".to_owned();
    message.headers.insert("mail-format", "1");
    message.headers.insert("mail-from", "team@example.org");
    message.headers.insert("mail-to", "guest@example.com");
    message
}

fn batch(messages: impl IntoIterator<Item = Message>) -> Vec<Delivery> {
    messages.into_iter().enumerate().map(|(index, message)| Delivery::new(index, message)).collect()
}

/// `count` mails without a key.
fn mails(count: usize) -> Vec<Delivery> {
    batch((0..count).map(|_| message(None, MAIL)))
}

/// Delivers `batch` and answers the outcomes in its order; each message must have one.
async fn deliver(transport: &SmtpTransport, batch: &[Delivery]) -> Vec<Outcome> {
    let report = DeliveryReport::collecting(batch);
    let whole = transport.deliver(batch, &report);
    tokio::time::timeout(Duration::from_secs(60), whole).await.expect("deliver ends by itself");
    let mut outcomes = report.take();
    outcomes.sort_by_key(|(index, _)| *index);
    let recorded: Vec<usize> = outcomes.iter().map(|(index, _)| *index).collect();
    assert_eq!(recorded, (0..batch.len()).collect::<Vec<_>>(), "each message has one outcome");
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

async fn deliver_one(transport: &SmtpTransport) -> Outcome {
    deliver(transport, &mails(1)).await.remove(0)
}

fn classes(outcomes: &[Outcome]) -> Vec<Class> {
    outcomes.iter().map(class).collect()
}

/// The error of an outcome as a person reads it.
fn error(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Transient { error, .. }
        | Outcome::Permanent { error }
        | Outcome::Unavailable { error, .. }
        | Outcome::Ambiguous { error } => error.to_string(),
        other => panic!("no error in {other:?}"),
    }
}
