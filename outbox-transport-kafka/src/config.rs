//! [`KafkaTransportBuilder`]: how the cluster is reached and what records look like, checked once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use outbox_core::Message;
use rdkafka::Statistics;
use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::BaseProducer;

use crate::KafkaTransport;
use crate::config_error::ConfigError;
use crate::destination::Routing;
use crate::properties::{canonical, checked, hint};
use crate::value::ValueFormat;

pub(crate) type StatisticsHook = Arc<dyn Fn(&Statistics) + Send + Sync>;

/// Builds a [`KafkaTransport`].
#[must_use = "nothing is sent until the transport is built and routed to"]
pub struct KafkaTransportBuilder {
    properties: BTreeMap<String, String>,
    routing: Routing,
    value: ValueFormat,
    tombstones: bool,
    delivery_timeout: Duration,
    statistics: Option<(Duration, StatisticsHook)>,
    allow_unencrypted_login: bool,
}

/// How the cluster is reached and what records look like, checked.
pub(crate) struct Config {
    pub(crate) client: ClientConfig,
    pub(crate) routing: Routing,
    pub(crate) value: ValueFormat,
    pub(crate) tombstones: bool,
    pub(crate) delivery_timeout: Duration,
    pub(crate) statistics: Option<(Duration, StatisticsHook)>,
}

impl KafkaTransportBuilder {
    pub(crate) fn new() -> Self {
        Self {
            properties: BTreeMap::new(),
            routing: Routing::Same,
            value: ValueFormat::Payload,
            tombstones: true,
            delivery_timeout: Duration::from_secs(15),
            statistics: None,
            allow_unencrypted_login: false,
        }
    }

    /// Some brokers of the cluster, to find the others by: `host:port`, separated by commas.
    pub fn brokers(self, brokers: impl Into<String>) -> Self {
        self.property("bootstrap.servers", brokers)
    }

    /// Sets any [property of librdkafka](https://github.com/confluentinc/librdkafka/blob/v2.12.1/CONFIGURATION.md),
    /// such as `security.protocol`, `sasl.username` or `linger.ms`. A few that would break a promise are refused.
    pub fn property(mut self, name: impl AsRef<str>, value: impl Into<String>) -> Self {
        self.properties.insert(canonical(name.as_ref().trim()).to_owned(), value.into());
        self
    }

    /// Sets many properties, as read from a file.
    pub fn properties<N: AsRef<str>, V: Into<String>>(
        self,
        properties: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        properties.into_iter().fold(self, |builder, (name, value)| builder.property(name, value))
    }

    /// Puts `prefix` before the message's topic. Unless this or [`topic_by`](Self::topic_by) is set, the Kafka topic
    /// is the message's.
    pub fn topic_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.routing = Routing::Prefix(prefix.into());
        self
    }

    /// Chooses the Kafka topic of each message. It must answer the same for the same message. Messages of one key
    /// that go to different topics follow one another: the next goes when the one before is acknowledged.
    pub fn topic_by(mut self, topic: impl Fn(&Message) -> String + Send + Sync + 'static) -> Self {
        self.routing = Routing::By(Arc::new(topic));
        self
    }

    /// What the value of a record is; the payload as it is, unless set.
    pub fn value(mut self, format: ValueFormat) -> Self {
        self.value = format;
        self
    }

    /// Whether a message with a key and an empty payload becomes a tombstone, a record without a value, by which a
    /// compacted topic forgets the key: yes, unless set.
    pub fn tombstones(mut self, yes: bool) -> Self {
        self.tombstones = yes;
        self
    }

    /// How long a batch may take until the brokers have acknowledged it: 15 s unless set. What is not acknowledged by
    /// then is taken back: it goes out again, or is in doubt if it was on its way.
    ///
    /// Keep it well below the dispatcher's [`lease`](outbox_core::Settings::lease), at half of it or less: then a
    /// process that was stopped and wakes finds its records too old to be sent. Keep it well above ten round trips to the
    /// brokers, too: to find them takes about seven, and a first record that leaves when its time is nearly over is in
    /// doubt.
    pub fn delivery_timeout(mut self, timeout: Duration) -> Self {
        self.delivery_timeout = timeout;
        self
    }

    /// Calls `hook` with librdkafka's statistics about every `interval` (half a second or more), for metrics. It is
    /// called by the thread that also hears the acknowledgements, so it must be quick.
    pub fn statistics(
        mut self,
        interval: Duration,
        hook: impl Fn(&Statistics) + Send + Sync + 'static,
    ) -> Self {
        self.statistics = Some((interval, Arc::new(hook)));
        self
    }

    /// Allows SASL `PLAIN` over a connection that is not encrypted, where anybody in between can read the password.
    pub fn allow_unencrypted_login(mut self, allow: bool) -> Self {
        self.allow_unencrypted_login = allow;
        self
    }

    /// The transport. Connects to nothing yet; [`KafkaTransport::check`] does.
    ///
    /// # Errors
    /// [`ConfigError`] says which property or setting is wrong, and why.
    pub fn build(self) -> Result<KafkaTransport, ConfigError> {
        self.check().map(KafkaTransport::with)
    }

    fn check(self) -> Result<Config, ConfigError> {
        let refuse = |setting, reason| Err(ConfigError::Setting { setting, reason });
        if self.delivery_timeout < Duration::from_millis(100)
            || self.delivery_timeout > Duration::from_secs(3600)
        {
            return refuse("delivery_timeout", "must be between 100 ms and an hour");
        }
        if self.statistics.as_ref().is_some_and(|(interval, _)| *interval < Duration::from_millis(500)) {
            return refuse("statistics", "needs an interval of half a second or more");
        }
        if let ValueFormat::CloudEvents { source } | ValueFormat::StructuredCloudEvents { source } =
            &self.value
            && (source.trim().is_empty() || source.chars().any(|c| c.is_control() || c.is_whitespace()))
        {
            return refuse(
                "value",
                "needs a source for CloudEvents: a URI such as https://example.org/orders",
            );
        }
        let client = checked(&self.properties, self.delivery_timeout, self.allow_unencrypted_login)?;
        try_out(&client)?;
        Ok(Config {
            client,
            routing: self.routing,
            value: self.value,
            tombstones: self.tombstones,
            delivery_timeout: self.delivery_timeout,
            statistics: self.statistics,
        })
    }
}

