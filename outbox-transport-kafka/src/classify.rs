//! [`class_of`]: what an error code means for the message, as a pure function over a table.

use std::time::Duration;

use outbox_core::{DeliveryError, Outcome};
use rdkafka::types::RDKafkaErrorCode as Code;

/// What an error code means for the message it was reported for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// The cluster's matter: the route pauses, nothing is spent.
    Unavailable,
    /// The topic or its partition is not there: failed for now, tried again after [`WITHOUT_TOPIC`], and failed for
    /// good after [`ATTEMPTS_WITHOUT_TOPIC`].
    NoTopic,
    /// The message's own matter, for now.
    Transient,
    /// The message's own matter, for good.
    Permanent,
    /// A broker refuses a whole set of records for the sake of one: only alone it is certain which.
    Refused,
    /// It may have been appended.
    Ambiguous,
    /// A later one was acknowledged instead of it, which librdkafka takes for an acknowledgement of both.
    Passed,
    /// It was taken back from the queue; the producer's count of what it sent tells whether it had left before.
    TakenBack,
    /// The queue is full: wait, and try the same again.
    Full,
    /// The producer can send nothing more; it was not sent.
    ProducerEnded,
}

/// A topic that is missing so often is a mistake, not a topic that is about to be created.
pub(crate) const ATTEMPTS_WITHOUT_TOPIC: u32 = 10;

/// At least so long after each of these attempts: a producer that knows of the missing topic answers at once, so a
/// quick backoff would spend all of them while somebody deletes the topic and creates it again.
pub(crate) const WITHOUT_TOPIC: Duration = Duration::from_secs(5);

