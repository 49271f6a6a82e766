//! [`Transport`]: the way to a destination, and the types in its signatures.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{DeliveryError, DeliveryReport, Message};

/// Brings messages to a destination: a mail relay, a broker, an HTTP endpoint.
///
/// The transport says what it saw, as an [`Outcome`] per message; the retry policy decides what follows and the
/// store records it. Deliveries are *at least once*: put the message id into what you send.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Tries the batch and records each outcome the moment it is known.
    ///
    /// What is unrecorded at the end, or when the future is dropped, counts as ambiguous: the message may have
    /// arrived. After a panic it counts as a crash. So record [`Outcome::NotSent`] for what was not tried.
    ///
    /// The future may be dropped at any await (deadline, lost lease, shutdown). The transport must stay usable
    /// and truthful afterwards, and nothing it started may go on sending.
    async fn deliver(&self, batch: &[Delivery], report: &DeliveryReport);

    /// Whether messages of one key may be handed over together: true only if none can overtake an earlier one of
    /// its key, and when one is not delivered, no later one of its key in the batch is. If false, a batch holds
    /// at most one message of a key, and the next goes out when that one is settled.
    fn keeps_order(&self) -> bool {
        false
    }

    /// The longest that one call of `deliver` may take before it is dropped.
    fn deadline(&self) -> Duration {
        Duration::from_secs(60)
    }
}

#[async_trait]
impl<T: Transport + ?Sized> Transport for Arc<T> {
    async fn deliver(&self, batch: &[Delivery], report: &DeliveryReport) {
        (**self).deliver(batch, report).await;
    }
    fn keeps_order(&self) -> bool {
        (**self).keeps_order()
    }
    fn deadline(&self) -> Duration {
        (**self).deadline()
    }
}

/// One message at a time: the simplest way to write a transport. [`PerMessage`](crate::PerMessage) makes it one.
#[async_trait]
pub trait SendOne: Send + Sync + 'static {
    /// Sends one message and says what it saw. Dropped half-way, the message counts as ambiguous.
    async fn send(&self, delivery: &Delivery) -> Outcome;
}

#[async_trait]
impl<T: SendOne + ?Sized> SendOne for Arc<T> {
    async fn send(&self, delivery: &Delivery) -> Outcome {
        (**self).send(delivery).await
    }
}

/// A message on its way out.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The message.
    pub message: Arc<Message>,
    /// Which attempt this is, from 1. A redelivery after a crash or an outage is not another attempt.
    pub attempt: u32,
    /// It may have been delivered before: by this attempt's predecessor or by a process that died.
    pub in_doubt: bool,
    pub(crate) index: usize,
}

impl Delivery {
    /// The span of this delivery, for transports: message id, topic, key and attempt, at debug level, since a key may
    /// be personal. [`PerMessage`](crate::PerMessage) opens it around each send.
    #[must_use]
    pub fn span(&self) -> tracing::Span {
        let Message { id, topic, key, .. } = &*self.message;
        tracing::debug_span!("outbox.delivery", %id, topic, key = key.as_deref(), attempt = self.attempt)
    }

    /// A first delivery of `message` as number `index` of its batch, for tests and wrappers of transports.
    #[must_use]
    pub fn new(index: usize, message: impl Into<Arc<Message>>) -> Self {
        Self { message: message.into(), attempt: 1, in_doubt: false, index }
    }
}

/// What a transport saw of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The destination accepted it.
    Delivered {
        /// What the destination answered, such as a queue id; recording it cuts it to
        /// [`MAX_RECEIPT`](Outcome::MAX_RECEIPT) and makes control characters spaces.
        receipt: Option<String>,
    },
    /// This message failed now and may succeed later: an attempt is spent.
    Transient {
        /// What the destination asks to wait.
        retry_after: Option<Duration>,
        /// What happened.
        error: DeliveryError,
    },
    /// This message will never be accepted as it is: it becomes a dead letter.
    Permanent {
        /// What happened.
        error: DeliveryError,
    },
    /// The destination is down or refuses everybody: its route pauses, nothing is spent.
    Unavailable {
        /// What the destination asks to wait.
        retry_after: Option<Duration>,
        /// What happened.
        error: DeliveryError,
    },
    /// It may have arrived: an attempt is spent, the redelivery is marked.
    Ambiguous {
        /// What happened.
        error: DeliveryError,
    },
    /// It was not tried: it costs nothing and goes out again soon.
    NotSent,
}

impl Outcome {
    /// The longest receipt that is kept, in characters.
    pub const MAX_RECEIPT: usize = 500;

    /// [`Outcome::Delivered`] without a receipt.
    #[must_use]
    pub const fn delivered() -> Self {
        Self::Delivered { receipt: None }
    }
    /// [`Outcome::Transient`] with a text for a person.
    #[must_use]
    pub fn transient(text: impl AsRef<str>) -> Self {
        Self::Transient { retry_after: None, error: DeliveryError::new(text) }
    }
    /// [`Outcome::Permanent`] with a text for a person.
    #[must_use]
    pub fn permanent(text: impl AsRef<str>) -> Self {
        Self::Permanent { error: DeliveryError::new(text) }
    }
    /// [`Outcome::Unavailable`] with a text for a person.
    #[must_use]
    pub fn unavailable(text: impl AsRef<str>) -> Self {
        Self::Unavailable { retry_after: None, error: DeliveryError::new(text) }
    }
    /// [`Outcome::Ambiguous`] with a text for a person.
    #[must_use]
    pub fn ambiguous(text: impl AsRef<str>) -> Self {
        Self::Ambiguous { error: DeliveryError::new(text) }
    }
}