/// Lets librdkafka check the properties, also against each other, by a producer that knows no broker.
fn try_out(client: &ClientConfig) -> Result<(), ConfigError> {
    let mut alone = client.clone();
    alone.remove("bootstrap.servers");
    alone.create::<BaseProducer>().map(drop).map_err(|error| {
        let text = match error {
            KafkaError::ClientConfig(_, text, name, _) => {
                let secret =
                    ["password", "secret", "key", "pem", "token"].iter().any(|part| name.contains(part));
                if secret { format!("the value of `{name}`") } else { text }
            }
            KafkaError::ClientCreation(text) => text,
            other => other.to_string(),
        };
        let hint = hint(&text);
        ConfigError::Refused { text, hint }
    })
}

/// Shows no value of a property but the brokers.
impl fmt::Debug for KafkaTransportBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaTransportBuilder")
            .field("brokers", &self.properties.get("bootstrap.servers"))
            .field("properties", &self.properties.keys())
            .field("routing", &self.routing)
            .field("value", &self.value)
            .field("delivery_timeout", &self.delivery_timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder() -> KafkaTransportBuilder {
        KafkaTransportBuilder::new().brokers("localhost:9092")
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let rows = [
            (KafkaTransportBuilder::new(), "no broker"),
            (builder().brokers(" "), "no broker"),
            (builder().delivery_timeout(Duration::ZERO), "delivery_timeout"),
            (builder().delivery_timeout(Duration::MAX), "delivery_timeout"),
            (builder().statistics(Duration::from_millis(1), |_| {}), "statistics"),
            (builder().value(ValueFormat::CloudEvents { source: String::new() }), "source"),
            (builder().property("no.such.property", "1"), "no.such.property"),
            (builder().property("compression.type", "paper"), "paper"),
            (builder().property("linger.ms", "600000"), "linger.ms"),
            (builder().property("max.in.flight", "100"), "max.in.flight"),
            (builder().property("acks", "1"), "acks"),
        ];
        for (builder, reason) in rows {
            let error = builder.build().expect_err(reason).to_string();
            assert!(error.contains(reason), "{reason:?} is not in: {error}");
        }
    }

    #[cfg(not(feature = "ssl"))]
    #[test]
    fn tls_without_its_feature_is_refused_and_names_the_feature() {
        let error =
            builder().property("security.protocol", "ssl").build().expect_err("not built in").to_string();
        assert!(error.contains("feature `ssl`"), "{error}");
    }

    #[test]
    fn a_debug_print_shows_no_login() {
        let builder = builder().property("sasl.username", "someone").property("sasl.password", "hidden");
        let shown = format!("{builder:?}");
        assert!(shown.contains("localhost:9092") && shown.contains("sasl.password"), "{shown}");
        assert!(!shown.contains("someone") && !shown.contains("hidden"), "{shown}");
    }
}
