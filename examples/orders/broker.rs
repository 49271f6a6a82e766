//! The broker: the one of `KAFKA_BROKERS`, or a small one inside this process that forgets everything with it.

use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use crate::messages::topic;

/// Partitions of each topic: so many consumers can share the work.
const PARTITIONS: i32 = 4;
/// How long the brokers may take to create the topics.
const PATIENCE: Duration = Duration::from_secs(10);

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

/// Creates the topics that the brokers at `address` do not have, their names begun with `prefix`.
pub async fn create_topics(address: &str, prefix: &str) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", address)
        .create()
        .context("KAFKA_BROKERS cannot be used")?;
    let names = topic::ALL.map(|topic| format!("{prefix}{topic}"));
    // As many copies as the brokers make by themselves.
    let topics = names.each_ref().map(|name| NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(-1)));
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE));
    match admin.create_topics(&topics, &options).await {
        Ok(results) => {
            for (name, code) in results.into_iter().filter_map(Result::err) {
                if code != RDKafkaErrorCode::TopicAlreadyExists {
                    tracing::warn!(topic = name, %code, "the topic cannot be created; create it yourself");
                }
            }
        }
        // Whoever may not, or a broker that cannot, may have them all the same.
        Err(error) => tracing::info!(%error, "the brokers create no topics"),
    }
    Ok(())
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("address", &self.address).finish_non_exhaustive()
    }
}
