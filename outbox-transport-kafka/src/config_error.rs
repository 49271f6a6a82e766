//! [`ConfigError`]: why a transport could not be built.

use thiserror::Error;

/// Why a [`KafkaTransport`](crate::KafkaTransport) could not be built. Quotes no value of a property that may be
/// secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// There is no broker.
    #[error("no broker is set; give `brokers(\"host:9092\")`")]
    NoBrokers,
    /// A property contradicts what the transport promises.
    #[error("the property `{name}` cannot be set so: {reason}")]
    Property {
        /// Its name.
        name: String,
        /// What would go wrong, and what to do instead.
        reason: &'static str,
    },
    /// librdkafka refuses a property, or a combination of them.
    #[error("librdkafka refuses the properties: {text}{hint}")]
    Refused {
        /// What it says.
        text: String,
        /// What to do, where that is known.
        hint: &'static str,
    },
    /// The password would go over the network readable by anybody.
    #[error(
        "the password would be sent unencrypted; set `security.protocol` to `sasl_ssl`, or allow it with `allow_unencrypted_login`"
    )]
    UnencryptedLogin,
    /// A setting makes no sense.
    #[error("the setting `{setting}` {reason}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
}
