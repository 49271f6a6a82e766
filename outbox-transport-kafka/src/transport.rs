//! [`KafkaTransport`]: messages from the outbox to Kafka.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use outbox_core::{Delivery, DeliveryError, DeliveryReport, Transport, async_trait};

use crate::Health;
use crate::call::Call;
use crate::classify::error_of;
use crate::config::{Config, KafkaTransportBuilder};
use crate::config_error::ConfigError;
use crate::producers::Producers;

/// Publishes messages as records. Clones share one producer.
///
/// ```
/// use outbox_core::Route;
/// use outbox_transport_kafka::KafkaTransport;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let kafka = KafkaTransport::new("broker-1.example.org:9092,broker-2.example.org:9092")?;
/// let route = Route::prefix("orders.", kafka);
/// # Ok(())
/// # }
/// ```
///
/// **A record** has the message's key, its payload (see [`ValueFormat`](crate::ValueFormat) for envelopes), its headers,
/// and `outbox-id`, `outbox-type`, `outbox-created-at` (RFC 3339), `outbox-attempt`, `outbox-in-doubt` (only when `true`),
/// `outbox-idempotency-key`, `content-type` and, where that is an envelope's, `outbox-content-type` of the payload in it.
/// Receivers deduplicate by `outbox-id`; [`message_of`](crate::message_of) makes a message of a record again. Its time is
/// when it was sent, not when it was enqueued: a broker deletes by that time, and what waited long would be gone at once.
///
/// **Order.** Messages of one key arrive in their order, also through retries, refusals and timeouts, as long as the
/// topic keeps its number of partitions: Kafka orders within a partition, and more partitions move keys. Of each key
/// one message of a batch goes ahead; the rest of its run follows together when that is acknowledged. A topic that is
/// deleted and created again between two sets of one run can take the second set first.
///
/// **Delivered** means that all replicas in sync have the record (`acks=all`); the receipt is `topic[partition]@offset`.
///
/// **A batch ends as a whole.** What is not acknowledged within
/// [`delivery_timeout`](KafkaTransportBuilder::delivery_timeout) is taken back, and the producer replaced: a record
/// that never left, or that the brokers refused at each try, makes the cluster unavailable, which pauses the route and
/// spends no attempt; one that may have been appended is in doubt. The same happens when `deliver` is dropped, so that
/// nothing is sent later behind the back of a successor; only a request that is in the network already may still
/// arrive. A producer is shared, so batches beside it lose what they have on its way too. One that has not
/// found its brokers yet goes on looking for them, since they may need longer to answer than a batch may take.
///
/// **Refusals.** A broker refuses a whole set of records for the sake of one. Each of them is then sent alone, so that
/// only the guilty one becomes a dead letter.
#[derive(Clone)]
pub struct KafkaTransport {
    config: Arc<Config>,
    producers: Arc<Producers>,
}

impl KafkaTransport {
    /// A transport to the cluster of `brokers` (`host:port`, separated by commas), with the defaults.
    ///
    /// # Errors
    /// [`ConfigError`] says what is wrong.
    pub fn new(brokers: impl Into<String>) -> Result<Self, ConfigError> {
        Self::builder().brokers(brokers).build()
    }

    /// Starts with no broker; give it [`brokers`](KafkaTransportBuilder::brokers).
    pub fn builder() -> KafkaTransportBuilder {
        KafkaTransportBuilder::new()
    }

    /// Connects, logs in and asks the brokers about the cluster, within `patience`: for a check at start, and for
    /// readiness probes. Sends no record.
    ///
    /// # Errors
    /// What went wrong, for a person; it holds no login.
    pub async fn check(&self, patience: Duration) -> Result<(), DeliveryError> {
        let producer = self.producers.shared(&self.config).await.map_err(DeliveryError::new)?;
        let asked = tokio::task::spawn_blocking(move || producer.find_brokers(patience)).await;
        match asked {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                let trouble = self.producers.heard.trouble();
                let text = trouble.unwrap_or_else(|| format!("no broker answered within {patience:?}"));
                let code = error.rdkafka_error_code().map(|code| format!("{code:?}")).unwrap_or_default();
                Err(DeliveryError::new(text).with_code(code))
            }
            Err(_) => Err(error_of(rdkafka::types::RDKafkaErrorCode::CriticalSystemResource)),
        }
    }

    /// What was heard of the cluster last; asks nobody.
    #[must_use]
    pub fn health(&self) -> Health {
        self.producers.heard.tell()
    }

    pub(crate) fn with(config: Config) -> Self {
        Self { config: Arc::new(config), producers: Arc::new(Producers::new()) }
    }
}

#[async_trait]
impl Transport for KafkaTransport {
    async fn deliver(&self, batch: &[Delivery], report: &DeliveryReport) {
        if !batch.is_empty() {
            Call::new(&self.config, &self.producers, batch, report).run().await;
        }
    }

    fn keeps_order(&self) -> bool {
        true
    }

    /// The delivery timeout, and the time to find out what became of what it took back.
    fn deadline(&self) -> Duration {
        self.config.delivery_timeout + crate::call::AFTERWARDS * 2
    }
}

impl fmt::Debug for KafkaTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaTransport")
            .field("brokers", &self.config.client.get("bootstrap.servers"))
            .field("routing", &self.config.routing)
            .field("value", &self.config.value)
            .field("delivery_timeout", &self.config.delivery_timeout)
            .finish_non_exhaustive()
    }
}
