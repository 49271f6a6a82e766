//! Clusters that answer, but take longer to be found than a batch may take.

use std::time::Duration;

use outbox_transport_kafka::rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::cluster::Cluster;
use crate::support::{Kind, deliver, error, kind, message};

/// The connection, the cluster, the topic and its leader are asked for one after another, and each batch comes too early.
/// At 1.2 s a round trip they are found in the middle of the third batch's time. With a round trip of which the batch's
/// end is a multiple, they are found when that time is over, again and again, and each such batch is in doubt.
#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_are_slow_to_greet_are_found_although_no_batch_waits_so_long() {
    let cluster = Cluster::start(1);
    cluster.topic("t", 1);
    cluster.act(|mock| mock.broker_round_trip_time(1, Duration::from_millis(1_200))).expect("slow");
    let transport = cluster.transport().build().expect("a transport");
    let messages = [message("t", Some("a"))];
    let (mut too_early, mut doubted) = (0, false);
    loop {
        let outcomes = deliver(&transport, &messages).await;
        match kind(&outcomes[0]) {
            Kind::Delivered => break,
            Kind::Unavailable => too_early += 1,
            // A busy machine may find them so late that the record has left, by the client's own word. Not again and again.
            Kind::Ambiguous if !doubted && error(&outcomes[0]).contains("Purged in flight") => {
                doubted = true;
                too_early += 1;
            }
            _ => panic!("nothing was sent: {outcomes:?}"),
        }
        assert!(too_early < 10, "they are never found: {outcomes:?}, {:?}", transport.health());
    }
    assert!(too_early > 0, "they were found at once, and nothing is tested");
}

/// A broker that has no numbers for producers yet, as while it starts: the records wait in the producer.
#[tokio::test(flavor = "multi_thread")]
async fn why_nothing_goes_out_is_told_when_the_brokers_give_no_number_to_the_producer() {
    let cluster = Cluster::start(1);
    cluster.topic("t", 1);
    let loading = RDKafkaRespErr::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS;
    cluster.act(move |mock| mock.request_errors(RDKafkaApiKey::InitProducerId, &[loading; 1_000]));
    let transport = cluster.transport().build().expect("a transport");
    let messages = [message("t", Some("a"))];
    let outcomes = deliver(&transport, &messages).await;
    assert_eq!(kind(&outcomes[0]), Kind::Unavailable, "{outcomes:?}");
    assert!(error(&outcomes[0]).contains("Failed to acquire idempotence PID"), "{outcomes:?}");
    cluster.act(|mock| mock.clear_request_errors(RDKafkaApiKey::InitProducerId));
    let outcomes = deliver(&transport, &messages).await;
    assert_eq!(kind(&outcomes[0]), Kind::Delivered, "{outcomes:?}");
}
