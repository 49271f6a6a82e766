//! The whole way: enqueued, dispatched, delivered, and what a deadline of the route costs.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use outbox_core::{
    DispatchSummary, DispatcherExt, EnqueueExt, FixedDelays, LeasedDispatcher, MemoryOutbox, Route,
};
use outbox_transport_smtp::{EmailMessage, Mailbox};

use crate::relay::{Act, Point, Relay};
use crate::to;

async fn enqueue(outbox: &MemoryOutbox, subject: &str) {
    let mailbox = |address| Mailbox::new(address).expect("a plain address");
    let mail = EmailMessage::builder()
        .from(mailbox("team@example.org"))
        .to(mailbox("guest@example.com"))
        .subject(subject)
        .text("See you!")
        .build()
        .expect("a valid mail");
    let message = mail.to_message("mail").map(|builder| builder.key("guest")).expect("rendered");
    let mut tx = outbox.begin();
    outbox.enqueue_one(&mut tx, &message.build().expect("a valid message")).await.expect("enqueued");
    outbox.commit(tx);
}

/// Dispatches until `mails` have reached their final dot, over a route with `deadline`, and shuts down.
async fn dispatch(
    outbox: &MemoryOutbox,
    relay: &Arc<Relay>,
    deadline: Duration,
    mails: usize,
) -> DispatchSummary {
    let route = Route::topic("mail", to(relay).build().expect("a valid transport"))
        .retry(FixedDelays::new([Duration::ZERO; 3]))
        .pause(Duration::from_millis(10), Duration::from_millis(10))
        .deadline(deadline);
    let dispatcher = LeasedDispatcher::builder(outbox.clone()).route(route).build().expect("a dispatcher");
    let relay = Arc::clone(relay);
    let shutdown = async move { relay.reached(Point::Dot, mails).await };
    dispatcher.run_until(shutdown).await.expect("a clean shutdown")
}

#[tokio::test]
async fn enqueued_mails_of_a_key_arrive_in_their_order() {
    let relay = Arc::new(Relay::good().await);
    let outbox = MemoryOutbox::new();
    for subject in ["booked", "moved", "cancelled"] {
        enqueue(&outbox, subject).await;
    }
    let summary = dispatch(&outbox, &relay, Duration::from_secs(60), 3).await;
    assert_eq!((summary.delivered, summary.retried), (3, 0));
    let arrived = relay.arrived();
    for (mail, subject) in arrived.iter().zip(["booked", "moved", "cancelled"]) {
        let text = String::from_utf8_lossy(&mail.bytes);
        assert!(text.contains(&format!("Subject: {subject}\r\n")), "{text}");
        assert!(text.contains("\r\nOutbox-Message-Id: "), "{text}");
    }
}

#[tokio::test]
async fn a_deadline_before_the_recipient_costs_no_attempt_and_one_after_the_dot_leaves_in_doubt() {
    let stages = [
        (Point::Connect, 0, 0),
        (Point::Mail, 0, 0),
        (Point::Rcpt, 1, 0),
        (Point::Data, 1, 0),
        (Point::Dot, 1, 1),
    ];
    // Side by side, since each takes its deadline once.
    join_all(stages.map(async |(point, retried, in_doubt)| {
        let relay = Relay::start(move |event| match event.point {
            at if at == point && event.nth == 0 => Act::Never,
            _ => Act::Go,
        })
        .await;
        let relay = Arc::new(relay);
        let outbox = MemoryOutbox::new();
        enqueue(&outbox, "hello").await;
        let dots = if point == Point::Dot { 2 } else { 1 };
        let summary = dispatch(&outbox, &relay, Duration::from_secs(3), dots).await;
        assert_eq!(summary.delivered, 1, "silent at {point:?}: {summary:?}");
        assert_eq!(summary.retried, retried, "silent at {point:?}: {summary:?}");
        assert_eq!(summary.redelivered_in_doubt, in_doubt, "silent at {point:?}: {summary:?}");
    }))
    .await;
}

#[tokio::test]
async fn an_outage_costs_no_attempt() {
    // Each connection fails another way until the eleventh.
    let relay = Relay::start(|event| match (event.point, event.connection) {
        (Point::Connect, 0 | 1) => Act::Close,
        (Point::Connect, 2) => Act::Say("554 5.3.2 no service"),
        (Point::Ehlo, 3) => Act::Reset,
        (Point::Mail, 4) => Act::Say("451 4.3.0 try later"),
        (Point::Mail, 5) => Act::Close,
        (Point::Rcpt, 6) => Act::Close,
        (Point::Connect, 7) => Act::Close,
        (Point::Data, 8) => Act::SayAndClose("421 4.3.2 shutting down"),
        (Point::Dot, 9) => Act::SayAndClose("421 4.3.2 shutting down"),
        _ => Act::Go,
    })
    .await;
    let relay = Arc::new(relay);
    let outbox = MemoryOutbox::new();
    enqueue(&outbox, "hello").await;
    let summary = dispatch(&outbox, &relay, Duration::from_secs(60), 2).await;
    assert_eq!((summary.delivered, summary.retried, summary.dead), (1, 0, 0), "{summary:?}");
    assert_eq!(relay.connections(), 11);
}
