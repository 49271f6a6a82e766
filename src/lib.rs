#![cfg_attr(all(feature = "sqlite", feature = "smtp"), doc = include_str!("../README.md"))]
#![cfg_attr(
    not(all(feature = "sqlite", feature = "smtp")),
    doc = "A transactional outbox. The features `sqlite` and `smtp` bring a store and a transport, and this page's guide."
)]

pub use outbox_core::*;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
pub use outbox_sqlx::*;
#[cfg(feature = "kafka")]
pub use outbox_transport_kafka as kafka;
#[cfg(feature = "smtp")]
pub use outbox_transport_smtp as smtp;

// The Rust blocks of the documentation are doc tests of this package.
#[cfg(doctest)]
#[doc = include_str!("../docs/writing-a-transport.md")]
mod writing_a_transport {}
#[cfg(all(doctest, feature = "sqlite"))]
#[doc = include_str!("../docs/operations.md")]
mod operations {}
#[cfg(doctest)]
#[doc = include_str!("../docs/writing-a-store.md")]
mod writing_a_store {}
