//! [`Listener`]: what librdkafka calls, on the thread of its producer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

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
    left: watch::Sender<Option<bool>>,
    statistics: Option<(std::time::Duration, StatisticsHook, Mutex<Option<Instant>>)>,
}

impl Listener {
    pub(crate) fn new(
        number: u64,
        heard: Arc<Heard>,
        statistics: Option<(std::time::Duration, StatisticsHook)>,
    ) -> (Self, watch::Receiver<Option<bool>>) {
        let (left, told) = watch::channel(None);
        let statistics = statistics.map(|(interval, hook)| (interval, hook, Mutex::default()));
        let listener = Self {
            number,
            heard,
            counts: Counts::default(),
            ended: AtomicBool::new(false),
            left,
            statistics,
        };
        (listener, told)
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
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

    fn tell_statistics(&self, json: &[u8]) {
        let Some((interval, hook, last)) = &self.statistics else { return };
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        // They come every half second, about.
        let due = last.is_none_or(|last| last.elapsed() + std::time::Duration::from_millis(250) >= *interval);
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
    /// Brokers that come and go are told at debug level: whether that matters, the dispatcher says.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        // Without the name of the thread before it.
        let said = text.split_once("]: ").map_or(text, |(_, said)| said);
        if facility == "FAIL" && hung_up(said).is_some() {
            self.heard.error(None, said);
        }
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                warn!(producer = self.number, facility, "librdkafka: {text}");
            }
            _ => debug!(producer = self.number, facility, ?level, "librdkafka: {text}"),
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
                Seen::Failed(RDKafkaErrorCode::Inconsistent)
            }
            Ok(message) => {
                self.heard.acknowledged();
                let offset = Some(message.offset()).filter(|offset| *offset >= 0);
                Seen::Delivered { partition: message.partition(), offset }
            }
            Err((error, _)) => {
                Seen::Failed(error.rdkafka_error_code().map_or(RDKafkaErrorCode::Unknown, reported))
            }
        };
        // What a broker answered, and what was given up on its way, had left once.
        let report = match seen {
            Seen::Delivered { .. } | Seen::Failed(RDKafkaErrorCode::PurgeInflight) => Report::Left,
            Seen::Failed(code) => match class_of(code) {
                Class::Refused | Class::Passed => Report::Left,
                Class::TakenBack | Class::Ambiguous => Report::Open,
                _ => Report::Stayed,
            },
        };
        self.counts.reported(report);
        ticket.came(self.number, seen);
    }
}
