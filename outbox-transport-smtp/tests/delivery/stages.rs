//! What each reply of a relay becomes.

use outbox_core::Outcome;

use crate::relay::{Act, Point, Relay};
use crate::{Class, MAIL, class, deliver, deliver_one, error, mails, message, to};

#[tokio::test]
async fn an_accepted_mail_arrives_byte_for_byte_with_its_envelope_and_receipt() {
    let relay = Relay::good().await;
    let outcome = deliver_one(&to(&relay).build().expect("a valid transport")).await;
    assert_eq!(outcome, Outcome::Delivered { receipt: Some("2.0.0 queued as 42".to_owned()) });
    let arrived = relay.arrived();
    assert_eq!(arrived.len(), 1);
    assert_eq!(String::from_utf8_lossy(&arrived[0].bytes), MAIL);
    assert_eq!(arrived[0].envelope, ["MAIL FROM:<team@example.org>", "RCPT TO:<guest@example.com>"]);
}

#[tokio::test]
async fn each_reply_at_each_stage_becomes_its_outcome() {
    use Class::{Ambiguous, Delivered, Permanent, Transient, Unavailable};
    use Point::{Connect, Data, Dot, Ehlo, Mail, Rcpt};
    let rows: &[(Point, &'static str, Class)] = &[
        (Connect, "421 4.3.2 too busy", Unavailable),
        (Connect, "554 no SMTP here", Unavailable),
        (Connect, "HTTP/1.1 400 Bad Request", Unavailable),
        (Connect, "220-many\r\n220-lines\r\n220 of greeting", Delivered),
        (Ehlo, "421 4.3.2 closing", Unavailable),
        (Ehlo, "450 4.7.0 later", Unavailable),
        (Ehlo, "550 5.7.1 go away", Unavailable),
        (Ehlo, "250 a relay that offers nothing", Delivered),
        (Mail, "421 4.3.2 closing", Unavailable),
        (Mail, "451 4.7.1 slow down", Unavailable),
        (Mail, "530 5.7.0 log in first", Unavailable),
        (Mail, "550 5.7.1 not this sender", Permanent),
        (Mail, "250-many\r\n250 lines", Delivered),
        (Mail, "250", Delivered),
        (Rcpt, "421 4.3.2 closing", Unavailable),
        (Rcpt, "450 4.2.1 mailbox busy", Transient),
        (Rcpt, "550 5.1.1 no such user", Permanent),
        (Rcpt, "251 will forward", Delivered),
        (Data, "421 4.3.2 closing", Unavailable),
        (Data, "451 4.3.0 local error", Transient),
        (Data, "554 5.5.1 no valid recipients", Permanent),
        (Data, "250 ok", Transient),
        (Dot, "421 4.3.2 closing", Unavailable),
        (Dot, "451 4.3.0 local error", Transient),
        (Dot, "554 5.6.0 content refused", Permanent),
        (Dot, "550-5.7.1 many\r\n550 5.7.1 lines", Permanent),
        (Dot, "250-2.0.0 many\r\n250 2.0.0 lines", Delivered),
        (Dot, "251 positive but wrong", Ambiguous),
        (Dot, "354 go ahead", Ambiguous),
        (Dot, "queued", Ambiguous),
    ];
    for &(point, reply, expected) in rows {
        let relay = Relay::start(move |event| match event.point {
            at if at == point => Act::Say(reply),
            _ => Act::Go,
        })
        .await;
        let outcome = deliver_one(&to(&relay).build().expect("a valid transport")).await;
        assert_eq!(class(&outcome), expected, "{reply:?} at {point:?} became {outcome:?}");
    }
}

#[tokio::test]
async fn an_error_names_the_stage_and_the_codes_and_no_address() {
    let relay = Relay::start(|event| match event.point {
        Point::Rcpt => Act::Say("550-5.1.1 <guest@example.com>: Recipient address\r\n550 5.1.1 rejected"),
        _ => Act::Go,
    })
    .await;
    let outcome = deliver_one(&to(&relay).build().expect("a valid transport")).await;
    let Outcome::Permanent { error } = outcome else { panic!("{outcome:?}") };
    assert_eq!(error.code(), Some("550 5.1.1"));
    assert!(error.text().contains("naming the recipient"), "{error}");
    assert!(!error.to_string().contains("guest"), "{error}");
}

#[tokio::test]
async fn a_receipt_holds_no_address_and_is_one_line_of_limited_length() {
    let long = "x".repeat(195);
    let cut: &'static str = format!("250 {long} guest@example.com").leak();
    let cleaned_and_cut = format!("{long} [add");
    let rows: &[(&'static str, &str)] = &[
        ("250 2.1.5 guest@example.com queued as 42", "2.1.5 [address] queued as 42"),
        ("250 2.6.0 <42.7@relay.example.org> for <guest@example.com>", "2.6.0 <[address]> for <[address]>"),
        ("250-2.0.0 ok\r\n250 2.0.0 for guest@example.com", "2.0.0 ok"),
        ("250 2.0.0 tab\tand\x1b[31m colour", "2.0.0 taband[31m colour"),
        (cut, &cleaned_and_cut),
    ];
    for &(reply, expected) in rows {
        let relay = Relay::start(move |event| match event.point {
            Point::Dot => Act::Say(reply),
            _ => Act::Go,
        })
        .await;
        let outcome = deliver_one(&to(&relay).build().expect("a valid transport")).await;
        assert_eq!(outcome, Outcome::Delivered { receipt: Some(expected.to_owned()) }, "{reply:?}");
    }
}

#[tokio::test]
async fn a_message_that_is_no_mail_is_refused_without_a_connection() {
    let relay = Relay::good().await;
    let transport = to(&relay).build().expect("a valid transport");
    let mut stranger = message(None, MAIL);
    stranger.headers.insert("mail-format", "99");
    let outcomes = deliver(&transport, &crate::batch([stranger])).await;
    assert_eq!(class(&outcomes[0]), Class::Permanent);
    assert_eq!(relay.connections(), 0);
}

#[tokio::test]
async fn what_a_mail_needs_and_the_relay_does_not_offer_ends_the_mail_alone() {
    let relay = Relay::good().await;
    let transport = to(&relay).build().expect("a valid transport");
    let eight_bit = message(None, "Subject: x\r\n\r\ngrüße\r\n");
    let mut utf8 = message(None, MAIL);
    utf8.headers.insert("mail-to", "grüße@example.com");
    let bare_line_feed = message(None, "Subject: x\r\n\r\na\n.\r\nMAIL FROM:<evil@example.net>\r\n");
    let batch = crate::batch([eight_bit, utf8, bare_line_feed, message(None, MAIL)]);
    let outcomes = deliver(&transport, &batch).await;
    for (outcome, reason) in outcomes.iter().zip(["8BITMIME", "SMTPUTF8", "CRLF"]) {
        assert_eq!(class(outcome), Class::Permanent, "{outcome:?}");
        assert!(error(outcome).contains(reason), "{outcome:?}");
    }
    assert_eq!(class(&outcomes[3]), Class::Delivered);
    assert_eq!(relay.arrived().len(), 1);
    assert_eq!(relay.connections(), 1, "a mail that cannot go does not cost the connection");
}

#[tokio::test]
async fn what_the_relay_offers_is_asked_for() {
    let setup =
        crate::relay::Setup { offers: vec!["SIZE 1000000", "8bitmime", "SMTPUTF8"], ..Default::default() };
    let relay = Relay::with(setup, |_| Act::Go).await;
    let transport = to(&relay).build().expect("a valid transport");
    let mut mail = message(None, "Subject: x\r\n\r\ngrüße\r\n");
    mail.headers.insert("mail-to", "grüße@example.com");
    let outcomes = deliver(&transport, &crate::batch([mail])).await;
    assert_eq!(class(&outcomes[0]), Class::Delivered, "{outcomes:?}");
    assert_eq!(
        relay.arrived()[0].envelope,
        ["MAIL FROM:<team@example.org> SIZE=23 BODY=8BITMIME SMTPUTF8", "RCPT TO:<grüße@example.com>"]
    );
}

#[tokio::test]
async fn the_relay_hears_the_name_that_was_set_or_the_address_of_the_connection() {
    let relay = Relay::good().await;
    deliver_one(&to(&relay).build().expect("a valid transport")).await;
    deliver_one(&to(&relay).hello_name("app.example.org").build().expect("a valid transport")).await;
    let hellos: Vec<_> = relay.lines().into_iter().filter(|line| line.starts_with("EHLO")).collect();
    assert_eq!(hellos, ["EHLO [127.0.0.1]", "EHLO app.example.org"]);
}

#[tokio::test]
async fn a_large_mail_arrives_whole() {
    let relay = Relay::good().await;
    let transport = to(&relay).build().expect("a valid transport");
    let line = ".a line that begins with a dot and is long enough to make many blocks of the mail\r\n";
    let large = line.repeat(12_000);
    let outcomes = deliver(&transport, &crate::batch([message(None, large.clone())])).await;
    assert_eq!(class(&outcomes[0]), Class::Delivered);
    assert!(relay.arrived()[0].bytes == large.as_bytes(), "the bytes differ");
}

#[tokio::test]
async fn a_check_goes_as_far_as_the_login_and_sends_nothing() {
    let relay = Relay::good().await;
    let transport = to(&relay).build().expect("a valid transport");
    transport.check().await.expect("a good relay");
    assert_eq!(relay.count(Point::Quit), 1);
    assert_eq!(relay.count(Point::Mail), 0);

    let closed = Relay::start(|_| Act::Say("554 5.7.1 no")).await;
    let refused = to(&closed).build().expect("a valid transport").check().await;
    assert_eq!(refused.expect_err("a relay that refuses").code(), Some("554 5.7.1"));
}

#[tokio::test]
async fn an_empty_batch_does_nothing() {
    let relay = Relay::good().await;
    let transport = to(&relay).build().expect("a valid transport");
    assert!(deliver(&transport, &mails(0)).await.is_empty());
    assert_eq!(relay.connections(), 0);
}
