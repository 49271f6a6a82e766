//! TLS and logins, and relays that break them.

use std::sync::Arc;

use outbox_transport_smtp::{Encryption, SmtpTransportBuilder};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::relay::{Act, Event, Point, Relay, Setup};
use crate::{Class, class, deliver_one, error, to};

/// A certificate for `localhost`, as the relay shows it and as a client trusts it.
fn certificate() -> (TlsAcceptor, String) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .expect("a usable certificate");
    (TlsAcceptor::from(Arc::new(config)), cert.pem())
}

/// A relay with a certificate, and a transport that trusts it.
async fn secured(
    implicit: bool,
    offers: Vec<&'static str>,
    script: impl Fn(&Event) -> Act + Send + Sync + 'static,
) -> (Relay, SmtpTransportBuilder) {
    let (tls, pem) = certificate();
    let relay = Relay::with(Setup { offers, tls: Some(tls), implicit }, script).await;
    let encryption = if implicit { Encryption::Tls } else { Encryption::StartTls };
    let transport = to(&relay).host("localhost").root_certificates(pem).encryption(encryption);
    (relay, transport)
}

#[tokio::test]
async fn starttls_encrypts_before_the_mail() {
    let (relay, transport) = secured(false, vec![], |_| Act::Go).await;
    let outcome = deliver_one(&transport.build().expect("a valid transport")).await;
    assert_eq!(class(&outcome), Class::Delivered, "{outcome:?}");
    assert!(relay.arrived()[0].encrypted);
    let commands: Vec<_> = relay.lines().iter().map(|line| line[..4].to_owned()).collect();
    assert_eq!(commands, ["EHLO", "STAR", "EHLO", "MAIL", "RCPT", "DATA"]);
}

#[tokio::test]
async fn implicit_tls_encrypts_from_the_first_byte() {
    let (relay, transport) = secured(true, vec![], |_| Act::Go).await;
    let outcome = deliver_one(&transport.build().expect("a valid transport")).await;
    assert_eq!(class(&outcome), Class::Delivered, "{outcome:?}");
    assert!(relay.arrived()[0].encrypted);
}

#[tokio::test]
async fn a_stripped_starttls_sends_nothing() {
    let relay = Relay::good().await;
    let transport = to(&relay).encryption(Encryption::StartTls).build().expect("a valid transport");
    let outcome = deliver_one(&transport).await;
    assert_eq!(class(&outcome), Class::Unavailable);
    assert!(error(&outcome).contains("STARTTLS"), "{outcome:?}");
    assert_eq!(relay.count(Point::Mail), 0);
}

#[tokio::test]
async fn opportunistic_encryption_goes_on_without_an_offer_and_never_after_a_failed_one() {
    let relay = Relay::good().await;
    let opportunistic = Encryption::OpportunisticStartTls;
    let outcome =
        deliver_one(&to(&relay).encryption(opportunistic).build().expect("a valid transport")).await;
    assert_eq!(class(&outcome), Class::Delivered);
    assert!(!relay.arrived()[0].encrypted);

    let (relay, transport) = secured(false, vec![], |_| Act::Go).await;
    let outcome = deliver_one(&transport.encryption(opportunistic).build().expect("a valid transport")).await;
    assert_eq!(class(&outcome), Class::Delivered);
    assert!(relay.arrived()[0].encrypted);

    let refuse = |event: &Event| match event.point {
        Point::StartTls => Act::Say("454 4.7.0 TLS not available"),
        _ => Act::Go,
    };
    let (relay, transport) = secured(false, vec![], refuse).await;
    let outcome = deliver_one(&transport.encryption(opportunistic).build().expect("a valid transport")).await;
    assert_eq!(class(&outcome), Class::Unavailable);
    assert_eq!(relay.count(Point::Mail), 0);
}

#[tokio::test]
async fn a_starttls_that_breaks_after_the_offer_sends_nothing() {
    for act in [Act::Close, Act::SayAndClose("220 go ahead"), Act::Say("220 go ahead\r\nnot a handshake")] {
        let broken = act.clone();
        let script = move |event: &Event| if event.point == Point::StartTls { act.clone() } else { Act::Go };
        let (relay, transport) = secured(false, vec![], script).await;
        let outcome = deliver_one(&transport.build().expect("a valid transport")).await;
        assert_eq!(class(&outcome), Class::Unavailable, "{broken:?}: {outcome:?}");
        assert_eq!(relay.count(Point::Mail), 0, "{broken:?}");
    }
}

#[tokio::test]
async fn a_reply_smuggled_in_before_the_handshake_is_not_taken_for_the_relays() {
    let script = |event: &Event| match event.point {
        Point::StartTls => Act::Say("220 go ahead\r\n250-relay.example.org\r\n250 AUTH PLAIN"),
        _ => Act::Go,
    };
    let (relay, transport) = secured(false, vec![], script).await;
    let outcome = deliver_one(&transport.login("user", "secret").build().expect("a valid transport")).await;
    assert_eq!(class(&outcome), Class::Unavailable, "{outcome:?}");
    assert_eq!(relay.count(Point::Auth), 0);
}

