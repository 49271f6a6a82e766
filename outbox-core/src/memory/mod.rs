//! [`MemoryOutbox`]
/// x
#[derive(Debug)]
pub struct MemoryOutbox;
/// x
#[derive(Debug)]
pub struct MemoryTransaction;
