//! Messages with a Rust type of their own: [`TypedMessage`] on the way in, [`Message::decode`] on the way out.

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::headers::MESSAGE_VERSION;
use crate::{Headers, Message, MessageBuilder, NewMessage};

/// A value that is published as a message: `outbox.publish(&mut tx, &OrderPlaced { … })`.
///
/// The type says once where such messages go, what receivers call them and what keeps them in order; the payload is
/// the value as JSON. The version counts the forms of that JSON: raise it when a receiver that knows the old form could
/// misread the new one (a field that became optional needs none). Receivers get it in the header `message-version`.
///
/// ```
/// use outbox_core::{EnqueueExt, EnqueuedIn, MemoryOutbox, TypedMessage};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// struct OrderPlaced {
///     order: String,
///     total_cents: u64,
/// }
///
/// impl TypedMessage for OrderPlaced {
///     const TOPIC: &'static str = "orders";
///     const TYPE: &'static str = "order.placed";
///     fn key(&self) -> Option<String> {
///         Some(self.order.clone()) // everything about one order arrives in its order
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let outbox = MemoryOutbox::new();
/// let placed = OrderPlaced { order: "4711".to_owned(), total_cents: 1_999 };
///
/// let mut tx = outbox.begin();
/// outbox.publish(&mut tx, &placed).await?;
/// // What the type does not say, the builder does.
/// outbox.publish(&mut tx, placed.to_message().correlation_id("request 17")).await?;
///
/// let messages = outbox.enqueued_in(&mut tx).await?;
/// assert_eq!(messages[0].decode::<OrderPlaced>()?, placed);
/// assert_eq!(messages[1].headers.correlation_id(), Some("request 17"));
/// # Ok(())
/// # }
/// ```
pub trait TypedMessage: Serialize {
    /// The topic: the stream such messages belong to, by which routes choose the transport.
    const TOPIC: &'static str;
    /// What receivers know them by (`order.placed`); one type keeps its name through all versions.
    const TYPE: &'static str;
    /// The form of the payload, counted from 1.
    const VERSION: u32 = 1;
    /// The media type; the payload is JSON whatever this says (`application/vnd.example.order+json`).
    const CONTENT_TYPE: &'static str = "application/json";

    /// The ordering key, usually the id of the aggregate. `None`: in no order with others.
    fn key(&self) -> Option<String>;

    /// Headers of every message of this type.
    fn headers(&self) -> Headers {
        Headers::default()
    }

    /// What makes the enqueue idempotent, for values that name their occasion (an order is placed once).
    fn idempotency_key(&self) -> Option<String> {
        None
    }

    /// The message, with all that the type says, for whatever this one message needs besides. What is wrong with it
    /// (a payload that is no JSON, an empty key) is answered by [`MessageBuilder::build`].
    fn to_message(&self) -> MessageBuilder {
        const { assert!(Self::VERSION >= 1, "versions are counted from 1") };
        let mut message = NewMessage::builder(Self::TOPIC)
            .message_type(Self::TYPE)
            .json_as(self, Self::CONTENT_TYPE)
            .headers(self.headers())
            .header(MESSAGE_VERSION, Self::VERSION.to_string());
        if let Some(key) = self.key() {
            message = message.key(key);
        }
        if let Some(key) = self.idempotency_key() {
            message = message.idempotency_key(key);
        }
        message
    }
}

impl<T: TypedMessage> From<&T> for MessageBuilder {
    fn from(value: &T) -> Self {
        value.to_message()
    }
}

impl Message {
    /// The version of the payload's form: the header `message-version`, and 1 where there is none, as in a message that
    /// was enqueued with plain SQL.
    ///
    /// # Errors
    /// [`DecodeError::Version`] when the header is not a number from 1 on.
    pub fn version(&self) -> Result<u32, DecodeError> {
        match self.headers.get(MESSAGE_VERSION) {
            None => Ok(1),
            Some(text) => text
                .parse()
                .ok()
                .filter(|version| *version >= 1)
                .ok_or_else(|| DecodeError::Version { message_type: self.message_type.clone() }),
        }
    }

