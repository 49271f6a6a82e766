//! Calls that are dropped half-way, as a deadline does.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use outbox_core::{Batch, BatchNo, DispatcherId, OutboxStore, Settlement};

use crate::fixture::{File, LEASE, delivered, message, retry};

/// Polls `future` at most `polls` times, then drops it; answers whether it had ended.
async fn poll_at_most(polls: usize, future: impl Future) -> bool {
    let mut future = pin!(future);
    let mut polled = 0;
    std::future::poll_fn(|context| {
        if polled == polls {
            return Poll::Ready(false);
        }
        polled += 1;
        match future.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if polled == polls => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[tokio::test]
async fn a_dropped_write_leaves_no_transaction_behind_that_holds_up_others() {
    let file = File::new().await;
    let mut session = file.session().await;
    for round in 0.. {
        file.send(&[message("t", "a"), message("t", "b")]).await;
        let claimed = session.claim_all(2, true).await.messages;
        session.held.clear();
        let batch = Batch { number: BatchNo(round), places: vec![claimed[0].place], alone: false };
        // The long way and the short way of settling.
        let verdicts = [(claimed[0].place, delivered()), (claimed[1].place, retry(Duration::from_secs(9)))];
        let verdicts = &verdicts[..1 + usize::try_from(round).unwrap() % 2];
        let settlement = Settlement { verdicts, ended: &[], begin: Some(&batch) };
        let polls = usize::try_from(round).unwrap() / 2;
        let ended = poll_at_most(polls, file.outbox.settle(session.epoch, &settlement)).await;
        let again = Some(session.epoch);
        poll_at_most(polls, file.outbox.renew(&session.me, again, LEASE)).await;

        // Another writer gets its turn within the busy timeout, and the session goes on.
        file.outbox.commit(file.outbox.begin().await.unwrap()).await.unwrap();
        let ownership = file.outbox.renew(&session.me, again, LEASE).await.unwrap();
        assert_eq!((ownership.epoch, ownership.slots.len()), (session.epoch, 1));
        file.outbox.settle(session.epoch, &settlement).await.unwrap();
        file.outbox
            .settle(session.epoch, &Settlement { ended: &[batch.number], ..settlement })
            .await
            .unwrap();
        if ended && verdicts.len() == 2 {
            assert!(round > 4, "the settlement was dropped at several points");
            return;
        }
    }
}

#[tokio::test]
async fn a_dropped_claim_is_read_again() {
    let file = File::new().await;
    let messages: Vec<_> = (0..300).map(|_| message("t", "k")).collect();
    file.send(&messages).await;
    let mut session = file.session().await;
    for polls in 0.. {
        if poll_at_most(polls, session.claim_all(200, false)).await {
            assert!(polls > 2, "the claim was dropped at several points");
            break;
        }
        assert!(session.held.is_empty());
    }
    assert_eq!(session.held.len(), 200);
    assert_eq!(session.claim_all(200, false).await.messages.len(), 100);
}

#[tokio::test]
async fn a_dropped_first_renewal_leaves_the_outbox_free_or_owned_by_the_one_it_named() {
    let file = File::new().await;
    for polls in 0.. {
        if poll_at_most(polls, file.outbox.renew(&DispatcherId::new("dropped"), None, Duration::ZERO)).await {
            break;
        }
        let ownership = file.outbox.renew(&DispatcherId::new("next"), None, Duration::ZERO).await.unwrap();
        assert_eq!(ownership.slots.len(), 1);
    }
}
