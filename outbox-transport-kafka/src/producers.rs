//! [`Producers`]: the producer that all calls share, the one that sends a record alone, and their replacement.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::config::Config;
use crate::health::Heard;
use crate::producer::Producer;

#[derive(Debug)]
pub(crate) struct Producers {
    pub(crate) heard: Arc<Heard>,
    shared: Slot,
    alone: Slot,
}

/// A producer, started when it is needed and again when it was retired.
#[derive(Debug)]
struct Slot {
    alone: bool,
    inner: Mutex<Option<(Arc<Producer>, Instant)>>,
}

/// Producers that end at once are not started in a tight loop.
const BETWEEN_STARTS: Duration = Duration::from_millis(100);

impl Producers {
    pub(crate) fn new() -> Self {
        let slot = |alone| Slot { alone, inner: Mutex::default() };
        Self { heard: Arc::default(), shared: slot(false), alone: slot(true) }
    }

    /// The producer that all calls share.
    pub(crate) async fn shared(&self, config: &Arc<Config>) -> Result<Arc<Producer>, String> {
        let mut slot = self.shared.inner.lock().await;
        self.shared.producer(&mut slot, config, &self.heard).await
    }

    /// The producer for one record alone, for as long as the turn is held.
    pub(crate) async fn alone(&self, config: &Arc<Config>) -> Result<(Arc<Producer>, Turn<'_>), String> {
        let mut slot = self.alone.inner.lock().await;
        let producer = self.alone.producer(&mut slot, config, &self.heard).await?;
        Ok((producer, Turn { _slot: slot }))
    }
}

/// The right to be the only one who sends.
pub(crate) struct Turn<'p> {
    _slot: MutexGuard<'p, Option<(Arc<Producer>, Instant)>>,
}

impl Slot {
    async fn producer(
        &self,
        slot: &mut Option<(Arc<Producer>, Instant)>,
        config: &Arc<Config>,
        heard: &Arc<Heard>,
    ) -> Result<Arc<Producer>, String> {
        if let Some((producer, started)) = slot {
            if !producer.is_retired() {
                return Ok(Arc::clone(producer));
            }
            tokio::time::sleep_until(*started + BETWEEN_STARTS).await;
        }
        let (config, heard, alone) = (Arc::clone(config), Arc::clone(heard), self.alone);
        let started = tokio::task::spawn_blocking(move || Producer::start(&config, &heard, alone));
        let producer = started.await.map_err(|error| error.to_string())??;
        let producer = Arc::new(producer);
        *slot = Some((Arc::clone(&producer), Instant::now()));
        Ok(producer)
    }
}

/// Nothing of it goes out any more.
impl Drop for Producers {
    fn drop(&mut self) {
        for slot in [&mut self.shared, &mut self.alone] {
            if let Some((producer, _)) = slot.inner.get_mut() {
                producer.abandon();
            }
        }
    }
}
