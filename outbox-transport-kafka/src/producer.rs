//! [`Producer`]: one librdkafka client and the thread that listens to it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, PurgeConfig};
use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::watch;
use tokio::time::timeout_at;

use crate::arrivals::Ticket;
use crate::classify::{Class, class_of};
use crate::config::Config;
use crate::destination::Destination;
use crate::health::Heard;
use crate::listener::Listener;
use crate::record::Record;

/// One librdkafka client. Once it is *retired* it takes nothing more: what waits in it is taken back, and what was
/// queued is told with a report each. Then its thread ends it; nothing here blocks.
pub(crate) struct Producer {
    pub(crate) number: u64,
    client: Arc<BaseProducer<Listener>>,
    orders: Arc<Orders>,
    left: watch::Receiver<Option<bool>>,
    started: Instant,
    /// How long it may look for its brokers.
    patience: Duration,
}

/// Whoever has not found its brokers by then is replaced, should it be at fault itself.
const LONGEST_SEARCH: Duration = Duration::from_secs(60);

/// What the thread is told.
#[derive(Debug, Default)]
struct Orders {
    retired: AtomicBool,
    /// What is on its way is given up too.
    abandoned: AtomicBool,
    /// Nobody needs it any more.
    dropped: AtomicBool,
}

impl Producer {
    /// Starts a client and its thread. Blocks for some milliseconds: certificates are read, threads are started.
    pub(crate) fn start(config: &Config, heard: &Arc<Heard>, alone: bool) -> Result<Self, String> {
        let number = heard.producer();
        let (listener, left) = Listener::new(number, Arc::clone(heard), config.statistics.clone());
        let mut client = config.client.clone();
        if alone {
            client.set("linger.ms", "0");
        }
        let client: BaseProducer<Listener> =
            client.create_with_context(listener).map_err(|error| error.to_string())?;
        let client = Arc::new(client);
        let orders = Arc::new(Orders::default());
        let (listening, told) = (Arc::clone(&client), Arc::clone(&orders));
        std::thread::Builder::new()
            .name(format!("outbox-kafka-{number}"))
            .spawn(move || listen(&listening, &told))
            .map_err(|error| format!("no thread can be started: {error}"))?;
        let patience = LONGEST_SEARCH.max(config.delivery_timeout * 4);
        Ok(Self { number, client, orders, left, started: Instant::now(), patience })
    }

    /// Queues a record; its report will come to the ticket. Never blocks.
    pub(crate) fn queue(
        &self,
        to: &Destination,
        key: Option<&str>,
        record: Record<'_>,
        ticket: Ticket,
    ) -> Result<(), RDKafkaErrorCode> {
        if self.is_retired() {
            return Err(RDKafkaErrorCode::Fatal);
        }
        let mut queued = BaseRecord::with_opaque_to(&to.topic, Box::new(ticket)).headers(record.headers);
        queued.partition = to.partition;
        queued.key = key;
        queued.payload = record.value.as_deref();
        if !self.client.context().counts().queued() {
            return Err(RDKafkaErrorCode::Fatal);
        }
        self.client.send(queued).map_err(|(error, _)| {
            self.client.context().counts().not_queued();
            let KafkaError::MessageProduction(code) = error else {
                // A NUL in the topic; names of topics are checked before.
                return RDKafkaErrorCode::InvalidTopic;
            };
            if class_of(code) == Class::ProducerEnded {
                // Its listener may not have heard of it yet.
                self.retire();
            }
            code
        })
    }

    /// Takes nothing more from now on. What waits is taken back; what is on its way may still be acknowledged.
    pub(crate) fn retire(&self) {
        self.orders.retired.store(true, Ordering::Release);
        self.client.purge(PurgeConfig::default().queue().non_blocking());
    }

    /// Retires it, and gives up what is on its way as well.
    pub(crate) fn abandon(&self) {
        self.orders.abandoned.store(true, Ordering::Release);
        self.orders.retired.store(true, Ordering::Release);
        self.empty();
    }

    /// Takes back what waits and gives up what is on its way, but goes on.
    pub(crate) fn empty(&self) {
        self.client.purge(PurgeConfig::default().queue().inflight().non_blocking());
    }

    /// It still looks for its brokers, as far as is known: it has sent nothing yet. To find them can take longer than a
    /// batch may, where they are slow or many greet them at once, and one that starts over each time would never be
    /// done. Nothing can go out behind what is taken back from it, so it need not be replaced.
    pub(crate) fn is_searching(&self) -> bool {
        !self.is_retired()
            && self.started.elapsed() < self.patience
            && self.client.context().counts().nothing_sent()
    }

    /// The same for certain, once everything that was queued is taken back: librdkafka tells twice how much it sent before
    /// this is answered, as the first time may have been under way before. `false` when that cannot be told until `limit`.
    pub(crate) async fn is_surely_searching(&self, limit: tokio::time::Instant) -> bool {
        if !self.is_searching() {
            return false;
        }
        let mut words = self.client.context().words();
        let second = *words.borrow() + 2;
        let told = timeout_at(limit, words.wait_for(|word| *word >= second)).await;
        matches!(told, Ok(Ok(_))) && self.is_searching()
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.orders.retired.load(Ordering::Acquire) || self.client.context().is_ended()
    }

    /// Of a retired producer: whether something that was taken back from its queue may have left before, since more
    /// was sent than was answered. `true` when that cannot be told until `limit`.
    pub(crate) async fn may_have_left(&self, limit: tokio::time::Instant) -> bool {
        let mut left = self.left.clone();
        let told = timeout_at(limit, left.wait_for(Option::is_some)).await;
        !matches!(told, Ok(Ok(left)) if *left == Some(false))
    }

    /// The client's own view of its cluster, asked for within `patience`. Blocks.
    pub(crate) fn find_brokers(&self, patience: Duration) -> Result<usize, KafkaError> {
        self.client.client().fetch_metadata(None, patience).map(|metadata| metadata.brokers().len())
    }
}

/// The thread: hears reports until nobody needs the client and nothing is left in it, and ends it. That blocks, which
/// is why it happens here.
fn listen(client: &Arc<BaseProducer<Listener>>, orders: &Orders) {
    loop {
        let dropped = orders.dropped.load(Ordering::Acquire);
        if orders.retired.load(Ordering::Acquire) || client.context().is_ended() || dropped {
            let purge = PurgeConfig::default().queue().non_blocking();
            let abandoned = dropped || orders.abandoned.load(Ordering::Acquire);
            // Again and again: what just came back from a broker to be retried is taken back as well.
            client.purge(if abandoned { purge.inflight() } else { purge });
            client.poll(Duration::from_millis(20));
            client.context().retired(client.in_flight_count() == 0);
            // Whoever drops the client last has to wait for its threads.
            if dropped && client.in_flight_count() == 0 && Arc::strong_count(client) == 1 {
                return;
            }
        } else {
            client.poll(Duration::from_millis(50));
        }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.orders.dropped.store(true, Ordering::Release);
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("number", &self.number)
            .field("orders", &self.orders)
            .finish_non_exhaustive()
    }
}
