//! The right settings: records arrive.

use std::time::Duration;

use crate::secured::PASSWORD;
use crate::support::{Kind, Reader, deliver, kinds, message};
use crate::{login, secured, transport};

/// Delivers with these properties, and sees the records arrive in their order.
async fn delivers(name: &str, brokers: &str, properties: &[(&str, &str)]) {
    let secured = secured();
    let topic = format!("taken-{name}");
    secured.broker.topic(&topic, 1, &[]).await;
    let transport = transport(brokers, properties)
        .delivery_timeout(Duration::from_secs(30))
        .build()
        .expect("a transport");
    transport.check(Duration::from_secs(30)).await.expect("the brokers answer");
    let messages: Vec<_> = (0..10).map(|_| message(&topic, Some("key"))).collect();
    assert_eq!(kinds(&deliver(&transport, &messages).await), [Kind::Delivered; 10], "{name}");
    let mut reader = Reader::new(&secured.broker.brokers, &[&topic]);
    let arrived = tokio::task::block_in_place(|| reader.arrived().to_vec());
    let arrived: Vec<_> = arrived.iter().map(|record| record.id()).collect();
    let sent: Vec<_> = messages.iter().map(|message| message.id).collect();
    assert_eq!(arrived, sent, "{name}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Apache Kafka; scripts/test runs it"]
async fn over_tls_records_arrive() {
    let authority = secured().certificates.authority();
    let properties = [("security.protocol", "ssl"), ("ssl.ca.location", &authority)];
    delivers("tls", &secured().tls, &properties).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Apache Kafka; scripts/test runs it"]
async fn with_a_certificate_of_its_own_records_arrive() {
    let certificates = &secured().certificates;
    let [certificate, key] =
        ["client.crt", "client.key"].map(|file| certificates.path(file).display().to_string());
    let properties = [
        ("security.protocol", "ssl"),
        ("ssl.ca.location", &certificates.authority()),
        ("ssl.certificate.location", &certificate),
        ("ssl.key.location", &key),
    ];
    delivers("mutual", &secured().mutual, &properties).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Apache Kafka; scripts/test runs it"]
async fn with_a_login_records_arrive() {
    let authority = secured().certificates.authority();
    for mechanism in ["SCRAM-SHA-512", "PLAIN"] {
        delivers(mechanism, &secured().login, &login(&authority, mechanism, PASSWORD)).await;
    }
}
