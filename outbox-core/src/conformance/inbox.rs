//! The suite of [`Inbox`].

// The names of the checks are their documentation.
#![allow(missing_docs)]

use futures_util::future::join_all;

use super::StoreFixture;
use crate::{Inbox, MessageId, StoreErrorKind};

/// The checks; each takes a fixture with an empty outbox.
pub mod checks {
    pub use super::{
        a_handled_message_is_known_to_its_consumer, a_message_is_handled_once_within_a_transaction,
        a_rolled_back_message_is_new_again, consumers_are_told_apart_byte_by_byte,
        each_consumer_has_its_own_memory, of_transactions_side_by_side_one_is_first,
    };
}

/// One named test per promise of [`Inbox`](crate::Inbox), for a
/// [`StoreFixture`](crate::conformance::StoreFixture) whose outbox is one.
#[macro_export]
macro_rules! inbox_conformance {
    ($fixture:ty $(, needs $needs:literal)? $(, except $check:ident = $why:literal)* $(,)?) => {
        mod inbox_conformance {
            #[allow(unused_imports)]
            use super::*;
            $crate::__conformance_tests! {
                ($) inbox, $fixture, <$fixture as $crate::conformance::StoreFixture>::fresh(),
                [$($needs)?], [$($check = $why),*],
                [
                    a_handled_message_is_known_to_its_consumer,
                    a_message_is_handled_once_within_a_transaction,
                    a_rolled_back_message_is_new_again,
                    consumers_are_told_apart_byte_by_byte,
                    each_consumer_has_its_own_memory,
                    of_transactions_side_by_side_one_is_first,
                ]
            }
        }
    };
}

pub async fn a_handled_message_is_known_to_its_consumer<F>(fixture: F)
where
    F: StoreFixture<Outbox: Inbox<F::Conn>>,
{
    let message = MessageId::generate();
    assert!(handle(&fixture, "mailer", message).await, "seen for the first time");
    assert!(!handle(&fixture, "mailer", message).await, "its effects are committed");
    assert!(handle(&fixture, "mailer", MessageId::generate()).await, "another message");
}

pub async fn each_consumer_has_its_own_memory<F>(fixture: F)
where
    F: StoreFixture<Outbox: Inbox<F::Conn>>,
{
    let message = MessageId::generate();
    for consumer in ["mailer", "ledger", "'; DROP TABLE outbox_inbox; --"] {
        assert!(handle(&fixture, consumer, message).await, "{consumer} sees it for the first time");
    }
    assert!(!handle(&fixture, "ledger", message).await, "and each remembers it");
}

pub async fn consumers_are_told_apart_byte_by_byte<F>(fixture: F)
where
    F: StoreFixture<Outbox: Inbox<F::Conn>>,
{
    let message = MessageId::generate();
    for consumer in ["mailer", "Mailer", "mailer ", "m\u{e1}iler", "ma\u{301}iler"] {
        assert!(handle(&fixture, consumer, message).await, "{consumer:?} is a consumer of its own");
    }
}

pub async fn a_message_is_handled_once_within_a_transaction<F>(fixture: F)
where
    F: StoreFixture<Outbox: Inbox<F::Conn>>,
{
    let message = MessageId::generate();
    let mut tx = fixture.begin().await;
    assert!(first_time(&fixture, &mut tx, "mailer", message).await, "seen for the first time");
    assert!(!first_time(&fixture, &mut tx, "mailer", message).await, "handled in this very transaction");
    fixture.commit(tx).await;
    assert!(!handle(&fixture, "mailer", message).await, "and known afterwards");
}

pub async fn a_rolled_back_message_is_new_again<F>(fixture: F)
where
    F: StoreFixture<Outbox: Inbox<F::Conn>>,
{
    let message = MessageId::generate();
    let mut tx = fixture.begin().await;
    assert!(first_time(&fixture, &mut tx, "mailer", message).await, "seen for the first time");
    fixture.rollback(tx).await;
    assert!(handle(&fixture, "mailer", message).await, "its effects were rolled back, so it must be handled");
}

pub async fn of_transactions_side_by_side_one_is_first<F>(fixture: F)
where
    F: StoreFixture<Outbox: Inbox<F::Conn>>,
{
    let message = MessageId::generate();
    let answers = join_all((0..4).map(|_| handle(&fixture, "mailer", message))).await;
    let first = answers.iter().filter(|first| **first).count();
    assert_eq!(first, 1, "exactly one of them handles it");
}

/// Whether the message is new, in a transaction of its own; tries again while the database is busy.
async fn handle<F>(fixture: &F, consumer: &str, message: MessageId) -> bool
where
    F: StoreFixture<Outbox: Inbox<F::Conn>>,
{
    loop {
        let mut tx = fixture.begin().await;
        match fixture.outbox().first_time(F::conn(&mut tx), consumer, message).await {
            Ok(first) => {
                tokio::task::yield_now().await;
                fixture.commit(tx).await;
                return first;
            }
            Err(error) if error.kind() == StoreErrorKind::Unavailable => fixture.rollback(tx).await,
            Err(error) => panic!("first_time failed: {error}"),
        }
    }
}

async fn first_time<F>(fixture: &F, tx: &mut F::Transaction, consumer: &str, message: MessageId) -> bool
where
    F: StoreFixture<Outbox: Inbox<F::Conn>>,
{
    fixture.outbox().first_time(F::conn(tx), consumer, message).await.expect("first_time succeeds")
}
