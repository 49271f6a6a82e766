//! Who says that order is kept must keep it.

use super::{TransportFixture, arrivals, deliver, is_delivered};
use crate::{Message, Transport};

pub async fn messages_of_a_key_arrive_in_order<F: TransportFixture>(fixture: F) {
    let messages = rounds(&fixture, 8);
    for batch in batches(&fixture, &messages) {
        assert!(
            deliver(&fixture, batch).await.iter().all(is_delivered),
            "the destination accepts everything"
        );
    }
    let arrived = fixture.arrived().await;
    for key in KEYS {
        let of_key: Vec<_> =
            messages.iter().filter(|m| m.key.as_deref() == Some(key)).map(|m| m.id).collect();
        let came: Vec<_> = arrived.iter().filter(|id| of_key.contains(id)).copied().collect();
        assert_eq!(came, of_key, "the messages of the key {key:?} in their order");
    }
}

pub async fn a_failure_stops_the_rest_of_its_key_in_the_batch<F: TransportFixture>(fixture: F) {
    let keeps_order = fixture.transport().keeps_order();
    assert!(
        keeps_order,
        "this transport gets one message of a key at a time: name this check as an exception"
    );
    let messages = rounds(&fixture, 4);
    let failed = messages.iter().position(|message| message.key.as_deref() == Some(KEYS[1]));
    let failed = &messages[failed.expect("each key has messages")];
    fixture.fail(failed).await;
    let outcomes = deliver(&fixture, &messages).await;
    for (message, outcome) in messages.iter().zip(&outcomes) {
        let stopped = message.key == failed.key;
        assert_eq!(is_delivered(outcome), !stopped, "key {:?}: {outcome:?}", message.key);
        assert_eq!(arrivals(&fixture, message).await, usize::from(!stopped), "as its outcome says");
    }
}

const KEYS: [&str; 3] = ["a", "b", "c"];

/// Messages of three keys in turn.
fn rounds<F: TransportFixture>(fixture: &F, rounds: usize) -> Vec<Message> {
    (0..rounds).flat_map(|_| KEYS.map(|key| fixture.message(Some(key)))).collect()
}

/// As a dispatcher hands them over: together, or one of a key at a time.
fn batches<'m, F: TransportFixture>(fixture: &F, messages: &'m [Message]) -> std::slice::Chunks<'m, Message> {
    let size = if fixture.transport().keeps_order() { messages.len() } else { KEYS.len() };
    messages.chunks(size)
}
