//! The headers of a message.

use std::collections::BTreeMap;
use std::fmt;

pub(crate) const MESSAGE_VERSION: &str = "message-version";
pub(crate) const CORRELATION_ID: &str = "correlation-id";
pub(crate) const CAUSATION_ID: &str = "causation-id";

/// Names and values that travel with a message; names are unique and ordered.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(BTreeMap<String, String>);

impl Headers {
    /// The value of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The undertaking the message belongs to; see [`MessageBuilder::correlation_id`](crate::MessageBuilder::correlation_id).
    #[must_use]
    pub fn correlation_id(&self) -> Option<&str> {
        self.get(CORRELATION_ID)
    }

    /// What gave rise to the message; see [`MessageBuilder::causation_id`](crate::MessageBuilder::causation_id).
    #[must_use]
    pub fn causation_id(&self) -> Option<&str> {
        self.get(CAUSATION_ID)
    }

    /// Sets `name`, replacing a value it had.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    /// Names and values, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Bytes of all names and values.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + value.len()).sum()
    }

    /// The form stores keep: a JSON object of strings, or `None` when there is no header, so that the common
    /// case costs no parsing on the way out.
    #[must_use]
    pub fn to_json(&self) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let object = self.0.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        Some(serde_json::Value::Object(object).to_string())
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    /// When `json` is not an object whose values are strings.
    pub fn from_json(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json).map(Self)
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(headers: I) -> Self {
        Self(headers.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// Names only: values may be secret.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
