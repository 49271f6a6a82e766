//! The payload of every message.

use serde::{Deserialize, Serialize};

/// How long a body is as JSON.
pub const BODY_BYTES: usize = 500;

/// A number that tells what is missing, what came twice and what came out of order, and a text that fills the body up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// From 0 on, in the order in which the messages were enqueued.
    pub number: u64,
    /// Nothing of interest.
    pub text: String,
}

impl Body {
    /// The body of this message: [`BODY_BYTES`] bytes of JSON.
    #[must_use]
    pub fn new(number: u64) -> Self {
        let bare = r#"{"number":,"text":""}"#.len() + number.to_string().len();
        Self { number, text: "x".repeat(BODY_BYTES - bare) }
    }

    /// The same as JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a number and a text can be written")
    }

    /// Reads one.
    pub fn from_json(bytes: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(bytes)
    }

    /// The ordering key, when messages are spread over `keys`.
    #[must_use]
    pub fn key(&self, keys: u64) -> Option<String> {
        (keys > 0).then(|| format!("key-{}", self.number % keys))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_body_has_the_same_size() {
        for number in [0, 9, 10, 999_999, 1_000_000_000] {
            let body = Body::new(number);
            assert_eq!(body.to_json().len(), BODY_BYTES);
            assert_eq!(Body::from_json(&body.to_json()).expect("a body"), body);
        }
    }
}
