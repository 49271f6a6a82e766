//! [`Cluster`]: a mock cluster on a thread of its own.

use std::sync::mpsc;
use std::thread::JoinHandle;

use outbox_transport_kafka::KafkaTransportBuilder;
use outbox_transport_kafka::rdkafka::mocking::MockCluster;
use outbox_transport_kafka::rdkafka::producer::DefaultProducerContext;

type Mock = MockCluster<'static, DefaultProducerContext>;
type Act = Box<dyn FnOnce(&Mock) + Send>;

/// Brokers that live as long as this value.
pub(crate) struct Cluster {
    pub(crate) brokers: String,
    acts: Option<mpsc::Sender<Act>>,
    thread: Option<JoinHandle<()>>,
}

impl Cluster {
    /// A cluster of `brokers` brokers. The mock stays on its thread, since it may not move.
    pub(crate) fn start(brokers: i32) -> Self {
        let (acts, todo) = mpsc::channel::<Act>();
        let (told, address) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mock = MockCluster::new(brokers).expect("a mock cluster");
            told.send(mock.bootstrap_servers()).expect("somebody waits");
            for act in todo {
                act(&mock);
            }
        });
        let brokers = address.recv().expect("the address of the mock");
        Self { brokers, acts: Some(acts), thread: Some(thread) }
    }

    /// Acts on the mock, and answers when that is done.
    pub(crate) fn act<T: Send + 'static>(&self, act: impl FnOnce(&Mock) -> T + Send + 'static) -> T {
        let (told, answer) = mpsc::channel();
        let act: Act = Box::new(move |mock| told.send(act(mock)).expect("somebody waits"));
        self.acts.as_ref().expect("it lives").send(act).expect("the mock lives");
        answer.recv().expect("the mock acts")
    }

    pub(crate) fn topic(&self, topic: &'static str, partitions: i32) {
        self.act(move |mock| mock.create_topic(topic, partitions, 1)).expect("a topic");
    }

    /// A transport to it that gives up soon.
    pub(crate) fn transport(&self) -> KafkaTransportBuilder {
        outbox_transport_kafka::KafkaTransport::builder()
            .brokers(&self.brokers)
            .property("reconnect.backoff.max.ms", "200")
            .property("topic.metadata.propagation.max.ms", "300")
            .delivery_timeout(std::time::Duration::from_secs(3))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.acts = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
