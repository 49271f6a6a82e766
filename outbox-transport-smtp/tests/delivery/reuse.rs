//! Connections that are kept between mails.

use crate::relay::{Act, Point, Relay};
use crate::{Class, classes, deliver, deliver_one, mails, to};

#[tokio::test]
async fn mails_of_one_batch_and_of_the_next_share_a_connection() {
    let relay = Relay::good().await;
    let transport = to(&relay).build().expect("a valid transport");
    assert_eq!(classes(&deliver(&transport, &mails(3)).await), [Class::Delivered; 3]);
    assert_eq!(classes(&deliver(&transport, &mails(3)).await), [Class::Delivered; 3]);
    assert_eq!(relay.connections(), 1);
    assert_eq!(relay.count(Point::Rset), 0, "nothing to forget after an accepted mail");
}

#[tokio::test]
async fn a_refused_mail_is_forgotten_before_the_next_one() {
    for point in [Point::Mail, Point::Rcpt, Point::Data, Point::Dot] {
        let relay = Relay::start(move |event| match (event.point, event.nth) {
            (at, 0) if at == point => Act::Say("550 5.1.1 no"),
            _ => Act::Go,
        })
        .await;
        let transport = to(&relay).build().expect("a valid transport");
        let outcomes = deliver(&transport, &mails(2)).await;
        assert_eq!(classes(&outcomes), [Class::Permanent, Class::Delivered], "refused at {point:?}");
        assert_eq!(relay.connections(), 1, "refused at {point:?}");
        assert_eq!(relay.count(Point::Rset), 1, "refused at {point:?}");
    }
}

#[tokio::test]
async fn a_relay_that_does_not_forget_gets_a_fresh_connection() {
    let relay = Relay::start(|event| match (event.point, event.nth) {
        (Point::Rcpt, 0) => Act::Say("550 5.1.1 no"),
        (Point::Rset, _) => Act::Say("502 5.5.1 what?"),
        _ => Act::Go,
    })
    .await;
    let transport = to(&relay).build().expect("a valid transport");
    assert_eq!(classes(&deliver(&transport, &mails(2)).await), [Class::Permanent, Class::Delivered]);
    assert_eq!(relay.connections(), 2);
}

#[tokio::test]
async fn an_idle_connection_that_the_relay_closed_costs_no_outcome() {
    let endings = [
        Act::Close,
        Act::Reset,
        Act::SayAndClose("421 4.4.2 idle for too long"),
        Act::Say("451 4.7.1 too many"),
    ];
    for ending in endings {
        let shown = format!("{ending:?}");
        let relay = Relay::start(move |event| match event {
            event if event.point == Point::Mail && event.nth == 1 => ending.clone(),
            _ => Act::Go,
        })
        .await;
        let transport = to(&relay).build().expect("a valid transport");
        let outcomes = deliver(&transport, &mails(2)).await;
        assert_eq!(classes(&outcomes), [Class::Delivered; 2], "{shown}: {outcomes:?}");
        assert_eq!(relay.connections(), 2, "{shown}");
    }
}

#[tokio::test]
async fn an_idle_connection_on_which_the_relay_said_goodbye_is_not_tried() {
    let relay = Relay::start(|event| match (event.point, event.nth) {
        (Point::Dot, 0) => Act::SayAndClose("250 2.0.0 queued\r\n421 4.4.2 goodbye"),
        _ => Act::Go,
    })
    .await;
    let transport = to(&relay).build().expect("a valid transport");
    assert_eq!(class_of_two(&transport).await, [Class::Delivered; 2]);
    assert_eq!(relay.connections(), 2);
    assert_eq!(relay.count(Point::Mail), 2, "the second mail went to the second connection alone");
}

async fn class_of_two(transport: &outbox_transport_smtp::SmtpTransport) -> Vec<Class> {
    let first = deliver_one(transport).await;
    let second = deliver_one(transport).await;
    classes(&[first, second])
}

#[tokio::test]
async fn a_refusal_on_a_fresh_connection_is_believed() {
    let relay = Relay::start(|event| match event.point {
        Point::Mail => Act::Say("451 4.7.1 slow down"),
        _ => Act::Go,
    })
    .await;
    let transport = to(&relay).build().expect("a valid transport");
    assert_eq!(crate::class(&deliver_one(&transport).await), Class::Unavailable);
    assert_eq!(relay.count(Point::Mail), 1);
}

#[tokio::test]
async fn a_connection_ends_politely_after_a_hundred_mails() {
    let relay = Relay::good().await;
    let transport = to(&relay).build().expect("a valid transport");
    assert_eq!(classes(&deliver(&transport, &mails(101)).await), [Class::Delivered; 101]);
    assert_eq!(relay.connections(), 2);
    assert_eq!(relay.count(Point::Quit), 1);
    let first = relay.arrived().iter().filter(|mail| mail.connection == 0).count();
    assert_eq!(first, 100);
}
