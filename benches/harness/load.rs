//! What waits in the outbox before a drain.

use outbox::NewMessage;

/// Bytes of a payload.
pub const PAYLOAD: usize = 500;

/// A number of messages over a number of keys.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// How many messages.
    pub messages: usize,
    /// Over how many keys; 0 for messages without a key.
    pub keys: usize,
}

impl Load {
    /// Messages `from..to`. The payload begins with the number, so that a receiver can check the order.
    ///
    /// # Panics
    /// Never: the messages are valid.
    #[must_use]
    pub fn slice(&self, from: usize, to: usize) -> Vec<NewMessage> {
        let message = |n: usize| {
            let mut payload = vec![b'x'; PAYLOAD];
            payload[..8].copy_from_slice(&(n as u64).to_be_bytes());
            let builder = NewMessage::builder("bench").payload(payload, "application/octet-stream");
            let builder = match self.keys {
                0 => builder,
                keys => builder.key(format!("key-{}", n % keys)),
            };
            builder.build().expect("a valid message")
        };
        (from..to.min(self.messages)).map(message).collect()
    }
}
