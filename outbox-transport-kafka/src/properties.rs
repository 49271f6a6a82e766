//! The properties of librdkafka: what this transport sets, and what it refuses.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};

use crate::config_error::ConfigError;

/// What is set unless the user sets it.
const DEFAULTS: &[(&str, &str)] = &[
    ("client.id", "outbox"),
    // Keys go where the Java client would send them; librdkafka's own default is another hash.
    ("partitioner", "murmur2_random"),
    ("compression.type", "lz4"),
    ("linger.ms", "2"),
    ("socket.keepalive.enable", "true"),
    // After an outage the brokers are found again soon.
    ("reconnect.backoff.max.ms", "2000"),
    // A topic that is missing is told well within the delivery timeout.
    ("topic.metadata.propagation.max.ms", "3000"),
];

/// What is always so: the promises of the transport rest on it.
const FIXED: &[(&str, &str)] = &[
    ("enable.idempotence", "true"),
    ("acks", "all"),
    // A set of records that the broker refuses ends the producer, so that no later one passes it.
    ("enable.gapless.guarantee", "true"),
    // How much was sent, told often enough to say of what was taken back whether it had left.
    ("statistics.interval.ms", "500"),
];

/// Other names for the same property.
const ALIASES: &[(&str, &str)] = &[
    ("metadata.broker.list", "bootstrap.servers"),
    ("max.in.flight.requests.per.connection", "max.in.flight"),
    ("queue.buffering.max.ms", "linger.ms"),
    ("message.send.max.retries", "retries"),
    ("request.required.acks", "acks"),
    ("delivery.timeout.ms", "message.timeout.ms"),
    ("compression.codec", "compression.type"),
    ("sasl.mechanism", "sasl.mechanisms"),
];

/// librdkafka's own timeout of a message comes after ours, which ends a batch as a whole: it is for a process that
/// was stopped and wakes when somebody else may own its messages.
const AFTER_OURS: Duration = Duration::from_secs(2);

/// The name that stands for all names of a property.
pub(crate) fn canonical(name: &str) -> &str {
    ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, canonical)| canonical)
}

/// The user's properties with the defaults added, ready for a producer.
pub(crate) fn checked(
    given: &BTreeMap<String, String>,
    delivery_timeout: Duration,
    allow_unencrypted_login: bool,
) -> Result<ClientConfig, ConfigError> {
    for (name, value) in given {
        if let Some(reason) = refusal(name, value) {
            return Err(ConfigError::Property { name: name.clone(), reason });
        }
    }
    if given.get("bootstrap.servers").is_none_or(|brokers| brokers.trim().is_empty()) {
        return Err(ConfigError::NoBrokers);
    }
    let secures = |name: &&String| name.starts_with("ssl.") || name.starts_with("sasl.");
    if !given.contains_key("security.protocol")
        && let Some(name) = given.keys().find(secures)
    {
        let reason =
            "without `security.protocol` there is neither TLS nor a login; set it to `ssl` or `sasl_ssl`";
        return Err(ConfigError::Property { name: name.clone(), reason });
    }
    let is =
        |name: &str, wanted: &str| given.get(name).is_some_and(|value| value.eq_ignore_ascii_case(wanted));
    if is("security.protocol", "sasl_plaintext") && is("sasl.mechanisms", "PLAIN") && !allow_unencrypted_login
    {
        return Err(ConfigError::UnencryptedLogin);
    }
    let mut config = ClientConfig::new();
    for (name, value) in DEFAULTS {
        config.set(*name, *value);
    }
    for (name, value) in given {
        config.set(name, value);
    }
    for (name, value) in FIXED {
        config.set(*name, *value);
    }
    config.set("message.timeout.ms", (delivery_timeout + AFTER_OURS).as_millis().to_string());
    // Which requests were left without an answer is told at this level only.
    let debug = given.get("debug").map(|contexts| contexts.trim()).filter(|contexts| !contexts.is_empty());
    config.set("debug", debug.map_or("broker".to_owned(), |contexts| format!("{contexts},broker")));
    config.set_log_level(RDKafkaLogLevel::Debug);
    Ok(config)
}

/// Why `name` cannot be set to `value`.
fn refusal(name: &str, value: &str) -> Option<&'static str> {
    let value = value.trim().to_ascii_lowercase();
    match name {
        "enable.idempotence" if !is_true(&value) => {
            Some("without it a retry can write a record twice and pass an earlier one; leave it out")
        }
        "enable.gapless.guarantee" if !is_true(&value) => {
            Some("without it a later message passes one of its key that was refused; leave it out")
        }
        "acks" if value != "all" && value != "-1" => {
            Some("a record that not all replicas in sync have can still be lost; leave it out")
        }
        "partitioner" if value == "random" => {
            Some("messages of one key would go to several partitions, which keep no order between them")
        }
        "message.timeout.ms" => Some("use `delivery_timeout`, after which a batch ends as a whole"),
        "retries" => Some("the delivery timeout alone limits how long a record is tried; leave it out"),
        "statistics.interval.ms" => Some("use `statistics`, which takes the interval and what to call"),
        "client.id" if value.contains(['"', '\\']) || value.contains(char::is_control) => Some(
            "librdkafka writes it into its statistics as it is, and they could not be read; use plain text",
        ),
        "transactional.id" => Some("the transport makes no Kafka transactions; leave it out"),
        "test.mock.num.brokers" => {
            Some("each producer would get brokers of its own; start a `MockCluster` and give its address")
        }
        _ => None,
    }
}

