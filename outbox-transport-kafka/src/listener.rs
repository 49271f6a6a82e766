//! [`Listener`]: what librdkafka calls, on the thread of its producer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::ProducerContext;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientContext, Offset, Statistics};
use tokio::sync::watch;
use tracing::{debug, warn};

use crate::arrivals::{Seen, Ticket};
use crate::classify::{Class, class_of, reported};
use crate::config::StatisticsHook;
use crate::counts::{Counts, Report, Sent};
use crate::health::{Heard, hung_up};

pub(crate) struct Listener {
    number: u64,
    heard: Arc<Heard>,
    counts: Counts,
    /// A fatal error was told: the client sends nothing more.
    ended: AtomicBool,
    /// When it was told last that something was sent and its answer lost.
    lost: Told,
    /// When it was told last that a broker refused a set of records for now.
    refused: Told,
    left: watch::Sender<Option<bool>>,
    /// How often librdkafka has told how much it sent.
    words: watch::Sender<u64>,
    statistics: Option<(Duration, StatisticsHook, Mutex<Option<Instant>>)>,
}

/// When something was told last.
#[derive(Default)]
struct Told(Mutex<Option<Instant>>);

impl Told {
    fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn since(&self, moment: Instant) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|told| told >= moment)
    }
}

impl Listener {
    pub(crate) fn new(
        number: u64,
        heard: Arc<Heard>,
        statistics: Option<(Duration, StatisticsHook)>,
    ) -> (Self, watch::Receiver<Option<bool>>) {
        let (left, told) = watch::channel(None);
        let words = watch::Sender::new(0);
        let statistics = statistics.map(|(interval, hook)| (interval, hook, Mutex::default()));
        let listener = Self {
            number,
            heard,
            counts: Counts::default(),
            ended: AtomicBool::new(false),
            lost: Told::default(),
            refused: Told::default(),
            left,
            words,
            statistics,
        };
        (listener, told)
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Hears each time that librdkafka tells how much it sent.
    pub(crate) fn words(&self) -> watch::Receiver<u64> {
        self.words.subscribe()
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// The producer is retired, and `empty` when everything that was queued has its report.
    pub(crate) fn retired(&self, empty: bool) {
        if self.left.borrow().is_none()
            && let Some(left) = self.counts.may_have_left(empty)
        {
            self.left.send_replace(Some(left));
        }
    }

    /// Whether what was queued at `queued` and failed with `code` may have been appended by an earlier try: an answer was
    /// lost since. What was taken back is cleared only by refusals, which are told in the same words: should librdkafka
    /// tell neither any more, the counts decide alone.
    fn leaves_in_doubt(&self, queued: Instant, code: RDKafkaErrorCode) -> bool {
        self.lost.since(queued) || (class_of(code) == Class::TakenBack && !self.refused.since(queued))
    }

    fn tell_statistics(&self, json: &[u8]) {
        let Some((interval, hook, last)) = &self.statistics else { return };
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        // They come every half second, about.
        let due = last.is_none_or(|last| last.elapsed() + Duration::from_millis(250) >= *interval);
        if !due {
            return;
        }
        *last = Some(Instant::now());
        drop(last);
        let Ok(statistics) = serde_json::from_slice::<Statistics>(json) else { return };
        if catch_unwind(AssertUnwindSafe(|| hook(&statistics))).is_err() {
            warn!(producer = self.number, "what was to be called with the statistics panicked");
        }
    }
}

impl ClientContext for Listener {
    /// Brokers that come and go are told at debug level: whether that matters, the dispatcher says. librdkafka's own
    /// debug level is for us alone.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        // Without the name of the thread before it.
        let said = text.split_once("]: ").map_or(text, |(_, said)| said);
        // This comes before the reports of the records that it is about.
        if loses_an_answer(facility, said) {
            self.lost.now();
        }
        if let Some(refusal) = refusal(facility, said) {
            self.refused.now();
            self.heard.error(None, refusal);
        }
        match level {
            RDKafkaLogLevel::Debug => return,
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                warn!(producer = self.number, facility, "librdkafka: {text}");
            }
            _ => debug!(producer = self.number, facility, ?level, "librdkafka: {text}"),
        }
        // Without a number from a broker a producer sends nothing, and says so here only.
        if facility == "GETPID" || (facility == "FAIL" && hung_up(said).is_some()) {
            self.heard.error(None, said);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        self.heard.error(code, reason);
        if code == Some(RDKafkaErrorCode::Fatal) {
            self.ended.store(true, Ordering::Release);
        }
    }

    fn stats_raw(&self, json: &[u8]) {
        if let Ok(sent) = serde_json::from_slice::<Sent>(json) {
            self.counts.sent(sent);
            self.words.send_modify(|words| *words += 1);
        }
        self.tell_statistics(json);
    }
}

impl ProducerContext for Listener {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        let seen = match result {
            // No broker gave it a place. librdkafka takes it for acknowledged since a later set of its partition was;
            // but a broker that does not know the producer takes the later set also without this one.
            Ok(message) if Offset::from_raw(message.offset()) == Offset::Invalid => {
                Seen::Failed { code: RDKafkaErrorCode::Inconsistent, doubt: true }
            }
            Ok(message) => {
                self.heard.acknowledged();
                let offset = Some(message.offset()).filter(|offset| *offset >= 0);
                Seen::Delivered { partition: message.partition(), offset }
            }
            Err((error, _)) => {
                let code = error.rdkafka_error_code().map_or(RDKafkaErrorCode::Unknown, reported);
                Seen::Failed { code, doubt: self.leaves_in_doubt(ticket.queued, code) }
            }
        };
        // What a broker answered, and what was given up on its way, had left once.
        let report = match seen {
            Seen::Delivered { .. } | Seen::Failed { code: RDKafkaErrorCode::PurgeInflight, .. } => {
                Report::Left
            }
            Seen::Failed { code, .. } => match class_of(code) {
                Class::Refused | Class::Passed => Report::Left,
                Class::TakenBack | Class::Ambiguous => Report::Open,
                _ => Report::Stayed,
            },
        };
        self.counts.reported(report);
        ticket.came(self.number, seen);
    }
}

