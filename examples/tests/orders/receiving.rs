//! The consumer between the commit of its work and the word to the broker that the record is received.

use std::sync::{Arc, Mutex};

use outbox::kafka::KafkaTransport;
use outbox::{Dispatcher, LeasedDispatcher, MessageBuilder, MessageId, OutboxStore, Route, async_trait};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::sync::watch;
use uuid::Uuid;

use crate::consumer::Consumer;
use crate::database::{self, CONSUMER, Database, Transaction};
use crate::messages::topic;
use crate::orders::{Order, OrderError, Orders, Status};
use crate::program::Broker;
use crate::support::PATIENCE;
use crate::work::{Refused, Work};

/// A database that tells what the inbox answered, and may leave its caller waiting after each commit.
#[derive(Debug, Clone)]
struct Watched {
    inner: Arc<dyn Database>,
    seen: Arc<Mutex<Vec<(MessageId, bool)>>>,
    /// How many records were worked on, or found to be.
    done: watch::Sender<usize>,
    hangs: bool,
}

struct WatchedTransaction {
    inner: Box<dyn Transaction>,
    watched: Watched,
}

impl Watched {
    fn new(inner: &Arc<dyn Database>, hangs: bool) -> Self {
        Self { inner: Arc::clone(inner), seen: Arc::default(), done: watch::Sender::new(0), hangs }
    }

    fn seen(&self) -> Vec<(MessageId, bool)> {
        self.seen.lock().expect("no panic").clone()
    }
}

#[async_trait]
impl Database for Watched {
    fn name(&self) -> (&'static str, String) {
        self.inner.name()
    }

    fn store(&self) -> Arc<dyn OutboxStore> {
        self.inner.store()
    }

    async fn begin(&self) -> Result<Box<dyn Transaction>, OrderError> {
        Ok(Box::new(WatchedTransaction { inner: self.inner.begin().await?, watched: self.clone() }))
    }

    async fn work(&self, order: Uuid) -> Result<Vec<Work>, OrderError> {
        self.inner.work(order).await
    }

    async fn under_way(&self) -> Result<i64, OrderError> {
        self.inner.under_way().await
    }

    async fn refused(&self) -> Result<i64, OrderError> {
        self.inner.refused().await
    }
}

#[async_trait]
impl Transaction for WatchedTransaction {
    async fn insert(&mut self, order: &Order) -> Result<(), OrderError> {
        self.inner.insert(order).await
    }

    async fn find(&mut self, order: Uuid) -> Result<Option<Order>, OrderError> {
        self.inner.find(order).await
    }

    async fn set_status(&mut self, order: Uuid, status: Status) -> Result<(), OrderError> {
        self.inner.set_status(order, status).await
    }

    async fn publish(&mut self, order: Uuid, messages: Vec<MessageBuilder>) -> Result<(), OrderError> {
        self.inner.publish(order, messages).await
    }

    async fn first_time(&mut self, message: MessageId) -> Result<bool, OrderError> {
        let first = self.inner.first_time(message).await?;
        self.watched.seen.lock().expect("no panic").push((message, first));
        if !first {
            self.watched.done.send_modify(|done| *done += 1);
        }
        Ok(first)
    }

    async fn note(&mut self, work: &Work) -> Result<(), OrderError> {
        self.inner.note(work).await
    }

    async fn refuse(&mut self, refused: &Refused) -> Result<(), OrderError> {
        self.inner.refuse(refused).await
    }

    async fn commit(self: Box<Self>) -> Result<(), OrderError> {
        self.inner.commit().await?;
        self.watched.done.send_modify(|done| *done += 1);
        match self.watched.hangs {
            true => std::future::pending().await,
            false => Ok(()),
        }
    }
}

/// Receives until `count` records are done, and leaves the group in good order.
async fn receive(brokers: &str, database: &Watched, count: usize) {
    let consumer = Consumer::new(brokers, "", Arc::new(database.clone()), None).expect("a consumer");
    let mut done = database.done.subscribe();
    let stopped = async move { drop(done.wait_for(|done| *done >= count).await) };
    let left = tokio::time::timeout(PATIENCE, consumer.run(stopped));
    left.await.expect("the records come").expect("it leaves the group");
}

/// How many records count as received, over all topics.
async fn received(brokers: &str) -> i64 {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", CONSUMER)
        .create()
        .expect("a consumer");
    let ask = move || {
        let mut all = TopicPartitionList::new();
        for topic in topic::ALL {
            all.add_partition_range(topic, 0, 3);
        }
        let offsets = consumer.committed_offsets(all, PATIENCE).expect("it answers");
        offsets
            .elements()
            .iter()
            .map(|place| if let Offset::Offset(offset) = place.offset() { offset } else { 0 })
            .sum()
    };
    tokio::task::spawn_blocking(ask).await.expect("no panic")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_counts_as_received_only_after_its_work_is_committed() {
    let (broker, folder) = (Broker::start(), tempfile::tempdir().expect("a folder"));
    let database = database::open(None, folder.path()).await.expect("a database");
    let order = Orders::new(Arc::clone(&database)).place(Uuid::now_v7(), "Ada", 100).await.expect("placed");
    let published = database.under_way().await.expect("a count") as usize;
    let kafka = KafkaTransport::new(&broker.address).expect("a transport");
    let dispatcher = LeasedDispatcher::builder(database.store()).route(Route::prefix(topic::PREFIX, kafka));
    dispatcher.build().expect("a dispatcher").drain().await.expect("it drains");

    // The work of the first record is committed, and the consumer hears no more of it.
    let interrupted = Watched::new(&database, true);
    receive(&broker.address, &interrupted, 1).await;
    let [(first, true)] = interrupted.seen()[..] else { panic!("{:?}", interrupted.seen()) };
    assert_eq!(database.work(order).await.expect("rows").len(), 1, "its work is done");
    assert_eq!(received(&broker.address).await, 0, "and the broker does not know it");

    let again = Watched::new(&database, false);
    receive(&broker.address, &again, published).await;
    let seen = again.seen();
    assert_eq!(seen.len(), published, "{seen:?}");
    for (message, first_time) in seen {
        assert_eq!(first_time, message != first, "{message}: the inbox knows the first alone");
    }
    assert_eq!(database.work(order).await.expect("rows").len(), published, "each is worked on once");
    assert_eq!(received(&broker.address).await, published as i64, "now the broker knows of all");
}
