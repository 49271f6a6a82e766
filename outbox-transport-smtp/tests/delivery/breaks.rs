//! Relays that fall silent, break off, or answer out of step.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use outbox_core::{DeliveryReport, Outcome, Transport};
use tokio::sync::Semaphore;

use crate::relay::{Act, Point, Relay};
use crate::{Class, class, deliver_one, error, mails, timeouts, to};

/// The deadline of each step where a relay falls silent: more than a step takes on a busy machine.
const SHORT: Duration = Duration::from_secs(3);

/// Delivers one mail to a relay that does `act` at `point` of its first connection and is good afterwards.
async fn outcome_of(point: Point, act: Act) -> Outcome {
    let relay = Relay::start(move |event| match event {
        event if event.point == point && event.connection == 0 => act.clone(),
        _ => Act::Go,
    })
    .await;
    deliver_one(&to(&relay).timeouts(timeouts(SHORT)).build().expect("a valid transport")).await
}

#[tokio::test]
async fn a_break_at_each_stage_becomes_its_outcome() {
    use Class::{Ambiguous, Transient, Unavailable};
    use Point::{Connect, Data, Dot, Ehlo, Mail, Rcpt};
    let acts = [
        Act::Close,
        Act::Reset,
        Act::Never,
        Act::Half("250 o"),
        Act::SayAndClose("garbage"),
        Act::Say("garbage"),
    ];
    let stages = [
        (Connect, Unavailable),
        (Ehlo, Unavailable),
        (Mail, Unavailable),
        (Rcpt, Transient),
        (Data, Transient),
        (Dot, Ambiguous),
    ];
    let each = stages.into_iter().flat_map(|stage| acts.clone().map(|act| (stage, act)));
    // Side by side, since each that falls silent takes its deadline.
    join_all(each.map(async |((point, expected), act)| {
        let outcome = outcome_of(point, act.clone()).await;
        assert_eq!(class(&outcome), expected, "{act:?} at {point:?} became {outcome:?}");
    }))
    .await;
}

#[tokio::test]
async fn a_break_while_the_mail_is_under_way_never_delivers_it() {
    for act in [Act::Close, Act::Reset, Act::Half("250 o"), Act::Say("garbage")] {
        let outcome = outcome_of(Point::Body, act.clone()).await;
        // Whether it shows before the small mail's dot is written depends on timing; both are truthful.
        let fits = matches!(class(&outcome), Class::Transient | Class::Ambiguous);
        assert!(fits, "{act:?} became {outcome:?}");
    }
}

