//! [`Consumer`]: receives at least once, and works once. The inbox remembers each message in the transaction that does
//! the work, so a record that comes again finds its work done.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use outbox::kafka::{headers_of, message_of};
use rdkafka::Message as _;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::message::BorrowedMessage;

use crate::crash::{Die, die};
use crate::database::{CONSUMER, Database};
use crate::messages::topic;
use crate::orders::OrderError;
use crate::work::{Refused, Work};

/// How long to wait before a record is tried again that the database could not take.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// One member of the consumer group. Run as many as there are partitions.
pub struct Consumer {
    kafka: StreamConsumer,
    database: Arc<dyn Database>,
    die: Option<Die>,
}

impl Consumer {
    /// Joins the group. Answers at once; records come when the group has shared its partitions out.
    pub fn new(
        brokers: &str,
        topic_prefix: &str,
        database: Arc<dyn Database>,
        die: Option<Die>,
    ) -> Result<Self> {
        let kafka: StreamConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", format!("{topic_prefix}{CONSUMER}"))
            // A group that is new starts with what is there.
            .set("auto.offset.reset", "earliest")
            // A record counts as received when its work is committed, not before; see `store_offset` below.
            .set("enable.auto.offset.store", "false")
            // A member that died is missed this much later.
            .set("session.timeout.ms", "6000")
            .set("heartbeat.interval.ms", "1000")
            .create()
            .context("KAFKA_BROKERS cannot be used")?;
        let topics = topic::ALL.map(|topic| format!("{topic_prefix}{topic}"));
        kafka.subscribe(&topics.each_ref().map(String::as_str)).context("cannot subscribe")?;
        Ok(Self { kafka, database, die })
    }

    /// Receives until `stopped`. What was received and not worked on by then comes again.
    pub async fn run(self, stopped: impl Future<Output = ()>) -> Result<()> {
        tokio::select! {
            () = self.receive() => {}
            () = stopped => {}
        }
        // Leaving the group talks to the brokers, and would block the runtime.
        tokio::task::spawn_blocking(move || drop(self.kafka)).await.context("cannot leave the group")
    }

    async fn receive(&self) {
        loop {
            match self.kafka.recv().await {
                Ok(record) => {
                    while let Err(error) = self.handle(&record).await {
                        // Going on to the next record would lose this one: wait until the database is back.
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "a record waits for the database"
                        );
                        tokio::time::sleep(TRY_AGAIN).await;
                    }
                    if let Err(error) = self.kafka.store_offset_from_message(&record) {
                        // The partition went to another member meanwhile: there the record comes again.
                        tracing::debug!(%error, "a record is received, and its partition is gone");
                    }
                }
                // The client connects again by itself.
                Err(error) => {
                    tracing::warn!(%error, "the consumer cannot receive");
                    tokio::time::sleep(TRY_AGAIN).await;
                }
            }
        }
    }

    /// Does what the record asks for, once; or keeps it for a person.
    async fn handle(&self, record: &BorrowedMessage<'_>) -> Result<(), OrderError> {
        let work = match message_of(record) {
            Ok(message) => Work::of(&message, place(record)).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let mut tx = self.database.begin().await?;
        match work {
            Ok(work) => {
                if !tx.first_time(work.message).await? {
                    tracing::info!(message = %work.message, "came again; its work is done already");
                    return Ok(());
                }
                tx.note(&work).await?;
                if self.die == Some(Die::Receiving) {
                    die("the work is written, and its transaction not committed");
                }
            }
            // The inbox does not remember it: a program that knows the type may still work on it.
            Err(why) => {
                tracing::warn!(record = place(record), why, "a record is refused, and kept");
                tx.refuse(&refused(record, why)).await?;
            }
        }
        tx.commit().await
    }
}

fn refused(record: &BorrowedMessage<'_>, why: String) -> Refused {
    Refused {
        record: place(record),
        why,
        key: record.key().map(<[u8]>::to_vec),
        headers: headers_of(record).to_json().unwrap_or_else(|| "{}".to_owned()),
        value: record.payload().unwrap_or_default().to_vec(),
    }
}

/// Where the record lies: topic, partition and offset.
fn place(record: &BorrowedMessage<'_>) -> String {
    format!("{}/{}@{}", record.topic(), record.partition(), record.offset())
}
