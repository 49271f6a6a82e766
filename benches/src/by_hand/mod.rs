//! What a drain could cost at least: loops over bare statements, without dispatcher, transport or trait.

#[cfg(feature = "kafka")]
pub(crate) mod kafka;
pub(crate) mod mysql;
pub(crate) mod postgres;
pub(crate) mod sqlite;

use outbox::Message;

/// What a relay needs of a message to send it; the loops decode every column that they read, as the library does.
pub(crate) struct Read {
    pub(crate) seq: i64,
    pub(crate) message: Message,
    /// Where the row lies, on a database that tells: page and place, as it sends them.
    pub(crate) lies_at: [u8; 6],
    /// The mark of the id, on a database whose settlements name it.
    pub(crate) mark: u32,
}
