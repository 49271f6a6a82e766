//! The wrong settings: the cluster is unavailable, a person is told why, and nothing goes out unencrypted.

use std::io::Read;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outbox_core::{
    DispatcherExt, Enqueue, LeasedDispatcher, MemoryOutbox, MessageState, NewMessage, OutboxAdmin,
    PageRequest, Route,
};
use outbox_transport_kafka::KafkaTransport;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::secured::{PASSWORD, USER};
use crate::support::{Kind, Reader, deliver, error, java, kind, kinds, message};
use crate::{login, secured, transport};

/// Delivers a batch, of which nothing may be sent: the first message says why, in these words, and the others wait.
async fn is_unavailable(transport: KafkaTransport, why: &str) {
    let messages: Vec<_> = (0..3).map(|_| message("refused", Some("key"))).collect();
    let patience = Duration::from_secs(4);
    let (checked, outcomes) = tokio::join!(transport.check(patience), deliver(&transport, &messages));
    let checked = checked.expect_err("nobody is reached").to_string();
    assert_eq!(kind(&outcomes[0]), Kind::Unavailable, "{outcomes:?}");
    assert_eq!(kinds(&outcomes[1..]), [Kind::NotSent; 2], "{outcomes:?}");
    for text in [checked, error(&outcomes[0])] {
        println!("{text}");
        assert!(text.contains(why), "{why:?} is not in: {text}");
        assert!(!text.contains(PASSWORD), "{text}");
    }
}

/// Brokers, properties, and what is said.
type Row<'r> = (&'r str, &'r [(&'r str, &'r str)], &'static str);

