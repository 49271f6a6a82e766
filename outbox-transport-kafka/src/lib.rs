//! Outbox transport for Kafka, on [librdkafka](https://github.com/confluentinc/librdkafka).
//!
//! [`KafkaTransport`] publishes each message as a record and records its outcome when the brokers answer.
//!
//! ```no_run
//! use outbox_core::{LeasedDispatcher, MemoryOutbox, Route};
//! use outbox_transport_kafka::{KafkaTransport, ValueFormat};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let kafka = KafkaTransport::builder()
//!     .brokers("broker.example.org:9093")
//!     .property("security.protocol", "ssl") // any property of librdkafka; this one needs the feature `ssl`
//!     .topic_prefix("shop.") // the topic `orders` goes to `shop.orders`
//!     .value(ValueFormat::CloudEvents { source: "https://example.org/shop".to_owned() })
//!     .build()?;
//! let dispatcher = LeasedDispatcher::builder(MemoryOutbox::new()).route(Route::topic("orders", kafka)).build()?;
//! # let _ = dispatcher;
//! # Ok(())
//! # }
//! ```
//!
//! Through the crate `outbox` all of this is `outbox::kafka`, with the feature `kafka`; the features below are called
//! `kafka-ssl`, `kafka-sasl`, `kafka-zstd` and `kafka-cmake-build` there.
//!
//! A message chooses its partition by the header [`PARTITION_HEADER`]; otherwise its key does, as it would with the
//! Java client (murmur2). A message without a key goes anywhere.
//!
//! Every delivery of a message carries the same `outbox-id`: receivers deduplicate by it, since a record can arrive
//! twice (see [`KafkaTransport`]). [`message_of`] turns a record that a consumer got from rdkafka into a message again.
//!
//! # Building it
//!
//! librdkafka is compiled from source, which takes a C and C++ compiler and make (on Debian `build-essential`). The
//! features of this crate ask for more:
//!
//! | Feature | What it brings | What it needs (Debian) |
//! | --- | --- | --- |
//! | `ssl` | TLS, and the logins PLAIN, SCRAM and OAUTHBEARER | `libssl-dev`, `pkg-config` |
//! | `sasl` | Kerberos (GSSAPI), with `ssl` | `libsasl2-dev` besides |
//! | `zstd` | the compression `zstd`; `lz4`, the default, `gzip` and `snappy` are always there | nothing |
//! | `cmake-build` | a build with CMake instead of configure and make | `cmake`; with `ssl`, `libcurl4-openssl-dev` besides |

mod arrivals;
mod call;
mod classify;
mod config;
mod config_error;
mod counts;
mod destination;
mod health;
mod listener;
mod producer;
mod producers;
mod properties;
mod received;
mod record;
mod runs;
mod transport;
mod value;

pub use config::KafkaTransportBuilder;
pub use config_error::ConfigError;
pub use destination::PARTITION_HEADER;
pub use health::Health;
pub use received::{NoMessage, headers_of, message_of};
pub use transport::KafkaTransport;
pub use value::ValueFormat;

/// Re-exported, for [`KafkaTransportBuilder::statistics`], for the mock cluster in tests, and for consumers.
pub use rdkafka;
