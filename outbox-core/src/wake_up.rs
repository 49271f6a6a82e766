//! How a commit reaches the dispatcher at once.

use std::sync::Arc;

use tokio::sync::watch;

/// A bell between the producers and the dispatcher of one process. Cheap to clone; all clones ring together.
///
/// It is only a hint: polling finds every message without it, later.
///
/// A store that can hear of commits in other processes rings it for them too, as long as a dispatcher
/// [listens](Self::has_listeners): it starts to hear in [`renew`](crate::OutboxStore::renew), stops when
/// [nobody listens](Self::unheard) any more, and says by [`hears_elsewhere`](Self::hears_elsewhere) whether it works.
#[derive(Debug, Clone)]
pub struct WakeUp {
    rings: Arc<watch::Sender<Rings>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Rings {
    committed: u64,
    enqueued: u64,
    elsewhere: bool,
}

impl Default for WakeUp {
    fn default() -> Self {
        Self { rings: Arc::new(watch::Sender::new(Rings::default())) }
    }
}

impl WakeUp {
    /// A bell that nobody has rung yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Something was committed: look now.
    pub fn committed(&self) {
        self.rings.send_modify(|rings| rings.committed += 1);
    }

    /// Something was enqueued in a transaction that is still open: look often for a little while.
    pub fn enqueued(&self) {
        self.rings.send_modify(|rings| rings.enqueued += 1);
    }

    /// Says whether commits of other processes ring this bell: then the dispatcher polls less often. `false` until
    /// said otherwise.
    pub fn hears_elsewhere(&self, hears: bool) {
        self.rings.send_if_modified(|rings| std::mem::replace(&mut rings.elsewhere, hears) != hears);
    }

    /// Whether a dispatcher listens.
    #[must_use]
    pub fn has_listeners(&self) -> bool {
        self.rings.receiver_count() > 0
    }

    /// Waits until no dispatcher listens. Cancel-safe.
    pub async fn unheard(&self) {
        self.rings.closed().await;
    }

    /// A listener that hears what rings from now on.
    pub(crate) fn listen(&self) -> Listener {
        let rings = self.rings.subscribe();
        let heard = Rings { elsewhere: false, ..*rings.borrow() };
        Listener { rings, heard }
    }
}

/// What a listener heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ring {
    Committed,
    Enqueued,
    /// Whether commits of other processes ring from now on.
    Elsewhere(bool),
}

#[derive(Debug)]
pub(crate) struct Listener {
    rings: watch::Receiver<Rings>,
    heard: Rings,
}

impl Listener {
    /// Waits for the next ring; rings in between are heard as one. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Ring {
        loop {
            let now = *self.rings.borrow_and_update();
            if now.elsewhere != self.heard.elsewhere {
                self.heard.elsewhere = now.elsewhere;
                return Ring::Elsewhere(now.elsewhere);
            }
            let committed = now.committed != self.heard.committed;
            let enqueued = now.enqueued != self.heard.enqueued;
            self.heard = now;
            if committed {
                return Ring::Committed;
            }
            if enqueued {
                return Ring::Enqueued;
            }
            if self.rings.changed().await.is_err() {
                // No producer is left in this process; polling goes on.
                std::future::pending::<()>().await;
            }
        }
    }
}
