//! What librdkafka reports too well or too badly of a record that may have been appended.

use std::time::Duration;

use outbox_core::{Message, Outcome};
use outbox_transport_kafka::rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::cluster::Cluster;
use crate::support::{Kind, Reader, deliver, error, kinds, message};

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

/// The mock takes a record and answers so late that the connection breaks before; then the retry is refused.
async fn refused_after_it_was_appended(refusal: impl FnOnce(&Cluster)) {
    let cluster = Cluster::start(1);
    cluster.topic("t", 1);
    let transport =
        cluster.transport().delivery_timeout(Duration::from_secs(10)).build().expect("a transport");
    assert_eq!(kinds(&deliver(&transport, &[message("t", None)]).await), [Kind::Delivered]);
    cluster.act(|mock| mock.broker_round_trip_time(1, Duration::from_secs(2))).expect("slow");
    let messages = [message("t", Some("a")), message("t", Some("a"))];
    let trouble = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        cluster.act(|mock| mock.broker_down(1)).expect("down");
        refusal(&cluster);
        cluster.act(|mock| mock.broker_round_trip_time(1, Duration::ZERO)).expect("quick");
        cluster.act(|mock| mock.broker_up(1)).expect("up");
    };
    let (outcomes, ()) = tokio::join!(deliver(&transport, &messages), trouble);
    assert_eq!(kinds(&outcomes), [Kind::Ambiguous, Kind::NotSent], "{outcomes:?}");
    cluster.act(|mock| mock.clear_request_errors(RDKafkaApiKey::Produce));
    cluster
        .act(|mock| mock.topic_error("t", RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR))
        .expect("there again");
    assert_eq!(copies(&cluster, &messages), [1, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_want_of_a_right_may_have_been_appended_before_its_connection_broke() {
    let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    refused_after_it_was_appended(|cluster| {
        cluster.act(move |mock| mock.request_errors(RDKafkaApiKey::Produce, &[refusal]));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_what_it_is_may_have_been_appended_before_its_connection_broke() {
    let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD;
    refused_after_it_was_appended(|cluster| {
        cluster.act(move |mock| mock.request_errors(RDKafkaApiKey::Produce, &[refusal]));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waited_for_a_topic_that_went_away_may_have_been_appended_before_its_connection_broke() {
    let gone = RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    refused_after_it_was_appended(|cluster| {
        cluster.act(move |mock| mock.topic_error("t", gone)).expect("gone");
        cluster.act(move |mock| mock.request_errors(RDKafkaApiKey::Produce, &[gone; 100]));
    })
    .await;
}

/// Too few replicas are in sync for longer than a batch may take: each answer says that nothing was appended.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_brokers_refused_until_the_end_for_want_of_replicas_spends_no_attempt() {
    let cluster = Cluster::start(1);
    cluster.topic("t", 1);
    let transport = cluster.transport().build().expect("a transport");
    assert_eq!(kinds(&deliver(&transport, &[message("t", None)]).await), [Kind::Delivered]);
    let few = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS;
    cluster.act(move |mock| mock.request_errors(RDKafkaApiKey::Produce, &[few; 1_000]));
    let messages = [message("t", Some("a")), message("t", Some("a")), message("t", Some("b"))];
    let outcomes = deliver(&transport, &messages).await;
    assert_eq!(kinds(&outcomes), [Kind::Unavailable, Kind::NotSent, Kind::Unavailable], "{outcomes:?}");
    assert!(error(&outcomes[0]).contains("Not enough in-sync replicas"), "{:?}", outcomes[0]);
}

/// The brokers appended it, and refuse the retries for want of replicas until the end.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_appended_with_too_few_replicas_is_in_doubt_at_the_end() {
    let cluster = Cluster::start(1);
    cluster.topic("t", 1);
    let transport = cluster.transport().build().expect("a transport");
    assert_eq!(kinds(&deliver(&transport, &[message("t", None)]).await), [Kind::Delivered]);
    let mut errors = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS; 1_000];
    errors[0] = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND;
    cluster.act(move |mock| mock.request_errors(RDKafkaApiKey::Produce, &errors));
    let outcomes = deliver(&transport, &[message("t", Some("a"))]).await;
    assert_eq!(kinds(&outcomes), [Kind::Ambiguous], "{outcomes:?}");
}

/// A right is taken away and given back while nothing is lost on the way.
#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_missing_spends_no_attempt_and_is_seen_when_it_is_there_again() {
    let cluster = Cluster::start(1);
    cluster.topic("t", 1);
    let transport = cluster.transport().build().expect("a transport");
    assert_eq!(kinds(&deliver(&transport, &[message("t", None)]).await), [Kind::Delivered]);
    let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    let messages = [message("t", Some("a")), message("t", Some("a")), message("t", Some("b"))];
    for _ in 0..3 {
        cluster.act(move |mock| mock.request_errors(RDKafkaApiKey::Produce, &[refusal; 10]));
        let outcomes = deliver(&transport, &messages).await;
        assert_eq!(kinds(&outcomes), [Kind::Unavailable, Kind::NotSent, Kind::Unavailable], "{outcomes:?}");
    }
    cluster.act(|mock| mock.clear_request_errors(RDKafkaApiKey::Produce));
    assert_eq!(kinds(&deliver(&transport, &messages).await), [Kind::Delivered; 3]);
}

/// That ends each producer before it has sent anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_right_to_write_idempotently_that_is_missing_spends_no_attempt() {
    let cluster = Cluster::start(1);
    cluster.topic("t", 1);
    let transport = cluster.transport().build().expect("a transport");
    let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED;
    cluster.act(move |mock| mock.request_errors(RDKafkaApiKey::InitProducerId, &[refusal; 1_000]));
    let messages = [message("t", Some("a")), message("t", Some("a"))];
    let outcomes = deliver(&transport, &messages).await;
    assert_eq!(kinds(&outcomes), [Kind::Unavailable, Kind::NotSent], "{outcomes:?}");
    assert!(error(&outcomes[0]).contains("uthorization"), "{:?}", outcomes[0]);
    cluster.act(|mock| mock.clear_request_errors(RDKafkaApiKey::InitProducerId));
    assert_eq!(kinds(&deliver(&transport, &messages).await), [Kind::Delivered; 2]);
}
