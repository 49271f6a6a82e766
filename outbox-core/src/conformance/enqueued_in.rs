//! The suite of [`EnqueuedIn`].

// The names of the checks are their documentation.
#![allow(missing_docs)]

use super::StoreFixture;
use super::probe::*;
use crate::{EnqueuedIn, Message, MessageId, NewMessage};

/// The checks; each takes a fixture with an empty outbox.
pub mod checks {
    pub use super::{
        a_transaction_that_enqueued_nothing_shows_nothing, duplicates_do_not_show_as_enqueued,
        messages_of_other_transactions_do_not_show, what_a_transaction_enqueued_shows_in_its_order,
    };
}

/// One named test per promise of [`EnqueuedIn`](crate::EnqueuedIn), for a
/// [`StoreFixture`](crate::conformance::StoreFixture) whose outbox is one.
#[macro_export]
macro_rules! enqueued_in_conformance {
    ($fixture:ty $(, needs $needs:literal)? $(, except $check:ident = $why:literal)* $(,)?) => {
        mod enqueued_in_conformance {
            #[allow(unused_imports)]
            use super::*;
            $crate::__conformance_tests! {
                ($) enqueued_in, $fixture, <$fixture as $crate::conformance::StoreFixture>::fresh(),
                [$($needs)?], [$($check = $why),*],
                [
                    a_transaction_that_enqueued_nothing_shows_nothing,
                    duplicates_do_not_show_as_enqueued,
                    messages_of_other_transactions_do_not_show,
                    what_a_transaction_enqueued_shows_in_its_order,
                ]
            }
        }
    };
}

pub async fn what_a_transaction_enqueued_shows_in_its_order<F>(fixture: F)
where
    F: StoreFixture<Outbox: EnqueuedIn<F::Conn>>,
{
    let probe = Probe::new(fixture);
    let builder = NewMessage::builder("orders").key("a").message_type("placed").header("tenant", "blue");
    let messages = [build(builder), unkeyed(), keyed("b")];
    let mut tx = probe.fixture.begin().await;
    probe.enqueue_in(&mut tx, &messages[..2]).await;
    probe.enqueue_in(&mut tx, &messages[2..]).await;
    let shown = enqueued_in(&probe, &mut tx).await;
    assert_eq!(shown_ids(&shown), ids(&messages), "all of this transaction, in the order of enqueueing");
    assert_eq!(shown[0].message_type, "placed", "whole messages");
    assert_eq!(shown[0].headers.get("tenant"), Some("blue"), "whole messages");
    assert!(shown[0].payload == *messages[0].payload(), "whole messages");
    probe.fixture.commit(tx).await;
}

pub async fn messages_of_other_transactions_do_not_show<F>(fixture: F)
where
    F: StoreFixture<Outbox: EnqueuedIn<F::Conn>>,
{
    let probe = Probe::new(fixture);
    probe.enqueue(&[keyed("a")]).await;
    let mut tx = probe.fixture.begin().await;
    let mine = keyed("a");
    probe.enqueue_in(&mut tx, std::slice::from_ref(&mine)).await;
    assert_eq!(
        shown_ids(&enqueued_in(&probe, &mut tx).await),
        [mine.id()],
        "only what this transaction enqueued"
    );
    probe.fixture.rollback(tx).await;
    let mut tx = probe.fixture.begin().await;
    assert!(enqueued_in(&probe, &mut tx).await.is_empty(), "nothing of the one that was rolled back");
    probe.fixture.rollback(tx).await;
}

pub async fn a_transaction_that_enqueued_nothing_shows_nothing<F>(fixture: F)
where
    F: StoreFixture<Outbox: EnqueuedIn<F::Conn>>,
{
    let probe = Probe::new(fixture);
    let mut tx = probe.fixture.begin().await;
    assert!(enqueued_in(&probe, &mut tx).await.is_empty(), "nothing was enqueued");
    probe.fixture.rollback(tx).await;
}

pub async fn duplicates_do_not_show_as_enqueued<F>(fixture: F)
where
    F: StoreFixture<Outbox: EnqueuedIn<F::Conn>>,
{
    let probe = Probe::new(fixture);
    let once = || build(NewMessage::builder("orders").idempotency_key("k"));
    probe.enqueue(&[once()]).await;
    let mut tx = probe.fixture.begin().await;
    let mine = unkeyed();
    probe.enqueue_in(&mut tx, &[once(), mine.clone()]).await;
    assert_eq!(shown_ids(&enqueued_in(&probe, &mut tx).await), [mine.id()], "a duplicate is not stored");
    probe.fixture.rollback(tx).await;
}

async fn enqueued_in<F>(probe: &Probe<F>, tx: &mut F::Transaction) -> Vec<Message>
where
    F: StoreFixture<Outbox: EnqueuedIn<F::Conn>>,
{
    probe.outbox().enqueued_in(F::conn(tx)).await.expect("enqueued_in succeeds")
}

fn shown_ids(messages: &[Message]) -> Vec<MessageId> {
    messages.iter().map(|message| message.id).collect()
}
