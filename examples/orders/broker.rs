//! The broker: the one of `KAFKA_BROKERS`, or a small one inside this process that forgets everything with it.

use anyhow::{Context, Result};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use crate::messages::topic;

/// Partitions of each topic on the development broker.
const PARTITIONS: i32 = 4;

/// Where Kafka is.
pub struct Broker {
    /// `host:port`, separated by commas.
    pub address: String,
    /// The development broker, which lives as long as this.
    pub own: Option<MockCluster<'static, DefaultProducerContext>>,
}

impl Broker {
    /// The brokers at `address`, or the development broker with the topics, their names begun with `prefix`.
    pub fn at(address: Option<String>, prefix: &str) -> Result<Self> {
        if let Some(address) = address {
            return Ok(Self { address, own: None });
        }
        let own = MockCluster::new(1).context("cannot start the development broker")?;
        for topic in topic::ALL {
            own.create_topic(&format!("{prefix}{topic}"), PARTITIONS, 1).context("cannot create a topic")?;
        }
        Ok(Self { address: own.bootstrap_servers(), own: Some(own) })
    }
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("address", &self.address).finish_non_exhaustive()
    }
}
