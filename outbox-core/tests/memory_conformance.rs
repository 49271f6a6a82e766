//! The memory store passes every suite.

use std::time::Duration;

use outbox_core::conformance::{StoreFixture, run_by_chance};
use outbox_core::{MemoryOutbox, MemoryTransaction, async_trait};

struct Memory(MemoryOutbox);

#[async_trait]
impl StoreFixture for Memory {
    type Outbox = MemoryOutbox;
    type Conn = MemoryTransaction;
    type Transaction = MemoryTransaction;

    async fn fresh() -> Self {
        Self(MemoryOutbox::builder().history(Duration::from_secs(3600)).build())
    }
    fn outbox(&self) -> &MemoryOutbox {
        &self.0
    }
    async fn begin(&self) -> MemoryTransaction {
        self.0.begin()
    }
    fn conn(tx: &mut MemoryTransaction) -> &mut MemoryTransaction {
        tx
    }
    async fn commit(&self, tx: MemoryTransaction) {
        self.0.commit(tx);
    }
    async fn rollback(&self, tx: MemoryTransaction) {
        drop(tx);
    }
}

outbox_core::store_conformance!(Memory);
outbox_core::admin_conformance!(Memory);
outbox_core::inbox_conformance!(Memory);
outbox_core::enqueued_in_conformance!(Memory);

#[test]
fn nothing_is_lost_and_keys_keep_their_order_for_many_seeds() {
    outbox_core::conformance::run(async {
        for seed in 2..200 {
            run_by_chance(Memory::fresh().await, seed).await;
        }
    });
}