#[tokio::test]
async fn a_break_in_the_middle_is_the_relays_when_it_cannot_be_reached_again() {
    for point in [Point::Rcpt, Point::Data] {
        let relay = Relay::start(move |event| match event.point {
            at if at == point => Act::Close,
            Point::Connect if event.connection > 0 => Act::Close,
            _ => Act::Go,
        })
        .await;
        let outcome = deliver_one(&to(&relay).build().expect("a valid transport")).await;
        assert_eq!(class(&outcome), Class::Unavailable, "at {point:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn no_relay_at_all_is_unavailable() {
    let relay = Relay::good().await;
    let transport = to(&relay).build().expect("a valid transport");
    drop(relay);
    tokio::task::yield_now().await;
    let outcome = deliver_one(&transport).await;
    assert_eq!(class(&outcome), Class::Unavailable, "{outcome:?}");
    assert!(error(&outcome).contains("connecting to the relay"), "{outcome:?}");
}

#[tokio::test]
async fn a_relay_that_breaks_off_with_a_reason_is_believed() {
    let relay = Relay::start(|event| match event.point {
        Point::Body => Act::SayAndClose("552 5.3.4 too large"),
        _ => Act::Go,
    })
    .await;
    let transport = to(&relay).build().expect("a valid transport");
    let large = "x".repeat(70) + "\r\n";
    let outcomes =
        crate::deliver(&transport, &crate::batch([crate::message(None, large.repeat(14_000))])).await;
    // A reset may destroy the reason on its way; the mail is refused or tried again, never taken as delivered.
    assert!(matches!(class(&outcomes[0]), Class::Permanent | Class::Transient), "became {:?}", outcomes[0]);
}

#[tokio::test]
async fn a_reply_that_drips_in_time_is_read() {
    let drip = Act::Drip("250 2.0.0 queued", Duration::from_millis(5));
    let relay = Relay::start(move |event| match event.point {
        Point::Dot => drip.clone(),
        _ => Act::Go,
    })
    .await;
    let outcome = deliver_one(&to(&relay).build().expect("a valid transport")).await;
    assert_eq!(class(&outcome), Class::Delivered, "{outcome:?}");
}

#[tokio::test]
async fn a_reply_that_drips_for_ever_ends_with_the_deadline_of_its_step() {
    let slow = SHORT / 10;
    let stages = [
        (Point::Connect, Class::Unavailable),
        (Point::Rcpt, Class::Transient),
        (Point::Dot, Class::Ambiguous),
    ];
    join_all(stages.map(async |(point, expected)| {
        let outcome = outcome_of(point, Act::Drip("250 a reply that takes far too long", slow)).await;
        assert_eq!(class(&outcome), expected, "{outcome:?}");
        assert!(error(&outcome).contains("no answer within 3s"), "{outcome:?}");
    }))
    .await;
}

#[tokio::test]
async fn an_endless_line_ends_the_conversation() {
    let endless: &'static str = Box::leak("2".repeat(100_000).into_boxed_str());
    let outcome = outcome_of(Point::Dot, Act::Say(endless)).await;
    assert_eq!(class(&outcome), Class::Ambiguous);
    assert!(error(&outcome).contains("too long"), "{outcome:?}");
}

#[tokio::test]
async fn a_reply_that_came_before_it_was_asked_for_accepts_nothing() {
    let rows = [
        (Point::Connect, "220 hello\r\n250 hello", Class::Unavailable),
        (Point::Mail, "250 ok\r\n250 ok", Class::Transient),
        (Point::Data, "354 go ahead\r\n250 2.0.0 queued", Class::Transient),
    ];
    for (point, both, expected) in rows {
        let outcome = outcome_of(point, Act::Say(both)).await;
        assert_eq!(class(&outcome), expected, "{both:?} at {point:?} became {outcome:?}");
    }
}

#[tokio::test]
async fn a_late_reply_to_a_dropped_delivery_is_never_taken_for_the_next_mails() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let relay = Relay::start(move |event| match (event.point, event.nth) {
        (Point::Dot, 0) => Act::Hold(Arc::clone(&held), "250 2.0.0 queued late"),
        (Point::Dot, _) => Act::Say("554 5.6.0 rejected"),
        _ => Act::Go,
    })
    .await;
    let transport = to(&relay).build().expect("a valid transport");

    let first = mails(1);
    let report = DeliveryReport::collecting(&first);
    tokio::select! {
        () = transport.deliver(&first, &report) => panic!("the relay has not answered yet"),
        () = relay.reached(Point::Dot, 1) => {}
    }
    assert_eq!(report.take(), [], "whether it arrived is not known: no outcome");
    gate.add_permits(1);

    let outcome = deliver_one(&transport).await;
    assert_eq!(class(&outcome), Class::Permanent, "{outcome:?}");
    assert!(error(&outcome).starts_with("554 5.6.0"), "{outcome:?}");
    assert_eq!(relay.connections(), 2, "the connection of the dropped delivery is not used again");
}

#[tokio::test]
async fn a_delivery_that_is_dropped_before_the_dot_leaves_nothing_in_doubt() {
    use Class::{NotSent, Transient};
    use Point::{Connect, Data, Ehlo, Mail, Rcpt};
    // From the recipient on it may be the mail at which the relay falls silent: it must end some day.
    for (point, expected) in
        [(Connect, NotSent), (Ehlo, NotSent), (Mail, NotSent), (Rcpt, Transient), (Data, Transient)]
    {
        let relay = Relay::start(move |event| match event.point {
            at if at == point && event.nth == 0 => Act::Never,
            _ => Act::Go,
        })
        .await;
        let transport = to(&relay).build().expect("a valid transport");
        let batch = mails(3);
        let report = DeliveryReport::collecting(&batch);
        tokio::select! {
            () = transport.deliver(&batch, &report) => panic!("the relay does not answer"),
            () = relay.reached(point, 1) => {}
        }
        let mut outcomes: Vec<_> =
            report.take().iter().map(|(index, outcome)| (*index, class(outcome))).collect();
        outcomes.sort_by_key(|(index, _)| *index);
        assert_eq!(outcomes, [(0, expected), (1, NotSent), (2, NotSent)], "dropped at {point:?}");

        assert_eq!(
            class(&deliver_one(&transport).await),
            Class::Delivered,
            "usable after a drop at {point:?}"
        );
        assert_eq!(relay.arrived().len(), 1);
    }
}

#[tokio::test]
async fn a_delivery_that_is_dropped_while_it_connects_anew_was_not_sent() {
    let relay = Relay::start(|event| match (event.point, event.nth) {
        (Point::Rcpt, 1) => Act::Close,
        (Point::Connect, 1) => Act::Never,
        _ => Act::Go,
    })
    .await;
    let transport = to(&relay).build().expect("a valid transport");
    assert_eq!(class(&deliver_one(&transport).await), Class::Delivered);
    let batch = mails(1);
    let report = DeliveryReport::collecting(&batch);
    tokio::select! {
        () = transport.deliver(&batch, &report) => panic!("the relay does not answer"),
        () = relay.reached(Point::Connect, 2) => {}
    }
    assert_eq!(report.take(), [(0, Outcome::NotSent)]);
}