/// What a broker said to a set of records that it did not take: librdkafka tries again, and reports it to nobody.
fn refusal<'t>(facility: &str, said: &'t str) -> Option<&'t str> {
    let refused = facility == "REQERR" && said.contains("ProduceRequest failed: Broker: ");
    let said = said.split_once(": explicit actions").or_else(|| said.split_once(": actions"));
    said.map(|(said, _)| said).filter(|_| refused)
}

/// Whether librdkafka tells of a set of records that it sent and that may have been appended, although it was not
/// acknowledged: most of these it sends again.
fn loses_an_answer(facility: &str, said: &str) -> bool {
    // What was never sent as a whole, and what is given up at once and reported so.
    const NOT_SENT: [&str; 4] = [
        "Local: Retry operation",
        "Local: Timed out in queue",
        "Local: Purged in queue",
        "Local: Purged in flight",
    ];
    let Some((_, error)) = said.split_once("ProduceRequest failed: ").filter(|_| facility == "REQERR") else {
        // Others on that connection were sent as a whole, and fail as if they had waited.
        return facility == "FAIL" && said.contains("partially sent request");
    };
    if error.starts_with("Broker: ") {
        // A set out of its order was refused, whatever librdkafka says of it.
        error.contains("MsgPossiblyPersisted") && !error.contains("out of order sequence number")
    } else {
        !NOT_SENT.iter().any(|text| error.starts_with(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_that_may_be_persisted_loses_its_answer() {
        for (error, lost) in [
            ("Local: Broker transport failure: explicit actions Refresh,MsgPossiblyPersisted", true),
            // The login of a connection that was up is renewed, and fails.
            ("Local: Authentication failure: actions Permanent,MsgNotPersisted", true),
            ("Local: Retry operation: explicit actions Retry", false),
            ("Local: Timed out in queue: explicit actions Retry,MsgNotPersisted", false),
            ("Local: Purged in queue: actions Permanent,MsgNotPersisted", false),
            ("Local: Purged in flight: actions Permanent,MsgPossiblyPersisted", false),
            (
                "Broker: Message(s) written to insufficient number of in-sync replicas: explicit actions \
                 Retry,MsgPossiblyPersisted",
                true,
            ),
            ("Broker: Request timed out: actions Retry,MsgPossiblyPersisted", true),
            ("Broker: Not enough in-sync replicas: explicit actions Retry,MsgNotPersisted", false),
            (
                "Broker: Broker received an out of order sequence number: explicit actions \
                 Permanent,MsgPossiblyPersisted",
                false,
            ),
        ] {
            assert_eq!(
                loses_an_answer("REQERR", &format!("b:1/1: ProduceRequest failed: {error}")),
                lost,
                "{error}"
            );
        }
    }

    #[test]
    fn a_refusal_that_librdkafka_keeps_to_itself_is_told() {
        let said = "b:1/1: ProduceRequest failed: Broker: Not enough in-sync replicas: explicit actions \
                    Retry,MsgNotPersisted";
        assert_eq!(
            refusal("REQERR", said),
            Some("b:1/1: ProduceRequest failed: Broker: Not enough in-sync replicas")
        );
        let said = "b:1/1: ProduceRequest failed: Local: Purged in queue: actions Permanent,MsgNotPersisted";
        assert_eq!(refusal("REQERR", said), None, "no broker said that");
    }

    #[test]
    fn a_connection_that_is_cut_in_the_middle_of_a_set_loses_the_answers_to_others() {
        let cut = "b:1/1: Purged 1 partially sent request: forcing disconnect (after 7ms in state UP) (_PURGE_QUEUE)";
        assert!(loses_an_answer("FAIL", cut));
        assert!(!loses_an_answer("FAIL", "b:1: Disconnected (after 7ms in state UP) (_TRANSPORT)"));
        assert!(!loses_an_answer("REQERR", "b:1/1: MetadataRequest failed: Local: Timed out: actions Retry"));
    }
}
