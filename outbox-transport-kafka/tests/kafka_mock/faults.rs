//! A dispatcher at work while one request in a hundred fails.
//!
//! Connections are cut in the tests with the real broker: of a set that it took before the cut, the mock takes the retry
//! as well, which a broker recognises by its sequence.

use std::time::Duration;

use outbox_transport_kafka::rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::cluster::Cluster;
use crate::support::{Reader, Story};

#[tokio::test(flavor = "multi_thread")]
async fn one_failing_request_in_a_hundred_loses_nothing_and_keeps_the_order_of_each_key() {
    use RDKafkaRespErr::{
        RD_KAFKA_RESP_ERR_INVALID_RECORD as REFUSED, RD_KAFKA_RESP_ERR_NO_ERROR as FINE,
        RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS as TOO_FEW,
        RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND as APPENDED,
        RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION as MOVED, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT as SLOW,
    };
    let cluster = Cluster::start(3);
    cluster.topic("orders", 4);
    let mut errors = Vec::new();
    for fault in [MOVED, TOO_FEW, SLOW, REFUSED, APPENDED, MOVED] {
        errors.extend([FINE; 40]);
        errors.push(fault);
        errors.extend([FINE; 59]);
    }
    cluster.act(move |mock| mock.request_errors(RDKafkaApiKey::Produce, &errors));
    let mut story = Story::new();
    let transport =
        cluster.transport().delivery_timeout(Duration::from_secs(10)).build().expect("a transport");
    let summary = story.run(transport, tokio::time::sleep(Duration::from_secs(8))).await;
    let mut reader = Reader::new(&cluster.brokers, &["orders"]);
    story.check(tokio::task::block_in_place(|| reader.arrived()), summary);
}
