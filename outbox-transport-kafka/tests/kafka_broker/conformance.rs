//! The suite that every transport passes, against a broker of Apache Kafka.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use outbox_core::conformance::TransportFixture;
use outbox_core::{Message, MessageId, async_trait, transport_conformance};
use outbox_transport_kafka::KafkaTransport;

use crate::gate::Gate;
use crate::support::{Broker, Listener, Reader, free_ports, message};

transport_conformance!(Kafka, needs "Apache Kafka; scripts/test runs it");

/// One broker for all checks, with a gate for each that runs.
struct Gated {
    broker: Broker,
    free: Mutex<Vec<Gate>>,
}

static GATED: LazyLock<Gated> = LazyLock::new(|| {
    let ports: [u16; 16] = free_ports();
    let gates: Vec<Gate> = ports.into_iter().map(Gate::before).collect();
    let listener = |(n, (port, gate)): (usize, (&u16, &Gate))| Listener {
        name: format!("GATE{n}"),
        protocol: "PLAINTEXT",
        port: *port,
        named: format!("127.0.0.1:{}", gate.port),
    };
    let further: Vec<Listener> = ports.iter().zip(&gates).enumerate().map(listener).collect();
    Gated { broker: Broker::start_with(&further, "", &[]), free: Mutex::new(gates) }
});

/// A topic that takes everything, one that takes only tiny records, and one that does not exist.
struct Kafka {
    transport: KafkaTransport,
    reader: Mutex<Reader>,
    will: Arc<Mutex<Will>>,
    gate: Option<Gate>,
}

#[derive(Default)]
struct Will {
    refuse: HashSet<MessageId>,
    fail: HashSet<MessageId>,
}

#[async_trait]
impl TransportFixture for Kafka {
    type Transport = KafkaTransport;

    async fn fresh() -> Self {
        let Gated { broker, free } = tokio::task::block_in_place(|| &*GATED);
        let gate = free.lock().expect("no panic").pop().expect("more gates than checks");
        let name = MessageId::generate();
        let [good, small, missing] = ["good", "small", "missing"].map(|topic| format!("{topic}-{name}"));
        broker.topic(&good, 3, &[]).await;
        broker.topic(&small, 1, &[("max.message.bytes", "100")]).await;
        let reader = Mutex::new(Reader::new(&broker.brokers, &[&good, &small]));
        let will = Arc::new(Mutex::new(Will::default()));
        let told = Arc::clone(&will);
        let route = move |message: &Message| {
            let will = told.lock().expect("no panic");
            if will.refuse.contains(&message.id) {
                small.clone()
            } else if will.fail.contains(&message.id) {
                missing.clone()
            } else {
                good.clone()
            }
        };
        let transport = KafkaTransport::builder()
            .brokers(format!("127.0.0.1:{}", gate.port))
            .property("reconnect.backoff.max.ms", "200")
            .property("topic.metadata.propagation.max.ms", "1000")
            .delivery_timeout(Duration::from_secs(15))
            .topic_by(route)
            .build()
            .expect("a transport");
        Self { transport, reader, will, gate: Some(gate) }
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
        self.gate.as_ref().expect("until it is dropped").close();
    }

    async fn resume(&self) {
        self.gate.as_ref().expect("until it is dropped").open();
    }

    async fn arrived(&self) -> Vec<MessageId> {
        let read =
            || self.reader.lock().expect("no panic").arrived().iter().map(|record| record.id()).collect();
        tokio::task::block_in_place(read)
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        let gate = self.gate.take().expect("dropped once");
        gate.open();
        GATED.free.lock().expect("no panic").push(gate);
    }
}
