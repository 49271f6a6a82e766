//! A settlement whose answer never came, and which reaches the server after the same was sent again and is over.

use std::collections::HashSet;
use std::time::Duration;

use outbox_core::{
    Act, Batch, BatchNo, ClaimRequest, Claimed, DeliveryError, DispatcherId, FailureNote, Fence, HeldPlaces,
    OnDead, OutboxAdmin, OutboxStore, Ownership, Selection, Settlement, StoreError, Verdict,
};
use tokio::time::timeout;

use crate::proxy::Proxy;

/// How long the caller waits for an answer that does not come.
const IN_VAIN: Duration = Duration::from_millis(500);

/// The dispatcher's side, behind a proxy.
struct Session<'s, S> {
    outbox: &'s S,
    owned: Ownership,
}

impl<S: OutboxStore> Session<'_, S> {
    async fn read(&self) -> Result<Vec<Claimed>, StoreError> {
        let (slots, held) = (&self.owned.slots, &HeldPlaces::default());
        let epoch = self.owned.epoch;
        let request = ClaimRequest {
            epoch,
            slots,
            wants: &|_| true,
            held,
            restart: true,
            limit: 10,
            max_bytes: 1 << 20,
        };
        Ok(self.outbox.claim(&request).await?.messages)
    }

    async fn begin(&self, number: i64, claimed: &Claimed) -> Result<Fence, StoreError> {
        let batch = Batch { number: BatchNo(number), places: vec![claimed.place], alone: false };
        let settlement = Settlement { begin: Some(&batch), ..Settlement::default() };
        self.outbox.settle(self.owned.epoch, &settlement).await
    }
}

/// Two messages lie in the outbox, which `silent` reaches through `proxy` only, and `outbox` without it. The connections
/// to the database are asked for, and the sum of the numbers of the batches that are open. Whether the session reads on
/// a new connection before it sends the settlement again, is `reads_first`.
pub(crate) async fn begins_nothing_that_is_over(
    silent: &impl OutboxStore,
    outbox: &impl OutboxAdmin,
    proxy: &Proxy,
    connections: impl AsyncFn() -> HashSet<i64>,
    open_batches: impl AsyncFn() -> i64,
    reads_first: bool,
) {
    let me = DispatcherId::new("test");
    let owned = silent.renew(&me, None, Duration::from_secs(600)).await.unwrap();
    let session = Session { outbox: silent, owned };
    let claimed = session.read().await.unwrap();
    let before = connections().await;
    assert_eq!(session.begin(1, &claimed[0]).await.unwrap(), Fence::Held);
    let settles: HashSet<i64> = connections().await.difference(&before).copied().collect();
    assert_eq!(settles.len(), 1);

    // The second batch is begun, and the server does not hear of it.
    proxy.silence();
    timeout(IN_VAIN, session.begin(2, &claimed[1])).await.unwrap_err();
    proxy.heal();
    if reads_first {
        timeout(IN_VAIN, session.read()).await.unwrap_err();
        session.read().await.unwrap();
    }
    let again = match timeout(IN_VAIN, session.begin(2, &claimed[1])).await {
        Ok(again) => again,
        // It asked the connection that reads, which is silent too.
        Err(_late) => session.begin(2, &claimed[1]).await,
    };
    let begun = match again.unwrap() {
        Fence::Held => 2,
        _ => {
            if !reads_first && let Ok(read) = timeout(IN_VAIN, session.read()).await {
                read.unwrap();
            }
            session.read().await.unwrap();
            assert_eq!(session.begin(3, &claimed[1]).await.unwrap(), Fence::Held);
            3
        }
    };
    // It ends as a dead letter, and the batch is over.
    let failure = FailureNote::new(1, "permanent", &DeliveryError::new("refused"));
    let dead = Verdict::Dead { tally: claimed[1].tally, failure, then: OnDead::Skip };
    let (verdicts, ended) = ([(claimed[1].place, dead)], [BatchNo(begun)]);
    let settlement = Settlement { verdicts: &verdicts, ended: &ended, begin: None };
    assert_eq!(session.outbox.settle(session.owned.epoch, &settlement).await.unwrap(), Fence::Held);

    proxy.comes_late();
    while !connections().await.is_disjoint(&settles) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(open_batches().await, 1, "the first batch, and no other");
    let id = claimed[1].message.as_ref().unwrap().id;
    let redriven = outbox.redrive(&Selection::Ids(vec![id]), &Act::new("somebody", "a test")).await;
    assert_eq!(redriven.unwrap(), 1, "it is not in flight");
}