/// All of these are unavailable.
async fn are_unavailable(rows: &[Row<'_>]) {
    let mut all = JoinSet::new();
    for (brokers, properties, why) in rows {
        all.spawn(is_unavailable(transport(brokers, properties).build().expect("a transport"), why));
    }
    all.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Apache Kafka; scripts/test runs it"]
async fn a_broker_that_cannot_be_trusted_is_unavailable() {
    let secured = secured();
    let [ours, strangers] = [secured.certificates.authority(), secured.certificates.stranger()];
    let ssl = |authority| [("security.protocol", "ssl"), ("ssl.ca.location", authority)];
    are_unavailable(&[
        (&secured.tls, &ssl(&strangers), "certificate verify failed"),
        (&secured.login, &login(&strangers, "PLAIN", PASSWORD), "certificate verify failed"),
        (&secured.elsewhere, &ssl(&ours), "certificate verify failed"),
        // It is the broker that does not trust.
        (&secured.mutual, &ssl(&ours), "certificate"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Apache Kafka; scripts/test runs it"]
async fn a_login_that_is_wrong_makes_the_cluster_unavailable() {
    let (brokers, authority) = (&secured().login, secured().certificates.authority());
    are_unavailable(&[
        (brokers, &login(&authority, "SCRAM-SHA-512", "wrong"), "invalid credentials"),
        (brokers, &login(&authority, "PLAIN", "wrong"), "Invalid username or password"),
        (brokers, &login(&authority, "SCRAM-SHA-256", PASSWORD), "mechanism"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Apache Kafka; scripts/test runs it"]
async fn a_port_with_another_protocol_is_unavailable() {
    let secured = secured();
    let authority = secured.certificates.authority();
    let ssl = [("security.protocol", "ssl"), ("ssl.ca.location", authority.as_str())];
    are_unavailable(&[
        (&secured.tls, &[], "may want TLS"),
        (&secured.login, &[], "may want TLS"),
        (&secured.broker.brokers, &ssl, "may not speak TLS"),
        (&secured.login, &ssl, "may want a login"),
    ])
    .await;
}

/// It would be Kerberos, for want of another.
#[cfg(not(feature = "sasl"))]
#[test]
fn a_login_without_its_mechanism_is_refused_and_names_the_property() {
    let mut properties = login("probe", "", PASSWORD).to_vec();
    properties.retain(|(name, _)| *name != "sasl.mechanism");
    let error = transport("localhost:9093", &properties).build().expect_err("refused").to_string();
    assert!(error.contains("set `sasl.mechanism`") && error.contains("feature `sasl`"), "{error}");
}

#[test]
fn a_certificate_that_is_not_there_is_refused_by_its_property() {
    let properties = [("security.protocol", "ssl"), ("ssl.ca.location", "/nowhere/authority.crt")];
    let error = transport("localhost:9093", &properties).build().expect_err("refused").to_string();
    assert!(error.contains("ssl.ca.location") && !error.contains("feature"), "{error}");
}

/// Whoever sits in between and speaks no TLS hears neither login nor record.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_tls_is_said_to_a_listener_without_it() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("localhost:{}", listener.local_addr().expect("its address").port());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hearing = Arc::clone(&heard);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut said = vec![0; 4096];
            let length = stream.and_then(|mut stream| stream.read(&mut said)).unwrap_or(0);
            said.truncate(length);
            hearing.lock().expect("no panic").push(said);
        }
    });
    let wanted = login("probe", "PLAIN", PASSWORD);
    let properties: Vec<_> = wanted.into_iter().filter(|(name, _)| *name != "ssl.ca.location").collect();
    // Also when the address asks for less.
    for brokers in [address.clone(), format!("PLAINTEXT://{address}"), format!("SASL_PLAINTEXT://{address}")]
    {
        let transport = transport(&brokers, &properties)
            .delivery_timeout(Duration::from_secs(2))
            .build()
            .expect("a transport");
        let outcomes = deliver(&transport, &[message("refused", None)]).await;
        assert_eq!(kinds(&outcomes), [Kind::Unavailable], "{brokers}: {outcomes:?}");
    }
    let heard = heard.lock().expect("no panic");
    assert!(heard.iter().any(|said| !said.is_empty()), "it was talked to");
    for said in heard.iter().filter(|said| !said.is_empty()) {
        assert_eq!(said[..2], [0x16, 0x03], "a TLS handshake");
        for secret in [USER, PASSWORD, "refused"] {
            assert!(!said.windows(secret.len()).any(|part| part == secret.as_bytes()), "{secret} was heard");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Apache Kafka; scripts/test runs it"]
async fn a_route_waits_for_its_login_to_be_created_and_spends_no_attempt() {
    let secured = secured();
    secured.broker.topic("waits", 1, &[]).await;
    let authority = secured.certificates.authority();
    let mut properties = login(&authority, "SCRAM-SHA-512", PASSWORD);
    properties[3] = ("sasl.username", "bob");
    let transport = transport(&secured.login, &properties).build().expect("a transport");
    let outbox = MemoryOutbox::builder().history(Duration::from_secs(3600)).build();
    let mut tx = outbox.begin();
    for _ in 0..5 {
        let message =
            NewMessage::builder("waits").key("key").payload(b"hello".to_vec(), "text/plain").build();
        outbox.enqueue(&mut tx, &[message.expect("valid")]).await.expect("enqueued");
    }
    outbox.commit(tx);
    let route =
        Route::topic("waits", transport.clone()).pause(Duration::from_millis(50), Duration::from_millis(500));
    let dispatcher = LeasedDispatcher::builder(outbox.clone()).route(route).build().expect("a dispatcher");
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(async move { dispatcher.run_until(stopped).await });
    // A second producer means that the first batch has ended.
    while transport.health().producers < 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let change = format!("SCRAM-SHA-512=[password={PASSWORD}]");
    let server = ["--bootstrap-server", &secured.broker.brokers];
    let user = ["--alter", "--entity-type", "users", "--entity-name", "bob", "--add-config", &change];
    tokio::task::block_in_place(|| java("kafka.admin.ConfigCommand", &[&server[..], &user].concat(), ""));

    let mut reader = Reader::new(&secured.broker.brokers, &["waits"]);
    let delivered = PageRequest { state: Some(MessageState::Delivered), ..PageRequest::default() };
    while outbox.list(&delivered).await.expect("a page").messages.len() < 5 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.send(()).expect("it runs");
    let summary = running.await.expect("no panic").expect("a clean shutdown");
    assert_eq!((summary.retried, summary.dead), (0, 0), "{summary:?}");
    let arrived = tokio::task::block_in_place(|| reader.arrived().to_vec());
    let attempts: Vec<_> = arrived.iter().map(|record| record.headers["outbox-attempt"].as_str()).collect();
    assert_eq!(attempts, ["1"; 5]);
}
