//! The two errors that cross the traits: a store's and a delivery's.

use std::error::Error as StdError;
use std::fmt;

use thiserror::Error;

type Source = Box<dyn StdError + Send + Sync + 'static>;

/// What a program can do about a [`StoreError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The database does not answer, is busy, or broke the connection: try again soon.
    Unavailable,
    /// A table is missing or too old: run the migration that the message names.
    Schema,
    /// The request cannot be carried out as given; the message says what to change.
    Invalid,
    /// The message is in flight, so an act of a person on it must wait.
    InFlight,
    /// Anything else.
    Other,
}

/// A store could not do what was asked.
#[derive(Debug, Error)]
#[error("{context}")]
pub struct StoreError {
    kind: StoreErrorKind,
    context: String,
    source: Option<Source>,
}

impl StoreError {
    /// An error of `kind`; `context` tells a person what failed and what to do.
    pub fn new(kind: StoreErrorKind, context: impl Into<String>) -> Self {
        Self { kind, context: context.into(), source: None }
    }

    /// Adds the error below.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What a program can do about it.
    #[must_use]
    pub const fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

/// Why a delivery did not succeed, in a form that can be stored and shown.
///
/// Must hold no address, secret or payload: it is stored with the message and logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryError {
    code: Option<String>,
    text: String,
}

impl DeliveryError {
    /// The longest text that is kept, in characters.
    pub const MAX_TEXT: usize = 500;
    /// The longest code that is kept, in characters.
    pub const MAX_CODE: usize = 64;

    /// An error with a text for a person, cut to [`MAX_TEXT`](Self::MAX_TEXT); control characters become spaces.
    pub fn new(text: impl AsRef<str>) -> Self {
        Self { code: None, text: clean(text.as_ref(), Self::MAX_TEXT) }
    }

    /// Adds the destination's own code, such as `550` or `MessageSizeTooLarge`, cut to [`MAX_CODE`](Self::MAX_CODE);
    /// control characters become spaces.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(clean(&code.into(), Self::MAX_CODE));
        self
    }

    /// The destination's own code.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// The text for a person.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for DeliveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Some(code) => write!(f, "{code}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

impl StdError for DeliveryError {}

/// What a destination said, short and in one line: it ends in tables, logs and terminals.
pub(crate) fn clean(text: &str, limit: usize) -> String {
    text.chars().take(limit).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
