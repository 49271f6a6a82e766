//! Where a message goes: its Kafka topic and, where it says so itself, its partition.

use std::fmt;
use std::sync::Arc;

use outbox_core::{DeliveryError, Message};

/// The header by which a message names its partition; it is not sent on.
pub const PARTITION_HEADER: &str = "kafka-partition";

/// How the Kafka topic of a message is found.
#[derive(Clone)]
pub(crate) enum Routing {
    Same,
    Prefix(String),
    By(Arc<dyn Fn(&Message) -> String + Send + Sync>),
}

impl fmt::Debug for Routing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same => f.write_str("Same"),
            Self::Prefix(prefix) => f.debug_tuple("Prefix").field(prefix).finish(),
            Self::By(_) => f.write_str("By(…)"),
        }
    }
}

/// A topic, and a partition where the key does not choose it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) topic: String,
    pub(crate) partition: Option<i32>,
}

impl Routing {
    /// Where `message` goes; the error is for good.
    pub(crate) fn of(&self, message: &Message) -> Result<Destination, DeliveryError> {
        let topic = match self {
            Self::Same => message.topic.clone(),
            Self::Prefix(prefix) => format!("{prefix}{}", message.topic),
            Self::By(topic) => topic(message),
        };
        if !is_topic(&topic) {
            return Err(DeliveryError::new(
                "the topic is no name for a Kafka topic (1 to 249 of a-z A-Z 0-9 . _ -); map it with `topic_by`",
            ));
        }
        let partition = match message.headers.get(PARTITION_HEADER) {
            None => None,
            Some(text) => match text.parse::<i32>() {
                Ok(number) if number >= 0 => Some(number),
                _ => return Err(DeliveryError::new("the header `kafka-partition` is no partition number")),
            },
        };
        Ok(Destination { topic, partition })
    }
}

/// Kafka's rule for names of topics (`org.apache.kafka.common.internals.Topic`).
fn is_topic(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !name.is_empty() && name.len() <= 249 && name != "." && name != ".." && name.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use outbox_core::{Bytes, MessageId};

    use super::*;

    fn message(topic: &str) -> Message {
        Message::new(MessageId::generate(), topic, Bytes::new())
    }

    #[test]
    fn the_topic_is_the_same_prefixed_or_chosen() {
        let by = Routing::By(Arc::new(|message: &Message| message.topic.replace('/', ".")));
        for (routing, topic, expected) in [
            (Routing::Same, "orders", "orders"),
            (Routing::Prefix("prod.".to_owned()), "orders", "prod.orders"),
            (by, "shop/orders", "shop.orders"),
        ] {
            let destination = routing.of(&message(topic)).expect("a topic");
            assert_eq!((destination.topic.as_str(), destination.partition), (expected, None));
        }
    }

    #[test]
    fn a_name_that_kafka_would_refuse_is_an_error_here() {
        let long = "x".repeat(250);
        for topic in ["", ".", "..", "a/b", "a b", "größe", &long] {
            assert!(Routing::Same.of(&message(topic)).is_err(), "{topic:?}");
        }
    }

    #[test]
    fn a_header_chooses_the_partition() {
        for (value, expected) in
            [("0", Ok(0)), ("17", Ok(17)), ("-1", Err(())), ("two", Err(())), ("", Err(()))]
        {
            let mut message = message("orders");
            message.headers.insert(PARTITION_HEADER, value);
            let partition = Routing::Same.of(&message).map(|to| to.partition.expect("chosen")).map_err(drop);
            assert_eq!(partition, expected, "{value:?}");
        }
    }
}
