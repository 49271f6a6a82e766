//! [`Load`]: messages of a thousand keys that go on being enqueued, in transactions of one to five.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use outbox_core::MessageId;
use tokio::task::JoinSet;

use crate::outbox::{Made, Outbox};

/// The keys of the load.
pub(crate) const KEYS: i64 = 1_000;

pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    producers: JoinSet<Vec<MessageId>>,
}

impl Load {
    /// Enqueues from several producers, each with keys of its own, so that transactions of a key follow one another.
    pub(crate) fn start(outbox: &Outbox) -> Self {
        // SQLite has one writer at a time.
        let producers = if matches!(outbox, Outbox::Sqlite(..)) { 1 } else { 4 };
        let stop = Arc::new(AtomicBool::new(false));
        let producer = |first| {
            let keys: Vec<i64> = (first..KEYS).step_by(producers).collect();
            produce(outbox.clone(), keys, Arc::clone(&stop))
        };
        Self { producers: (0..producers as i64).map(producer).collect(), stop: Arc::clone(&stop) }
    }

    /// Ends it; which messages the database said to be committed.
    pub(crate) async fn stop(self) -> Vec<MessageId> {
        self.stop.store(true, Ordering::SeqCst);
        self.producers.join_all().await.concat()
    }
}

async fn produce(outbox: Outbox, keys: Vec<i64>, stop: Arc<AtomicBool>) -> Vec<MessageId> {
    let mut committed = Vec::new();
    let mut next = HashMap::new();
    while !stop.load(Ordering::SeqCst) {
        let made: Vec<Made> = (0..1 + random(5))
            .map(|_| {
                let key = keys[random(keys.len())];
                let number = next.entry(key).or_insert(0);
                *number += 1;
                Made { key, number: *number - 1, id: MessageId::generate() }
            })
            .collect();
        match outbox.make(&made).await {
            Ok(()) => committed.extend(made.iter().map(|made| made.id)),
            // Committed or not, the database knows.
            Err(_) => next = numbers(&outbox, &keys).await,
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    committed
}

/// The next number of each key, once the database can be asked.
async fn numbers(outbox: &Outbox, keys: &[i64]) -> HashMap<i64, i64> {
    loop {
        match outbox.made().await {
            Ok(made) => {
                let mine = made.iter().filter(|made| keys.contains(&made.key));
                return mine.map(|made| (made.key, made.number + 1)).collect();
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// A number below `limit`, another one each time.
pub(crate) fn random(limit: usize) -> usize {
    (MessageId::generate().as_uuid().as_u64_pair().1 % limit as u64) as usize
}
