//! What waits in the outbox before a drain.

use outbox::NewMessage;

/// Bytes of a payload.
pub(crate) const PAYLOAD: usize = 500;

/// The topic of every message.
pub(crate) const TOPIC: &str = "bench";

/// Messages `from..to` over a number of keys. The payload begins with the number, so that a receiver can tell what is
/// missing, what came twice and what came out of order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// Over how many keys; 0 for messages without a key.
    pub(crate) keys: usize,
}

impl Load {
    pub(crate) fn first(messages: usize, keys: usize) -> Self {
        Self { from: 0, to: messages, keys }
    }

    pub(crate) fn len(&self) -> usize {
        self.to - self.from
    }

    /// The messages, in parts of at most `size`.
    pub(crate) fn parts(self, size: usize) -> impl Iterator<Item = Self> {
        (self.from..self.to).step_by(size).map(move |from| Self {
            from,
            to: self.to.min(from + size),
            ..self
        })
    }

    pub(crate) fn messages(&self) -> Vec<NewMessage> {
        (self.from..self.to).map(|number| message(number, self.keys)).collect()
    }
}

/// One message.
pub(crate) fn message(number: usize, keys: usize) -> NewMessage {
    let mut payload = vec![b'x'; PAYLOAD];
    payload[..8].copy_from_slice(&(number as u64).to_be_bytes());
    let builder = NewMessage::builder(TOPIC).payload(payload, "application/octet-stream");
    let builder = if keys == 0 { builder } else { builder.key(format!("key-{}", number % keys)) };
    builder.build().expect("a valid message")
}

/// The number of the message with this payload.
pub(crate) fn number_in(payload: &[u8]) -> usize {
    let number = payload.first_chunk().expect("a payload begins with its number");
    usize::try_from(u64::from_be_bytes(*number)).expect("a small number")
}
