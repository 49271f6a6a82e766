//! The producer's side of an outbox.

use async_trait::async_trait;

use crate::{Message, MessageBuilder, MessageId, NewMessage, StoreError, StoreErrorKind};

/// Writes messages in the caller's own transaction.
///
/// `Conn` is the database's own connection type (`sqlx::SqliteConnection`, …), so a transaction of the caller
/// is passed as `&mut tx`: it dereferences to its connection.
#[async_trait]
pub trait Enqueue<Conn: ?Sized + Send>: Send + Sync {
    /// Writes `messages` on `conn`, so that they are committed or rolled back with whatever else the transaction
    /// does. Answers one [`Enqueued`] per message, in the order given; within a key that is the order of delivery.
    ///
    /// A message whose idempotency key is already known for its topic (within the retention, or earlier in the
    /// same slice) is not stored: its answer is [`Enqueued::Duplicate`] with the id of the stored one, and the
    /// transaction goes on. An empty slice does nothing.
    ///
    /// # Errors
    /// [`StoreError`], after which the caller should roll back. Dropping the future half-way leaves what was
    /// written to the fate of the transaction.
    async fn enqueue(&self, conn: &mut Conn, messages: &[NewMessage]) -> Result<Vec<Enqueued>, StoreError>;
}

/// Convenience over [`Enqueue`]; implemented for every store, not to be implemented by hand.
#[async_trait]
pub trait EnqueueExt<Conn: ?Sized + Send>: Enqueue<Conn> {
    /// [`Enqueue::enqueue`] for one message.
    ///
    /// # Errors
    /// As [`Enqueue::enqueue`].
    async fn enqueue_one(&self, conn: &mut Conn, message: &NewMessage) -> Result<Enqueued, StoreError> {
        let answers = self.enqueue(conn, std::slice::from_ref(message)).await?;
        Ok(answers.into_iter().next().unwrap_or(Enqueued::New(message.id())))
    }

    /// Enqueues a [`TypedMessage`](crate::TypedMessage), given as `&value`, or as its
    /// [`to_message()`](crate::TypedMessage::to_message) with more said about it.
    ///
    /// # Errors
    /// As [`Enqueue::enqueue`]; of kind [`StoreErrorKind::Invalid`] when the message cannot be built, in which case
    /// the transaction is as it was.
    fn publish(
        &self,
        conn: &mut Conn,
        message: impl Into<MessageBuilder>,
    ) -> impl Future<Output = Result<Enqueued, StoreError>> + Send {
        let message = built(message.into());
        async move { self.enqueue_one(conn, &message?).await }
    }

    /// Enqueues several of them in one [`Enqueue::enqueue`]: a slice of one type, or builders of various types. Answers
    /// one [`Enqueued`] per message, in the order given.
    ///
    /// # Errors
    /// As [`publish`](Self::publish); when one message cannot be built, none is enqueued.
    fn publish_all<M: Into<MessageBuilder>>(
        &self,
        conn: &mut Conn,
        messages: impl IntoIterator<Item = M>,
    ) -> impl Future<Output = Result<Vec<Enqueued>, StoreError>> + Send {
        let messages: Result<Vec<_>, _> = messages.into_iter().map(|message| built(message.into())).collect();
        async move { self.enqueue(conn, &messages?).await }
    }
}

impl<Conn: ?Sized + Send, T: Enqueue<Conn> + ?Sized> EnqueueExt<Conn> for T {}

fn built(message: MessageBuilder) -> Result<NewMessage, StoreError> {
    message.build().map_err(|invalid| {
        StoreError::new(StoreErrorKind::Invalid, "the message cannot be built").with_source(invalid)
    })
}

/// What became of one message that was enqueued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enqueued {
    /// It is stored, once the transaction commits.
    New(MessageId),
    /// Its idempotency key is known: this is the id of the message stored earlier. Nothing was written.
    Duplicate(MessageId),
}

impl Enqueued {
    /// The id of the message that is stored.
    #[must_use]
    pub const fn id(&self) -> MessageId {
        match self {
            Self::New(id) | Self::Duplicate(id) => *id,
        }
    }

    /// Whether the message had been enqueued before.
    #[must_use]
    pub const fn is_duplicate(&self) -> bool {
        matches!(self, Self::Duplicate(_))
    }
}

/// For tests of the code that enqueues.
#[async_trait]
pub trait EnqueuedIn<Conn: ?Sized + Send>: Send + Sync {
    /// The messages that the open transaction on `conn` has enqueued so far, in their order.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    async fn enqueued_in(&self, conn: &mut Conn) -> Result<Vec<Message>, StoreError>;
}