    /// The value that was published, if it is a `T` of the version this program knows.
    ///
    /// A receiver of several types looks at [`message_type`](Self::message_type) first, and one that still knows an
    /// earlier form at [`version`](Self::version) too:
    ///
    /// ```
    /// # use outbox_core::{DecodeError, Message, TypedMessage};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)] struct OrderPlaced;
    /// # impl TypedMessage for OrderPlaced {
    /// #     const TOPIC: &'static str = "orders"; const TYPE: &'static str = "order.placed";
    /// #     const VERSION: u32 = 2;
    /// #     fn key(&self) -> Option<String> { None }
    /// # }
    /// # #[derive(Serialize, Deserialize)] struct OrderPlacedV1;
    /// # impl TypedMessage for OrderPlacedV1 {
    /// #     const TOPIC: &'static str = "orders"; const TYPE: &'static str = "order.placed";
    /// #     fn key(&self) -> Option<String> { None }
    /// # }
    /// # impl From<OrderPlacedV1> for OrderPlaced { fn from(_: OrderPlacedV1) -> Self { Self } }
    /// # fn ship(_: OrderPlaced) {}
    /// fn receive(message: &Message) -> Result<(), DecodeError> {
    ///     match (message.message_type.as_str(), message.version()?) {
    ///         (OrderPlacedV1::TYPE, OrderPlacedV1::VERSION) => ship(message.decode::<OrderPlacedV1>()?.into()),
    ///         (OrderPlaced::TYPE, _) => ship(message.decode()?),
    ///         _ => return Err(DecodeError::unknown_type(message)),
    ///     }
    ///     Ok(())
    /// }
    /// # let mut message = Message::new(outbox_core::MessageId::generate(), "orders", "null");
    /// # assert!(receive(&message).is_err());
    /// # message.message_type = "order.placed".to_owned();
    /// # receive(&message).expect("version 1 is known");
    /// ```
    ///
    /// # Errors
    /// [`DecodeError`] says what was expected and what came. The message is then one for a person, or for a newer
    /// program: do not acknowledge it as if it had been handled.
    pub fn decode<T: TypedMessage + DeserializeOwned>(&self) -> Result<T, DecodeError> {
        if self.message_type != T::TYPE {
            return Err(DecodeError::unknown_type(self));
        }
        let version = self.version()?;
        if version != T::VERSION {
            let message_type = T::TYPE.to_owned();
            return Err(DecodeError::UnknownVersion { message_type, version, known: T::VERSION });
        }
        serde_json::from_slice(&self.payload).map_err(|source| DecodeError::Payload {
            message_type: T::TYPE.to_owned(),
            version,
            source,
        })
    }
}

/// Why a message could not be decoded. Holds nothing of its payload's values in its own text.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The receiver does not know the type.
    #[error("the message type {message_type:?} is not one this receiver knows")]
    UnknownType {
        /// The type that came; empty when the producer gave none.
        message_type: String,
    },
    /// The receiver knows the type in another version.
    #[error("{message_type} came in version {version}; this receiver knows version {known}")]
    UnknownVersion {
        /// The type.
        message_type: String,
        /// The version that came.
        version: u32,
        /// The version that [`Message::decode`] was asked for.
        known: u32,
    },
    /// The header `message-version` cannot be read.
    #[error("the header message-version of a {message_type:?} is not a number from 1 on")]
    Version {
        /// The type.
        message_type: String,
    },
    /// The payload is not what its type and version say.
    #[error("the payload is not JSON of the form {message_type}, version {version}")]
    Payload {
        /// The type.
        message_type: String,
        /// The version.
        version: u32,
        /// Where it differs.
        source: serde_json::Error,
    },
}

impl DecodeError {
    /// For the last arm of a receiver's `match`: its types are all those above.
    #[must_use]
    pub fn unknown_type(message: &Message) -> Self {
        Self::UnknownType { message_type: message.message_type.clone() }
    }
}
