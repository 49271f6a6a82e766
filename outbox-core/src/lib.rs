//! Traits, policies and the dispatcher of the outbox library.
//!
//! A service *enqueues* a [`NewMessage`] in its own database transaction through [`Enqueue`].
//! A [`Dispatcher`] reads committed messages from an [`OutboxStore`], hands them to the [`Transport`]
//! of their topic and settles the [`Outcome`], again and again until each message is delivered, or put
//! aside for a person as a dead letter.
//!
//! Three kinds of readers:
//!
//! * **Users** meet [`NewMessage`] or [`TypedMessage`], [`Enqueue`], [`LeasedDispatcher`] and [`Route`].
//! * **Authors of a transport** implement [`Transport`], or [`SendOne`] for one message at a time.
//! * **Authors of a store** implement [`OutboxStore`], [`Enqueue`] and [`OutboxAdmin`].
//!
//! The feature `conformance` holds the suites that show whether a store or a transport keeps its part.

mod admin;
#[cfg(feature = "backoff")]
mod backoff;
#[cfg(feature = "conformance")]
pub mod conformance;
mod dispatcher;
mod enqueue;
mod error;
mod headers;
mod inbox;
mod memory;
mod message;
mod per_message;
mod report;
mod retry;
mod store;
mod transport;
mod typed;
mod wake_up;

/// Re-exported, so that implementing a trait of this crate needs no dependency of its own.
pub use async_trait::async_trait;
/// Re-exported: the type of payloads.
pub use bytes::Bytes;

pub use admin::{
    Act, MessageDetail, MessageState, MessageSummary, OutboxAdmin, Page, PageRequest, Selection, TopicCounts,
    UnknownState,
};
pub use dispatcher::{
    BuildError, DispatchError, DispatchSummary, Dispatcher, DispatcherExt, LeasedDispatcher,
    LeasedDispatcherBuilder, OnAmbiguous, Route, Settings,
};
pub use enqueue::{Enqueue, EnqueueExt, Enqueued, EnqueuedIn};
pub use error::{DeliveryError, StoreError, StoreErrorKind};
pub use headers::Headers;
pub use inbox::Inbox;
pub use memory::{MemoryOutbox, MemoryOutboxBuilder, MemoryTransaction};
pub use message::{InvalidMessage, Limits, Message, MessageBuilder, MessageId, NewMessage};
pub use per_message::PerMessage;
pub use report::DeliveryReport;
pub use retry::{Decision, ExponentialBackoff, Failure, FixedDelays, NeverRetry, RetryPolicy};
pub use store::{
    Batch, BatchNo, Claim, ClaimRequest, Claimed, CorruptMessage, DispatcherId, Epoch, FailureNote, Fence,
    HeldPlaces, OnDead, OutboxStore, Ownership, Place, PlaceHasher, Settlement, Slot, Tally, Verdict,
};
pub use transport::{Delivery, Outcome, SendOne, Transport};
pub use typed::{DecodeError, TypedMessage};
pub use wake_up::WakeUp;

// The traits are used as `dyn`; a change that takes this away must not compile.
const _: () = {
    const fn object_safe<T: ?Sized>() {}
    object_safe::<dyn OutboxStore>();
    object_safe::<dyn OutboxAdmin>();
    object_safe::<dyn Enqueue<()>>();
    object_safe::<dyn EnqueuedIn<()>>();
    object_safe::<dyn Inbox<()>>();
    object_safe::<dyn Transport>();
    object_safe::<dyn SendOne>();
    object_safe::<dyn Dispatcher>();
    object_safe::<dyn RetryPolicy>();
};
