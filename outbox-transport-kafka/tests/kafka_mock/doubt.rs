//! What librdkafka reports too well or too badly of a record that may have been appended.

use std::time::Duration;

use outbox_core::{Message, Outcome};
use outbox_transport_kafka::rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::cluster::Cluster;
use crate::support::{Kind, Reader, deliver, kinds, message};

/// How many of `messages` are in `t`, of each.
fn copies(cluster: &Cluster, messages: &[Message]) -> Vec<usize> {
    let mut reader = Reader::new(&cluster.brokers, &["t"]);
    let arrived = tokio::task::block_in_place(|| reader.arrived().to_vec());
    messages.iter().map(|message| arrived.iter().filter(|record| record.id() == message.id).count()).collect()
}

/// A broker that does not know the producer yet takes the second set although it refused the first. librdkafka then
/// reports the first as acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_a_later_one_has_passed_is_not_taken_for_acknowledged() {
    let cluster = Cluster::start(1);
    cluster.topic("t", 1);
    let transport = cluster
        .transport()
        .property("batch.num.messages", "1")
        .property("linger.ms", "0")
        .build()
        .expect("a transport");
    assert_eq!(kinds(&deliver(&transport, &[message("t", None)]).await), [Kind::Delivered]);
    // Several are on their way before the first is answered.
    cluster.act(|mock| mock.broker_round_trip_time(1, Duration::from_millis(50))).expect("slower");
    let moved = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION;
    cluster.act(move |mock| mock.request_errors(RDKafkaApiKey::Produce, &[moved]));
    let messages: Vec<Message> = (0..4).map(|n| message("t", Some(["a", "b", "c", "d"][n]))).collect();
    let outcomes = deliver(&transport, &messages).await;
    let copies = copies(&cluster, &messages);
    for ((message, outcome), copies) in messages.iter().zip(&outcomes).zip(copies) {
        let delivered = matches!(outcome, Outcome::Delivered { .. });
        assert!(!delivered || copies == 1, "{copies} of {:?}: {outcomes:?}", message.key);
    }
    assert_eq!(kinds(&outcomes)[0], Kind::Ambiguous, "{outcomes:?}");
    assert_eq!(transport.health().producers, 1, "the producer goes on");
}