#[tokio::test]
async fn what_was_offered_before_the_encryption_is_forgotten() {
    let script = |event: &Event| match (event.point, event.nth) {
        (Point::Ehlo, 0) => Act::Say("250-relay.example.org\r\n250-SIZE 1000000\r\n250 STARTTLS"),
        (Point::Ehlo, _) => Act::Say("250 relay.example.org"),
        _ => Act::Go,
    };
    let (relay, transport) = secured(false, vec![], script).await;
    let outcome = deliver_one(&transport.build().expect("a valid transport")).await;
    assert_eq!(class(&outcome), Class::Delivered, "{outcome:?}");
    assert_eq!(relay.arrived()[0].envelope[0], "MAIL FROM:<team@example.org>");
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused_as_unavailable() {
    for implicit in [true, false] {
        let (tls, _) = certificate();
        let relay = Relay::with(Setup { tls: Some(tls), implicit, ..Setup::default() }, |_| Act::Go).await;
        let encryption = if implicit { Encryption::Tls } else { Encryption::StartTls };
        let transport =
            to(&relay).host("localhost").encryption(encryption).build().expect("a valid transport");
        let outcome = deliver_one(&transport).await;
        assert_eq!(class(&outcome), Class::Unavailable);
        assert!(error(&outcome).contains("add its certificate with `root_certificates`"), "{outcome:?}");
        assert_eq!(relay.count(Point::Mail), 0);
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_as_unavailable() {
    let (relay, transport) = secured(true, vec![], |_| Act::Go).await;
    let outcome = deliver_one(&transport.host("127.0.0.1").build().expect("a valid transport")).await;
    assert_eq!(class(&outcome), Class::Unavailable);
    assert!(error(&outcome).contains("certificate"), "{outcome:?}");
    assert_eq!(relay.count(Point::Mail), 0);
}

#[tokio::test]
async fn a_plain_login_is_preferred_and_sent_once_per_connection() {
    let (relay, transport) = secured(false, vec!["AUTH LOGIN PLAIN"], |_| Act::Go).await;
    let transport = transport.login("user", "secret").build().expect("a valid transport");
    for _ in 0..2 {
        assert_eq!(class(&deliver_one(&transport).await), Class::Delivered);
    }
    let logins: Vec<_> = relay.lines().into_iter().filter(|line| line.starts_with("AUTH")).collect();
    // \0user\0secret
    assert_eq!(logins, ["AUTH PLAIN AHVzZXIAc2VjcmV0"]);
}

#[tokio::test]
async fn a_relay_with_nothing_but_auth_login_gets_that() {
    let (relay, transport) = secured(false, vec!["AUTH=LOGIN CRAM-MD5"], |_| Act::Go).await;
    let transport = transport.login("user", "secret").build().expect("a valid transport");
    assert_eq!(class(&deliver_one(&transport).await), Class::Delivered);
    let lines = relay.lines();
    let at = lines.iter().position(|line| line == "AUTH LOGIN").expect("AUTH LOGIN was said");
    assert_eq!(lines[at + 1..at + 3], ["dXNlcg==", "c2VjcmV0"]);
}

#[tokio::test]
async fn a_refused_login_is_the_relays_matter_and_ends_no_mail() {
    let script = |event: &Event| match event.point {
        Point::Auth => Act::Say("535 5.7.8 user@example.org: wrong password"),
        _ => Act::Go,
    };
    let (relay, transport) = secured(false, vec!["AUTH PLAIN"], script).await;
    let transport = transport.login("user@example.org", "secret").build().expect("a valid transport");
    let outcome = deliver_one(&transport).await;
    assert_eq!(class(&outcome), Class::Unavailable);
    let text = error(&outcome);
    assert!(text.starts_with("535 5.7.8: logging in"), "{text}");
    assert!(text.ends_with("check user and password"), "{text}");
    assert!(!text.contains("secret") && !text.contains("user@"), "{text}");
    assert_eq!(relay.count(Point::Mail), 0);
}

#[tokio::test]
async fn a_relay_without_a_known_mechanism_gets_no_login() {
    let (relay, transport) = secured(false, vec!["AUTH CRAM-MD5"], |_| Act::Go).await;
    let transport = transport.login("user", "secret").build().expect("a valid transport");
    assert_eq!(class(&deliver_one(&transport).await), Class::Unavailable);
    assert_eq!(relay.count(Point::Auth), 0);
}

#[tokio::test]
async fn a_login_is_not_sent_in_the_clear_unless_that_is_allowed() {
    let offers = || Setup { offers: vec!["AUTH PLAIN"], ..Setup::default() };
    let relay = Relay::with(offers(), |_| Act::Go).await;
    let transport = to(&relay).encryption(Encryption::OpportunisticStartTls).login("user", "secret");
    let outcome = deliver_one(&transport.build().expect("a valid transport")).await;
    assert_eq!(class(&outcome), Class::Unavailable);
    assert_eq!(relay.count(Point::Auth), 0);

    let relay = Relay::with(offers(), |_| Act::Go).await;
    let transport = to(&relay).login("user", "secret").allow_unencrypted_login(true);
    let outcome = deliver_one(&transport.build().expect("a valid transport")).await;
    assert_eq!(class(&outcome), Class::Delivered);
    assert_eq!(relay.count(Point::Auth), 1);
}
