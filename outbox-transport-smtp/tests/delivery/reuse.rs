//! Connections that are kept between mails.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::relay::{Act, Point, Relay};
use crate::{Class, class, classes, deliver, deliver_one, mails, timeouts, to};

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
        Act::Say("354 out of step"),
    ];
    for point in [Point::Mail, Point::Rcpt, Point::Data] {
        for ending in endings.clone() {
            if matches!((&ending, point), (Act::Say(_), Point::Data)) {
                continue;
            }
            let shown = format!("{ending:?} at {point:?}");
            let relay = Relay::start(move |event| match event {
                event if event.point == point && event.nth == 1 => ending.clone(),
                _ => Act::Go,
            })
            .await;
            let transport = to(&relay).build().expect("a valid transport");
            let outcomes = deliver(&transport, &mails(2)).await;
            assert_eq!(classes(&outcomes), [Class::Delivered; 2], "{shown}: {outcomes:?}");
            assert_eq!(relay.connections(), 2, "{shown}");
        }
    }
}

#[tokio::test]
async fn a_relay_that_takes_no_more_mails_on_a_connection_is_asked_over_a_fresh_one() {
    let relay = Relay::start(|event| match (event.point, event.nth) {
        (Point::Mail, 1) => Act::Say("451 4.7.1 too many mails on this connection"),
        _ => Act::Go,
    })
    .await;
    let transport = to(&relay).build().expect("a valid transport");
    assert_eq!(classes(&deliver(&transport, &mails(2)).await), [Class::Delivered; 2]);
    assert_eq!(relay.connections(), 2);
}

#[tokio::test]
async fn an_idle_connection_on_which_the_relay_said_goodbye_is_not_tried() {
    let relay = Relay::start(|event| match (event.point, event.nth) {
        (Point::Dot, 0) => Act::SayAndClose("250 2.0.0 queued\r\n421 4.4.2 goodbye"),
        _ => Act::Go,
    })
    .await;
    let transport = to(&relay).build().expect("a valid transport");
    assert_eq!(classes(&deliver(&transport, &mails(2)).await), [Class::Delivered; 2]);
    assert_eq!(relay.connections(), 2);
    assert_eq!(relay.count(Point::Mail), 2, "the second mail went to the second connection alone");
}

#[tokio::test]
async fn a_reply_that_comes_unasked_between_mails_is_not_taken_for_the_next_mails() {
    let relay = Relay::start(|event| match (event.point, event.nth) {
        (Point::Dot, 0) => Act::SayTwice("250 2.0.0 queued", "250 2.0.0 queued again"),
        _ => Act::Go,
    })
    .await;
    let transport = to(&relay).build().expect("a valid transport");
    assert_eq!(class(&deliver_one(&transport).await), Class::Delivered);
    relay.reached(Point::Stray, 1).await;
    let outcome = deliver_one(&transport).await;
    assert_eq!(class(&outcome), Class::Delivered, "{outcome:?}");
    assert_eq!(relay.connections(), 2);
}

#[tokio::test]
async fn a_connection_whose_reply_did_not_come_in_time_is_not_used_again() {
    for (point, reply, expected) in
        [(Point::Rcpt, "250 2.1.5 ok", Class::Transient), (Point::Dot, "250 2.0.0 queued", Class::Ambiguous)]
    {
        let gate = Arc::new(Semaphore::new(0));
        let held = Arc::clone(&gate);
        let relay = Relay::start(move |event| match (event.point, event.nth) {
            (at, 0) if at == point => Act::Hold(Arc::clone(&held), reply),
            _ => Act::Go,
        })
        .await;
        let each = Duration::from_secs(2);
        let transport = to(&relay).timeouts(timeouts(each)).build().expect("a valid transport");
        assert_eq!(class(&deliver_one(&transport).await), expected);
        gate.add_permits(1);
        let outcome = deliver_one(&transport).await;
        assert_eq!(class(&outcome), Class::Delivered, "after a late reply at {point:?}: {outcome:?}");
        assert_eq!(relay.count(Point::Mail), 2, "the late connection was tried after {point:?}");
    }
}

#[tokio::test]
async fn a_refusal_on_a_fresh_connection_is_believed() {
    let relay = Relay::start(|event| match event.point {
        Point::Mail => Act::Say("451 4.7.1 slow down"),
        _ => Act::Go,
    })
    .await;
    let transport = to(&relay).build().expect("a valid transport");
    assert_eq!(class(&deliver_one(&transport).await), Class::Unavailable);
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