/// Each code with its class and the reason, which is also what a person reads in the message's failures.
const TABLE: &[(Code, Class, &str)] = {
    use Class::{
        Ambiguous, Full, NoTopic, Passed, Permanent, ProducerEnded, Refused, TakenBack, Transient,
        Unavailable,
    };
    &[
        // Said at once, when the record is queued.
        (Code::QueueFull, Full, "the producer's queue is full"),
        (Code::Fatal, ProducerEnded, "the producer has ended after a fatal error"),
        (Code::State, ProducerEnded, "the producer takes nothing in its state"),
        (Code::InvalidArgument, Permanent, "librdkafka cannot take the record as it is"),
        (
            Code::UnknownPartition,
            Permanent,
            "the topic has no such partition; check the header `kafka-partition`",
        ),
        // Said of a whole set of records, by the broker or by what librdkafka knows of its limits.
        (
            Code::MessageSizeTooLarge,
            Refused,
            "the record is too large; raise `message.max.bytes` here and `max.message.bytes` of the topic",
        ),
        (
            Code::MessageBatchTooLarge,
            Refused,
            "the set of records is too large; lower `batch.size` or raise `max.message.bytes` of the topic",
        ),
        (Code::InvalidMessageSize, Refused, "the broker finds the size of the record invalid"),
        (Code::InvalidMessage, Refused, "the broker finds the record damaged or invalid"),
        (Code::InvalidRecord, Refused, "the broker refuses the record; a compacted topic wants a key"),
        (Code::InvalidDifferentRecord, Refused, "the broker refused another record of the same set"),
        (Code::InvalidTimestamp, Refused, "the broker refuses the time of the record; compare the clocks"),
        (Code::PolicyViolation, Refused, "a policy of the cluster refuses the record"),
        (
            Code::UnsupportedForMessageFormat,
            Refused,
            "the topic's message format is too old; it takes no headers",
        ),
        (
            Code::UnsupportedCompressionType,
            Unavailable,
            "the broker does not know the compression; set another `compression.type`",
        ),
        // About a topic.
        (Code::InvalidTopic, Permanent, "the topic has a name that Kafka refuses, or is internal"),
        (Code::UnknownTopic, NoTopic, "the topic does not exist; create it"),
        (Code::UnknownTopicOrPartition, NoTopic, "the topic or its partition does not exist; create it"),
        (Code::UnknownTopicId, NoTopic, "the topic was deleted; create it again"),
        // About who may what: a person changes it, and until then every message would fail.
        (
            Code::TopicAuthorizationFailed,
            Unavailable,
            "this login may not write to the topic; grant it WRITE and DESCRIBE",
        ),
        (
            Code::ClusterAuthorizationFailed,
            Unavailable,
            "this login may not use an idempotent producer; grant it IDEMPOTENT_WRITE",
        ),
        (
            Code::SaslAuthenticationFailed,
            Unavailable,
            "the brokers refuse the login; check user and password",
        ),
        (Code::Authentication, Unavailable, "the brokers refuse the login; check user and password"),
        (
            Code::UnsupportedSASLMechanism,
            Unavailable,
            "the brokers do not know the login's mechanism; check `sasl.mechanism`",
        ),
        (Code::IllegalSASLState, Unavailable, "the login went out of step"),
        (Code::SecurityDisabled, Unavailable, "the brokers have no security set up"),
        (Code::SSL, Unavailable, "TLS failed; check certificates and `security.protocol`"),
        // About the cluster. Nothing was appended: librdkafka itself tries on, so these come only when it gave up.
        (
            Code::BrokerTransportFailure,
            Unavailable,
            "the connection to the broker failed; check host, port and firewall",
        ),
        (Code::AllBrokersDown, Unavailable, "no broker can be reached; check hosts, ports and firewall"),
        (Code::Resolve, Unavailable, "the name of a broker cannot be resolved"),
        (Code::LeaderNotAvailable, Unavailable, "the partition has no leader"),
        (Code::NotLeaderForPartition, Unavailable, "the partition's leader has moved"),
        (Code::BrokerNotAvailable, Unavailable, "the broker is not available"),
        (Code::ReplicaNotAvailable, Unavailable, "a replica is not available"),
        (
            Code::NotEnoughReplicas,
            Unavailable,
            "fewer replicas are in sync than the topic's `min.insync.replicas`",
        ),
        (Code::KafkaStorageError, Unavailable, "a disk of the broker failed"),
        (Code::ThrottlingQuotaExceeded, Unavailable, "the quota is used up"),
        (Code::UnsupportedVersion, Unavailable, "the broker is too old"),
        (Code::UnsupportedFeature, Unavailable, "the broker is too old"),
        (Code::CriticalSystemResource, Unavailable, "this machine is out of memory or threads"),
        // May have been appended.
        (Code::MessageTimedOut, Ambiguous, "no acknowledgement came in time"),
        (Code::RequestTimedOut, Ambiguous, "the broker waited too long for its replicas"),
        (Code::OperationTimedOut, Ambiguous, "no answer came in time"),
        (
            Code::NotEnoughReplicasAfterAppend,
            Ambiguous,
            "the record was appended, and too few replicas have it",
        ),
        (Code::NetworkException, Ambiguous, "the connection broke before the acknowledgement"),
        (Code::PurgeInflight, Ambiguous, "it was on its way when its time was over"),
        (Code::TimedOutQueue, TakenBack, "its time was over while it waited for the connection"),
        (Code::PurgeQueue, TakenBack, "it was taken back before it was sent"),
        // The producer's sequence is lost: it is replaced, and what these are reported for may have been appended.
        (Code::OutOfOrderSequenceNumber, Ambiguous, "the producer's sequence does not fit the broker's"),
        (Code::InvalidProducerEpoch, Ambiguous, "the broker knows a newer producer"),
        (Code::ProducerFenced, Ambiguous, "the broker knows a newer producer"),
        (Code::Fenced, Ambiguous, "the broker knows a newer producer"),
        (Code::UnknownProducerId, Ambiguous, "the broker has forgotten the producer"),
        (Code::InvalidProducerIdMapping, Ambiguous, "the broker has forgotten the producer"),
        (Code::Inconsistent, Passed, "only a later set of records of its partition was acknowledged"),
        (Code::GaplessGuarantee, TakenBack, "an earlier record of the partition failed"),
        (Code::InvalidRequiredAcks, Transient, "the broker refuses `acks`"),
    ]
};

/// What `code` says when it is reported for a record that was queued. Its partition was there, or was not known yet: so
/// it went away since, as when the topic was deleted. If the header is wrong, the next attempt is told at once.
pub(crate) fn reported(code: Code) -> Code {
    if code == Code::UnknownPartition { Code::UnknownTopicOrPartition } else { code }
}

/// What `code` means. A code that is not in the table may mean anything, also that the record was appended.
pub(crate) fn class_of(code: Code) -> Class {
    row(code).map_or(Class::Ambiguous, |(_, class, _)| *class)
}

