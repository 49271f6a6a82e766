//! What becomes of messages that the brokers take, refuse, or do not answer.

use std::time::Duration;

use outbox_core::{Delivery, DeliveryReport, Message, Outcome, Transport};
use outbox_transport_kafka::PARTITION_HEADER;
use outbox_transport_kafka::rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::cluster::Cluster;
use crate::support::{Kind, Reader, batch, deliver, error, kinds, message};

/// Vectors of the Java client (`org.apache.kafka.common.utils.Utils.murmur2`, made positive, modulo the partitions):
/// from its own test `UtilsTest.testMurmur2`.
const MURMUR2: [(&str, i32); 5] = [
    ("21", -973_932_308),
    ("foobar", -790_332_482),
    ("a-little-bit-long-string", -985_981_536),
    ("a-little-bit-longer-string", -1_486_304_829),
    ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
];

#[tokio::test(flavor = "multi_thread")]
async fn keys_go_to_the_partitions_that_the_java_client_would_choose() {
    let cluster = Cluster::start(1);
    cluster.topic("t", 11);
    let transport = cluster.transport().build().expect("a transport");
    let messages = MURMUR2.map(|(key, _)| message("t", Some(key)));
    for (outcome, (key, hash)) in deliver(&transport, &messages).await.iter().zip(MURMUR2) {
        let Outcome::Delivered { receipt: Some(receipt) } = outcome else { panic!("{outcome:?}") };
        let partition = (hash & i32::MAX) % 11;
        assert!(receipt.starts_with(&format!("t[{partition}]@")), "{key}: {receipt}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_chooses_the_partition_and_a_message_stays_behind_its_predecessor_elsewhere() {
    let cluster = Cluster::start(1);
    cluster.topic("t", 4);
    let transport = cluster.transport().build().expect("a transport");
    let to = |partition: &str| {
        let mut message = message("t", Some("a"));
        message.headers.insert(PARTITION_HEADER, partition);
        message
    };
    let messages = [to("3"), to("9"), to("1"), message("t", Some("b"))];
    let outcomes = deliver(&transport, &messages).await;
    assert_eq!(
        kinds(&outcomes),
        [Kind::Delivered, Kind::Permanent, Kind::NotSent, Kind::Delivered],
        "{outcomes:?}"
    );
    let mut reader = Reader::new(&cluster.brokers, &["t"]);
    let arrived = tokio::task::block_in_place(|| reader.arrived().to_vec());
    let chosen = arrived.iter().find(|record| record.id() == messages[0].id).expect("it arrived");
    assert_eq!((chosen.partition, chosen.headers.get(PARTITION_HEADER)), (3, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_too_large_for_the_producer_stops_its_key_alone() {
    let cluster = Cluster::start(1);
    cluster.topic("t", 1);
    let transport = cluster.transport().property("message.max.bytes", "2000").build().expect("a transport");
    let mut messages: Vec<Message> = ["a", "b", "a", "b"].map(|key| message("t", Some(key))).into();
    messages[0].payload = vec![0; 5_000].into();
    let outcomes = deliver(&transport, &messages).await;
    assert_eq!(
        kinds(&outcomes),
        [Kind::Permanent, Kind::Delivered, Kind::NotSent, Kind::Delivered],
        "{outcomes:?}"
    );
    assert!(error(&outcomes[0]).contains("MessageSizeTooLarge"), "{:?}", outcomes[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_holds_up_and_costs_nothing() {
    let cluster = Cluster::start(1);
    cluster.topic("t", 2);
    let transport =
        cluster.transport().property("queue.buffering.max.messages", "10").build().expect("a transport");
    let messages: Vec<Message> = (0..300).map(|n| message("t", Some(["a", "b", "c"][n % 3]))).collect();
    assert_eq!(kinds(&deliver(&transport, &messages).await), [Kind::Delivered; 300]);
}

/// The mock answers late, so the records are on their way when the time is over.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_acknowledged_in_time_is_in_doubt_and_the_rest_of_its_key_stays() {
    let cluster = Cluster::start(1);
    cluster.topic("t", 1);
    let transport =
        cluster.transport().delivery_timeout(Duration::from_secs(2)).build().expect("a transport");
    assert_eq!(kinds(&deliver(&transport, &[message("t", None)]).await), [Kind::Delivered]);
    cluster.act(|mock| mock.broker_round_trip_time(1, Duration::from_secs(20))).expect("slow");
    let messages = [message("t", Some("a")), message("t", Some("a"))];
    let outcomes = deliver(&transport, &messages).await;
    assert_eq!(kinds(&outcomes), [Kind::Ambiguous, Kind::NotSent], "{outcomes:?}");
    cluster.act(|mock| mock.broker_round_trip_time(1, Duration::ZERO)).expect("quick again");
    assert_eq!(kinds(&deliver(&transport, &messages).await), [Kind::Delivered; 2], "by another producer");
    assert_eq!(transport.health().producers, 2);
}

/// A cluster that goes away while nothing is under way: nothing can have left.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_that_begins_at_rest_spends_no_attempt() {
    let cluster = Cluster::start(1);
    cluster.topic("t", 2);
    let transport = cluster.transport().build().expect("a transport");
    assert_eq!(kinds(&deliver(&transport, &[message("t", None)]).await), [Kind::Delivered]);
    cluster.act(|mock| mock.broker_down(1)).expect("down");
    for _ in 0..2 {
        let messages = [message("t", None), message("t", Some("a")), message("t", Some("a"))];
        let outcomes = deliver(&transport, &messages).await;
        assert_eq!(kinds(&outcomes), [Kind::Unavailable, Kind::Unavailable, Kind::NotSent], "{outcomes:?}");
        assert!(error(&outcomes[0]).contains("within"), "{:?}", outcomes[0]);
    }
    assert!(transport.check(Duration::from_secs(1)).await.is_err(), "no broker answers");
    assert!(transport.health().error.is_some(), "the trouble is told");
}

/// Nothing that was queued when `deliver` was dropped goes out when the brokers are back.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_dropped_delivery_left_in_the_queue_is_never_sent() {
    let cluster = Cluster::start(1);
    cluster.topic("t", 2);
    let transport = cluster.transport().build().expect("a transport");
    cluster.act(|mock| mock.broker_down(1)).expect("down");
    let dropped: Vec<Message> = (0..20).map(|_| message("t", None)).collect();
    let handed_over: Vec<Delivery> = batch(&dropped);
    let report = DeliveryReport::collecting(&handed_over);
    let cut =
        tokio::time::timeout(Duration::from_millis(500), transport.deliver(&handed_over, &report)).await;
    assert!(cut.is_err(), "nobody answers");
    cluster.act(|mock| mock.broker_up(1)).expect("up");
    let after = message("t", None);
    assert_eq!(kinds(&deliver(&transport, std::slice::from_ref(&after)).await), [Kind::Delivered]);
    let mut reader = Reader::new(&cluster.brokers, &["t"]);
    let ids: Vec<_> =
        tokio::task::block_in_place(|| reader.arrived().iter().map(|record| record.id()).collect());
    assert_eq!(ids, [after.id], "and nothing of the dropped batch");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_the_broker_refuses_is_sent_again_one_by_one() {
    let cluster = Cluster::start(1);
    cluster.topic("t", 1);
    let transport = cluster.transport().property("linger.ms", "50").build().expect("a transport");
    assert_eq!(kinds(&deliver(&transport, &[message("t", None)]).await), [Kind::Delivered]);
    // The set of three is refused; of those alone, the second.
    let (no, ok) =
        (RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD, RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR);
    cluster.act(move |mock| mock.request_errors(RDKafkaApiKey::Produce, &[no, ok, no, ok]));
    let messages = [message("t", Some("a")), message("t", Some("b")), message("t", Some("c"))];
    let outcomes = deliver(&transport, &messages).await;
    assert_eq!(kinds(&outcomes), [Kind::Delivered, Kind::Permanent, Kind::Delivered], "{outcomes:?}");
}
