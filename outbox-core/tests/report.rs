//! How outcomes leave a transport.

use std::thread;

use outbox_core::{Delivery, DeliveryError, DeliveryReport, Message, MessageId, Outcome};

#[test]
fn records_are_answered_in_their_order_and_once() {
    let batch = batch(3);
    let report = DeliveryReport::collecting(&batch);
    report.record(&batch[2], Outcome::delivered());
    report.record(&batch[0], Outcome::NotSent);
    assert_eq!(report.take(), [(2, Outcome::delivered()), (0, Outcome::NotSent)]);
    assert!(report.take().is_empty(), "each record is answered once");
    report.record(&batch[1], Outcome::permanent("refused"));
    assert_eq!(report.take(), [(1, Outcome::permanent("refused"))], "and later ones still come");
}

#[test]
fn the_first_record_of_a_message_counts() {
    let batch = batch(1);
    let report = DeliveryReport::collecting(&batch);
    report.record(&batch[0], Outcome::permanent("refused"));
    report.record(&batch[0], Outcome::delivered());
    assert_eq!(report.take(), [(0, Outcome::permanent("refused"))]);
    report.record(&batch[0], Outcome::delivered());
    assert!(report.take().is_empty(), "also when the first was already taken");
}

#[test]
fn the_rest_is_what_has_no_record_yet() {
    let batch = batch(3);
    let report = DeliveryReport::collecting(&batch);
    report.record(&batch[1], Outcome::delivered());
    report.record_rest(&batch, &Outcome::unavailable("down"));
    let down = || Outcome::unavailable("down");
    assert_eq!(report.take(), [(1, Outcome::delivered()), (0, down()), (2, down())]);
}

#[test]
fn a_delivery_of_another_batch_is_ignored() {
    let report = DeliveryReport::collecting(&batch(1));
    report.record(&batch(3)[2], Outcome::delivered());
    assert!(report.take().is_empty(), "there is no such position");
}

#[test]
fn clones_record_into_the_same_report_from_any_thread() {
    let batch = batch(100);
    let report = DeliveryReport::collecting(&batch);
    thread::scope(|scope| {
        for half in [&batch[..], &batch[50..]] {
            let report = report.clone();
            scope.spawn(move || {
                half.iter().for_each(|delivery| report.record(delivery, Outcome::delivered()))
            });
        }
    });
    let mut positions: Vec<usize> = report.take().into_iter().map(|(position, _)| position).collect();
    positions.sort_unstable();
    assert_eq!(positions, (0..100).collect::<Vec<_>>(), "every message once");
}

#[test]
fn an_error_text_is_short_and_in_one_line() {
    let error = DeliveryError::new("450\r\n".repeat(1000));
    assert_eq!(error.text().chars().count(), DeliveryError::MAX_TEXT, "cut");
    assert!(!error.text().chars().any(char::is_control), "no line break gets into a log or a header");
    let error = DeliveryError::new("ü".repeat(600)).with_code("550");
    assert_eq!(error.text(), "ü".repeat(500), "cut between characters");
    assert_eq!(error.code(), Some("550"));
    assert!(error.to_string().starts_with("550: ü"), "code and text");
}

#[test]
fn the_code_of_an_error_is_short_and_in_one_line() {
    let error = DeliveryError::new("refused").with_code("5\r\n".repeat(100));
    let code = error.code().unwrap();
    assert_eq!(code, &"5  ".repeat(22)[..DeliveryError::MAX_CODE], "cut, and in one line");
    let error = DeliveryError::new("refused").with_code("ü".repeat(DeliveryError::MAX_CODE));
    assert_eq!(error.code().unwrap(), "ü".repeat(DeliveryError::MAX_CODE), "the limit is in characters");
}

#[test]
fn a_receipt_is_short_and_in_one_line() {
    let long = "ü".repeat(Outcome::MAX_RECEIPT + 1);
    for (given, kept) in [
        ("queued as 1", "queued as 1"),
        ("queued\r\nas\u{9b}1\0", "queued  as 1 "),
        (&long, &"ü".repeat(Outcome::MAX_RECEIPT)),
    ] {
        let batch = batch(2);
        let report = DeliveryReport::collecting(&batch);
        let outcome = Outcome::Delivered { receipt: Some(given.to_owned()) };
        report.record(&batch[0], outcome.clone());
        report.record_rest(&batch, &outcome);
        let kept = Outcome::Delivered { receipt: Some(kept.to_owned()) };
        assert_eq!(report.take(), [(0, kept.clone()), (1, kept)], "{given:?}");
    }
}

fn batch(messages: usize) -> Vec<Delivery> {
    (0..messages)
        .map(|n| Delivery::new(n, Message::new(MessageId::generate(), "orders", "payload")))
        .collect()
}
