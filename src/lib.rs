//! The facade of the outbox library.

pub use outbox_core::*;
#[cfg(feature = "sqlite")]
pub use outbox_sqlx as sqlx;
#[cfg(feature = "smtp")]
pub use outbox_transport_smtp as smtp;
