//! TLS and logins against Apache Kafka, for the feature `ssl`.

#[path = "../support/mod.rs"]
mod support;

mod refused;
mod secured;
mod taken;

use std::sync::LazyLock;
use std::time::Duration;

use outbox_transport_kafka::{KafkaTransport, KafkaTransportBuilder};

use crate::secured::Secured;

static SECURED: LazyLock<Secured> = LazyLock::new(Secured::start);

/// One broker for all tests.
fn secured() -> &'static Secured {
    tokio::task::block_in_place(|| &*SECURED)
}

/// A transport with these properties.
fn transport(brokers: &str, properties: &[(&str, &str)]) -> KafkaTransportBuilder {
    let builder = KafkaTransport::builder()
        .brokers(brokers)
        .property("reconnect.backoff.max.ms", "500")
        .delivery_timeout(Duration::from_secs(4));
    properties.iter().fold(builder, |builder, (name, value)| builder.property(*name, *value))
}

/// Those of a login over TLS.
fn login<'p>(authority: &'p str, mechanism: &'p str, password: &'p str) -> [(&'p str, &'p str); 5] {
    [
        ("security.protocol", "sasl_ssl"),
        ("ssl.ca.location", authority),
        ("sasl.mechanism", mechanism),
        ("sasl.username", secured::USER),
        ("sasl.password", password),
    ]
}
