//! The outbox in memory: what the dispatcher can do with a store that costs next to nothing.

use std::sync::Arc;

use outbox::{Enqueue, MemoryOutbox, MessageState, NewMessage, OutboxAdmin, OutboxStore, async_trait};

use super::{Bed, left};
use crate::load::Load;

pub(crate) struct MemoryBed {
    outbox: MemoryOutbox,
}

impl MemoryBed {
    pub(crate) fn new() -> Self {
        Self { outbox: MemoryOutbox::new() }
    }
}

#[async_trait]
impl Bed for MemoryBed {
    fn store(&self) -> Arc<dyn OutboxStore> {
        Arc::new(self.outbox.clone())
    }

    fn elsewhere(&self) -> Arc<dyn OutboxStore> {
        self.store()
    }

    async fn fill(&self, load: Load) {
        for part in load.parts(1_000) {
            self.enqueue(&part.messages()).await;
        }
    }

    async fn left(&self) -> usize {
        left(&self.outbox).await
    }

    async fn fresh(&self) -> usize {
        let counts = self.outbox.counts().await.expect("counts");
        let waiting: u64 = counts.iter().map(|topic| topic.of(MessageState::Waiting)).sum();
        usize::try_from(waiting).expect("a small number")
    }

    async fn enqueue(&self, messages: &[NewMessage]) {
        let mut tx = self.outbox.begin();
        self.outbox.enqueue(&mut tx, messages).await.expect("enqueue");
        self.outbox.commit(tx);
    }

    async fn business(&self, message: Option<&NewMessage>) {
        self.enqueue(message.map_or(&[], std::slice::from_ref)).await;
    }

    async fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}