fn is_true(value: &str) -> bool {
    matches!(value, "true" | "t" | "1")
}

/// What `text`, an error of librdkafka, asks for, where a feature of this crate brings it that is not enabled.
pub(crate) fn hint(text: &str) -> &'static str {
    let text = text.to_ascii_lowercase();
    if text.contains("zstd") && !cfg!(feature = "zstd") {
        "; enable the feature `zstd` (`kafka-zstd` of the crate `outbox`)"
    } else if text.contains("sasl")
        && (text.contains("gssapi") || text.contains("kerberos"))
        && !cfg!(feature = "sasl")
    {
        "; set `sasl.mechanism`, which is GSSAPI (Kerberos) unless set, or enable the feature `sasl` (`kafka-sasl` of the \
         crate `outbox`)"
    } else if ["ssl", "sasl", "scram"].iter().any(|part| text.contains(part)) && !cfg!(feature = "ssl") {
        "; enable the feature `ssl` (`kafka-ssl` of the crate `outbox`)"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(properties: &[(&str, &str)]) -> Result<ClientConfig, ConfigError> {
        let mut given = BTreeMap::from([("bootstrap.servers".to_owned(), "localhost:9092".to_owned())]);
        given
            .extend(properties.iter().map(|(name, value)| (canonical(name).to_owned(), (*value).to_owned())));
        checked(&given, Duration::from_secs(15), false)
    }

    #[test]
    fn the_defaults_are_safe() {
        let config = check(&[]).expect("valid");
        for (name, expected) in [
            ("enable.idempotence", "true"),
            ("enable.gapless.guarantee", "true"),
            ("acks", "all"),
            ("partitioner", "murmur2_random"),
            ("message.timeout.ms", "17000"),
        ] {
            assert_eq!(config.get(name), Some(expected), "{name}");
        }
        config.create_native_config().expect("librdkafka knows each of them");
    }

    #[test]
    fn what_is_set_wins_over_the_defaults_and_other_names_are_the_same_property() {
        let config =
            check(&[("queue.buffering.max.ms", "50"), ("compression.codec", "gzip")]).expect("valid");
        assert_eq!(config.get("linger.ms"), Some("50"));
        assert_eq!(config.get("compression.type"), Some("gzip"));
        check(&[("acks", "-1"), ("enable.idempotence", "True")]).expect("the same as the defaults");
    }

    #[test]
    fn what_would_break_a_promise_is_refused_with_the_reason() {
        for (name, value, reason) in [
            ("enable.idempotence", "false", "twice"),
            ("enable.gapless.guarantee", "0", "passes"),
            ("acks", "1", "lost"),
            ("request.required.acks", "0", "lost"),
            ("partitioner", "random", "partitions"),
            ("message.timeout.ms", "300000", "delivery_timeout"),
            ("delivery.timeout.ms", "300000", "delivery_timeout"),
            ("retries", "3", "timeout"),
            ("client.id", "the \"shop\"", "plain text"),
            ("transactional.id", "orders", "transactions"),
            ("statistics.interval.ms", "1000", "statistics"),
            ("test.mock.num.brokers", "1", "MockCluster"),
        ] {
            let error = check(&[(name, value)]).expect_err(name).to_string();
            assert!(error.contains(canonical(name)) && error.contains(reason), "{name}: {error}");
        }
    }

    #[test]
    fn what_is_for_tls_or_a_login_is_refused_where_neither_would_be() {
        for (name, value) in [("ssl.ca.location", "/ca.pem"), ("sasl.username", "alice")] {
            let error = check(&[(name, value)]).expect_err(name).to_string();
            assert!(error.contains(name) && error.contains("security.protocol"), "{error}");
            check(&[(name, value), ("security.protocol", "plaintext")]).expect("that was said");
        }
    }

    #[test]
    fn a_password_is_not_sent_unencrypted_unless_that_is_allowed() {
        let plain = [("security.protocol", "SASL_PLAINTEXT"), ("sasl.mechanism", "PLAIN")];
        assert_eq!(check(&plain).expect_err("refused"), ConfigError::UnencryptedLogin);
        let scram = [("security.protocol", "sasl_plaintext"), ("sasl.mechanism", "SCRAM-SHA-512")];
        check(&scram).expect("SCRAM does not send the password");
    }
}
