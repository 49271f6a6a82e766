//! [`MemoryTransaction`] and what a producer or consumer does in one.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::tables::{Reservation, Row};
use super::{MemoryOutbox, Shared};
use crate::{
    Enqueue, Enqueued, EnqueuedIn, Inbox, Message, MessageId, NewMessage, StoreError, StoreErrorKind,
};

/// An open transaction of a [`MemoryOutbox`]: what is enqueued in it exists for nobody else until
/// [`MemoryOutbox::commit`]. Dropping it rolls back.
pub struct MemoryTransaction {
    outbox: Arc<Shared>,
    enqueued: Vec<Row>,
    known: HashMap<(String, String), MessageId>,
    handled: HashSet<(String, MessageId)>,
}

/// How long one transaction waits for another that has the same idempotency key in hand.
const WAIT_FOR_OTHERS: Duration = Duration::from_secs(5);

impl MemoryTransaction {
    pub(super) fn open(outbox: Arc<Shared>) -> Self {
        Self { outbox, enqueued: Vec::new(), known: HashMap::new(), handled: HashSet::new() }
    }

    pub(super) fn commit(mut self) {
        let now = self.outbox.clock.now();
        let mut tables = self.outbox.tables();
        for row in std::mem::take(&mut self.enqueued) {
            tables.append(row);
        }
        for (key, id) in &self.known {
            tables.idempotency.insert(key.clone(), *id, now);
        }
        for handled in &self.handled {
            tables.inbox.insert(handled.clone(), (), now);
        }
        drop(tables);
        self.outbox.bell.committed();
        // Dropping what is left gives the reservations back: they are in the tables now.
    }

    fn check(&self, outbox: &Arc<Shared>) -> Result<(), StoreError> {
        if Arc::ptr_eq(&self.outbox, outbox) {
            return Ok(());
        }
        let text = "the transaction belongs to another outbox; use the outbox that began it";
        Err(StoreError::new(StoreErrorKind::Invalid, text))
    }

    async fn stage(&mut self, message: &NewMessage) -> Result<Enqueued, StoreError> {
        let now = self.outbox.clock.now();
        if let Some(key) = message.idempotency_key() {
            let row = (message.topic().to_owned(), key.to_owned());
            if let Some(id) = self.known.get(&row) {
                return Ok(Enqueued::Duplicate(*id));
            }
            let reservation = Reservation::Idempotency { topic: row.0.clone(), key: row.1.clone() };
            self.reserve(&reservation).await?;
            let retention = self.outbox.retention.idempotency;
            let stored = self.outbox.tables().idempotency.get(&row, now, retention).copied();
            if let Some(id) = stored {
                self.give_back(&reservation);
                return Ok(Enqueued::Duplicate(id));
            }
            self.known.insert(row, message.id());
        }
        self.enqueued.push(Row::new(message, now));
        Ok(Enqueued::New(message.id()))
    }

    /// Takes this in hand, once no other open transaction has it. No await follows before the caller notes it.
    async fn reserve(&self, reservation: &Reservation) -> Result<(), StoreError> {
        if self.try_reserve(reservation) {
            return Ok(());
        }
        let reserved = async {
            loop {
                let ended = self.outbox.transaction_ended.notified();
                tokio::pin!(ended);
                // Listens before it looks, so that no end is missed in between.
                ended.as_mut().enable();
                if self.try_reserve(reservation) {
                    return;
                }
                ended.await;
            }
        };
        tokio::time::timeout(WAIT_FOR_OTHERS, reserved).await.map_err(|_| {
            let text = "another open transaction has the same idempotency key or message in hand; end it and try again";
            StoreError::new(StoreErrorKind::Unavailable, text)
        })
    }

    fn try_reserve(&self, reservation: &Reservation) -> bool {
        self.outbox.tables().reserved.insert(reservation.clone())
    }

    fn give_back(&self, reservation: &Reservation) {
        self.outbox.tables().reserved.remove(reservation);
        self.outbox.transaction_ended.notify_waiters();
    }
}

impl Drop for MemoryTransaction {
    fn drop(&mut self) {
        if self.known.is_empty() && self.handled.is_empty() {
            return;
        }
        let mut tables = self.outbox.tables();
        for (topic, key) in self.known.drain().map(|(row, _)| row) {
            tables.reserved.remove(&Reservation::Idempotency { topic, key });
        }
        for (consumer, message) in self.handled.drain() {
            tables.reserved.remove(&Reservation::Inbox { consumer, message });
        }
        drop(tables);
        self.outbox.transaction_ended.notify_waiters();
    }
}

impl fmt::Debug for MemoryTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTransaction").field("enqueued", &self.enqueued.len()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Enqueue<MemoryTransaction> for MemoryOutbox {
    async fn enqueue(
        &self,
        conn: &mut MemoryTransaction,
        messages: &[NewMessage],
    ) -> Result<Vec<Enqueued>, StoreError> {
        conn.check(&self.shared)?;
        let mut answers = Vec::with_capacity(messages.len());
        for message in messages {
            answers.push(conn.stage(message).await?);
        }
        if !messages.is_empty() {
            self.shared.bell.enqueued();
        }
        Ok(answers)
    }
}

#[async_trait]
impl EnqueuedIn<MemoryTransaction> for MemoryOutbox {
    async fn enqueued_in(&self, conn: &mut MemoryTransaction) -> Result<Vec<Message>, StoreError> {
        conn.check(&self.shared)?;
        Ok(conn.enqueued.iter().map(|row| row.message.clone()).collect())
    }
}

#[async_trait]
impl Inbox<MemoryTransaction> for MemoryOutbox {
    async fn first_time(
        &self,
        conn: &mut MemoryTransaction,
        consumer: &str,
        message: MessageId,
    ) -> Result<bool, StoreError> {
        conn.check(&self.shared)?;
        let row = (consumer.to_owned(), message);
        if conn.handled.contains(&row) {
            return Ok(false);
        }
        let reservation = Reservation::Inbox { consumer: row.0.clone(), message };
        conn.reserve(&reservation).await?;
        let now = self.shared.clock.now();
        let handled = self.shared.tables().inbox.get(&row, now, self.shared.retention.inbox).is_some();
        if handled {
            conn.give_back(&reservation);
            return Ok(false);
        }
        conn.handled.insert(row);
        Ok(true)
    }
}
