//! The suite that every transport passes, against the mock.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use outbox_core::conformance::TransportFixture;
use outbox_core::{Message, MessageId, async_trait, transport_conformance};
use outbox_transport_kafka::KafkaTransport;
use outbox_transport_kafka::rdkafka::types::RDKafkaRespErr;

use crate::cluster::Cluster;
use crate::support::{Reader, message};

transport_conformance!(Mock);

/// A broker with a topic that takes everything and one that does not exist. The mock refuses no record of one topic, so
/// here what is refused has a topic that Kafka cannot have.
struct Mock {
    transport: KafkaTransport,
    cluster: Cluster,
    reader: Mutex<Reader>,
    will: Arc<Mutex<Will>>,
}

#[derive(Default)]
struct Will {
    refuse: HashSet<MessageId>,
    fail: HashSet<MessageId>,
    stopped: bool,
}

#[async_trait]
impl TransportFixture for Mock {
    type Transport = KafkaTransport;

    async fn fresh() -> Self {
        let cluster = Cluster::start(1);
        cluster.topic("good", 3);
        let unknown = RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        cluster.act(move |mock| mock.topic_error("missing", unknown)).expect("a topic that is missing");
        let will = Arc::new(Mutex::new(Will::default()));
        let told = Arc::clone(&will);
        let route = move |message: &Message| {
            let will = told.lock().expect("no panic");
            if will.refuse.contains(&message.id) {
                "no/topic".to_owned()
            } else if will.fail.contains(&message.id) {
                "missing".to_owned()
            } else {
                "good".to_owned()
            }
        };
        let transport = cluster.transport().topic_by(route).build().expect("a transport");
        let reader = Mutex::new(Reader::new(&cluster.brokers, &["good"]));
        Self { transport, cluster, reader, will }
    }

    fn transport(&self) -> &KafkaTransport {
        &self.transport
    }

    fn message(&self, key: Option<&str>) -> Message {
        message("topic", key)
    }

    async fn refuse(&self, message: &Message) {
        self.will.lock().expect("no panic").refuse.insert(message.id);
    }

    async fn fail(&self, message: &Message) {
        self.will.lock().expect("no panic").fail.insert(message.id);
    }

    async fn stop(&self) {
        self.will.lock().expect("no panic").stopped = true;
        self.cluster.act(|mock| mock.broker_down(1)).expect("down");
    }

    async fn resume(&self) {
        self.will.lock().expect("no panic").stopped = false;
        self.cluster.act(|mock| mock.broker_up(1)).expect("up");
    }

    async fn arrived(&self) -> Vec<MessageId> {
        let stopped = self.will.lock().expect("no panic").stopped;
        if stopped {
            self.cluster.act(|mock| mock.broker_up(1)).expect("up, to be read");
        }
        let read =
            || self.reader.lock().expect("no panic").arrived().iter().map(|record| record.id()).collect();
        let ids = tokio::task::block_in_place(read);
        if stopped {
            self.cluster.act(|mock| mock.broker_down(1)).expect("down again");
        }
        ids
    }
}
