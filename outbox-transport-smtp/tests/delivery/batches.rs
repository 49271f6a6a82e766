//! Several mails at once: order, parallel connections, and what is not sent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use outbox_core::Transport;
use outbox_transport_smtp::SmtpTransport;
use tokio::sync::Semaphore;

use crate::relay::{Act, Point, Relay};
use crate::{Class, batch, classes, deliver, mails, message, to};

#[tokio::test]
async fn as_many_connections_as_allowed_work_side_by_side() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let relay = Relay::start(move |event| match event.point {
        Point::Dot => Act::Hold(Arc::clone(&held), "250 ok"),
        _ => Act::Go,
    })
    .await;
    let transport = to(&relay).connections(3).build().expect("a valid transport");
    let (one, two) = (mails(4), mails(4));
    let all_three_at_the_dot = async {
        relay.reached(Point::Dot, 3).await;
        gate.add_permits(100);
    };
    let (first, second, ()) =
        tokio::join!(deliver(&transport, &one), deliver(&transport, &two), all_three_at_the_dot);
    assert_eq!(classes(&first), [Class::Delivered; 4]);
    assert_eq!(classes(&second), [Class::Delivered; 4]);
    assert_eq!(relay.connections(), 3, "the limit holds over all batches");
}

#[tokio::test]
async fn mails_of_a_key_arrive_in_order_and_the_rest_of_a_failed_key_is_not_sent() {
    let relay = Relay::good().await;
    let transport = to(&relay).connections(4).build().expect("a valid transport");
    let mut messages = Vec::new();
    for number in 0..5 {
        for key in ["good", "bad"] {
            let mut mail = message(Some(key), format!("Subject: {key} {number}\r\n\r\n"));
            if (key, number) == ("bad", 2) {
                // This relay does not take such an address.
                mail.headers.insert("mail-to", "grüße@example.com");
            }
            messages.push(mail);
        }
    }
    assert!(transport.keeps_order());
    let outcomes = classes(&deliver(&transport, &batch(messages)).await);
    let of = |key: usize| outcomes.iter().copied().skip(key).step_by(2).collect::<Vec<_>>();
    assert_eq!(of(0), [Class::Delivered; 5]);
    use Class::{Delivered, NotSent, Permanent};
    assert_eq!(of(1), [Delivered, Delivered, Permanent, NotSent, NotSent]);

    let subjects: Vec<_> = relay
        .arrived()
        .iter()
        .map(|mail| String::from_utf8_lossy(&mail.bytes).trim_end().to_owned())
        .collect();
    for (key, expected) in [("good", 5), ("bad", 2)] {
        let of_key: Vec<_> = subjects.iter().filter(|subject| subject.contains(key)).cloned().collect();
        let in_order: Vec<_> = (0..expected).map(|number| format!("Subject: {key} {number}")).collect();
        assert_eq!(of_key, in_order);
    }
}

#[tokio::test]
async fn once_the_relay_is_unavailable_the_rest_is_not_sent_and_it_is_left_alone() {
    let relay = Relay::start(|_| Act::Say("421 4.3.2 closing")).await;
    let transport = to(&relay).connections(2).build().expect("a valid transport");
    let outcomes = classes(&deliver(&transport, &mails(20)).await);
    let unavailable = outcomes.iter().filter(|&&class| class == Class::Unavailable).count();
    assert!((1..=2).contains(&unavailable), "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|&&class| class == Class::NotSent).count(), 20 - unavailable);
    assert!(relay.connections() <= 2, "{} connections", relay.connections());
}

#[tokio::test]
async fn a_relay_that_goes_away_in_the_middle_costs_what_was_not_started_nothing() {
    let relay = Relay::start(|event| match (event.point, event.nth) {
        (Point::Dot, 2) => Act::SayAndClose("421 4.3.2 shutting down"),
        (Point::Connect, nth) if nth > 0 => Act::Close,
        _ => Act::Go,
    })
    .await;
    let transport = to(&relay).build().expect("a valid transport");
    let outcomes = classes(&deliver(&transport, &mails(5)).await);
    use Class::{Delivered, NotSent, Unavailable};
    assert_eq!(outcomes, [Delivered, Delivered, Unavailable, NotSent, NotSent]);
}

#[tokio::test]
async fn a_refused_mail_does_not_hold_up_the_others() {
    let relay = Relay::start(|event| match (event.point, event.nth) {
        (Point::Rcpt, 1) => Act::Say("550 5.1.1 no such user"),
        (Point::Dot, 2) => Act::Close,
        _ => Act::Go,
    })
    .await;
    let transport = to(&relay).build().expect("a valid transport");
    let outcomes = classes(&deliver(&transport, &mails(5)).await);
    use Class::{Ambiguous, Delivered, Permanent};
    assert_eq!(outcomes, [Delivered, Permanent, Delivered, Ambiguous, Delivered]);
}

#[tokio::test]
async fn what_is_not_started_in_time_is_not_sent() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let relay = Relay::start(move |event| match event.point {
        Point::Dot => Act::Hold(Arc::clone(&held), "250 ok"),
        _ => Act::Go,
    })
    .await;
    let starts_for = Duration::from_secs(1);
    let transport = to(&relay).starts_for(starts_for).build().expect("a valid transport");
    let (one, two) = (mails(2), mails(1));
    let waits_for_the_only_connection = async {
        relay.reached(Point::Dot, 1).await;
        let outcomes = deliver(&transport, &two).await;
        gate.add_permits(1);
        outcomes
    };
    let (first, second) = tokio::join!(deliver(&transport, &one), waits_for_the_only_connection);
    assert_eq!(classes(&first), [Class::Delivered, Class::NotSent]);
    assert_eq!(classes(&second), [Class::NotSent]);
    assert_eq!(relay.count(Point::Mail), 1);
}

#[tokio::test]
async fn mails_beyond_the_rate_limit_are_not_sent() {
    let relay = Relay::good().await;
    let transport = to(&relay).rate_limit(1).starts_for(Duration::from_millis(500));
    let outcomes = classes(&deliver(&transport.build().expect("a valid transport"), &mails(3)).await);
    assert_eq!(outcomes, [Class::Delivered, Class::NotSent, Class::NotSent]);
}

#[tokio::test]
async fn the_rate_limit_spaces_mails() {
    let relay = Relay::good().await;
    let transport = to(&relay).connections(4).rate_limit(20).build().expect("a valid transport");
    let start = Instant::now();
    assert_eq!(classes(&deliver(&transport, &mails(6)).await), [Class::Delivered; 6]);
    assert!(start.elapsed() >= Duration::from_millis(250), "6 mails at 20 per second need 5 pauses of 50 ms");
}

#[test]
fn a_batch_may_take_as_long_as_its_slowest_mail_some_43_minutes() {
    let transport = SmtpTransport::builder().host("relay.example.org").build().expect("a valid transport");
    let until_the_last_start = 60;
    let (connect, greeting, commands, data, blocks) = (30, 5 * 60, 3 * 5 * 60, 2 * 60, 3 * 3 * 60);
    let (final_dot, slack) = (10 * 60, 10);
    let whole = until_the_last_start + connect + greeting + commands + data + blocks + final_dot + slack;
    assert_eq!(transport.deadline(), Duration::from_secs(whole));
    assert_eq!(whole.div_ceil(60), 43, "as the documentation says");
}
