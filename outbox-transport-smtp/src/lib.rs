//! outbox-transport-smtp