/// The outcome of a message that failed with `code` at its `attempt`th attempt, when nothing more can be done about
/// it in this delivery.
pub(crate) fn outcome_of(code: Code, attempt: u32) -> Outcome {
    let error = error_of(code);
    match class_of(code) {
        Class::Permanent | Class::Refused => Outcome::Permanent { error },
        Class::NoTopic if attempt >= ATTEMPTS_WITHOUT_TOPIC => Outcome::Permanent { error },
        Class::NoTopic => Outcome::Transient { retry_after: Some(WITHOUT_TOPIC), error },
        Class::Transient => Outcome::Transient { retry_after: None, error },
        Class::Unavailable => Outcome::Unavailable { retry_after: None, error },
        Class::Full | Class::ProducerEnded => Outcome::NotSent,
        Class::Ambiguous | Class::Passed | Class::TakenBack => Outcome::Ambiguous { error },
    }
}

/// `code` with its reason, for a person.
pub(crate) fn error_of(code: Code) -> DeliveryError {
    let text = row(code).map_or("an error that this transport does not know", |(_, _, reason)| reason);
    DeliveryError::new(text).with_code(format!("{code:?}"))
}

fn row(code: Code) -> Option<&'static (Code, Class, &'static str)> {
    TABLE.iter().find(|(known, ..)| *known == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_stands_in_the_table_once_and_has_a_reason() {
        for (position, (code, _, reason)) in TABLE.iter().enumerate() {
            assert!(TABLE[..position].iter().all(|(earlier, ..)| earlier != code), "{code:?} stands twice");
            assert!(!reason.is_empty() && !reason.ends_with('.'), "{code:?}: {reason:?}");
        }
    }

    #[test]
    fn each_class_becomes_its_outcome() {
        let kind = |code, attempt| match outcome_of(code, attempt) {
            Outcome::Transient { .. } => "transient",
            Outcome::Permanent { .. } => "permanent",
            Outcome::Unavailable { .. } => "unavailable",
            Outcome::Ambiguous { .. } => "ambiguous",
            Outcome::NotSent => "not sent",
            other => panic!("{other:?}"),
        };
        for (code, expected) in [
            (Code::QueueFull, "not sent"),
            (Code::Fatal, "not sent"),
            (Code::MessageSizeTooLarge, "permanent"),
            (Code::InvalidRecord, "permanent"),
            (Code::InvalidTopic, "permanent"),
            (Code::UnknownPartition, "permanent"),
            (reported(Code::UnknownPartition), "transient"),
            (Code::UnknownTopic, "transient"),
            (Code::UnknownTopicOrPartition, "transient"),
            (Code::TopicAuthorizationFailed, "unavailable"),
            (Code::SaslAuthenticationFailed, "unavailable"),
            (Code::BrokerTransportFailure, "unavailable"),
            (Code::AllBrokersDown, "unavailable"),
            (Code::NotEnoughReplicas, "unavailable"),
            (Code::NotEnoughReplicasAfterAppend, "ambiguous"),
            (Code::MessageTimedOut, "ambiguous"),
            (Code::PurgeInflight, "ambiguous"),
            (Code::OutOfOrderSequenceNumber, "ambiguous"),
            (Code::ProducerFenced, "ambiguous"),
        ] {
            assert_eq!(kind(code, 1), expected, "{code:?}");
        }
        assert_eq!(kind(Code::UnknownTopic, ATTEMPTS_WITHOUT_TOPIC - 1), "transient");
        assert_eq!(kind(Code::UnknownTopic, ATTEMPTS_WITHOUT_TOPIC), "permanent");
        // A consumer's code: nothing that a producer should hear.
        assert_eq!(kind(Code::RebalanceInProgress, 1), "ambiguous", "what is unknown may have been appended");
    }

    #[test]
    fn a_missing_topic_is_given_time_to_come_back() {
        for code in [
            Code::UnknownTopic,
            Code::UnknownTopicOrPartition,
            Code::UnknownTopicId,
            reported(Code::UnknownPartition),
        ] {
            let outcome = outcome_of(code, 1);
            let waits = matches!(outcome, Outcome::Transient { retry_after: Some(WITHOUT_TOPIC), .. });
            assert!(waits, "{code:?}: {outcome:?}");
        }
    }

    #[test]
    fn an_error_names_the_code_and_says_what_to_do() {
        let error = error_of(Code::MessageSizeTooLarge);
        assert_eq!(error.code(), Some("MessageSizeTooLarge"));
        assert!(error.text().contains("max.message.bytes"), "{error}");
    }
}
