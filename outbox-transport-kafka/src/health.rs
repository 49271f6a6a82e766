//! [`Health`]: what the transport heard of its cluster last.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::types::RDKafkaErrorCode;

/// What a [`KafkaTransport`](crate::KafkaTransport) heard of its cluster last.
///
/// An error that is younger than the last acknowledgement means trouble; a transport that has nothing to send hears
/// nothing, so ask [`check`](crate::KafkaTransport::check) whether the brokers can be reached now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// How long ago a record was acknowledged.
    pub acknowledged: Option<Duration>,
    /// How long ago librdkafka told of an error of the client as a whole, or a broker refused records for now, and what
    /// it said: host names, no logins.
    pub error: Option<(Duration, String)>,
    /// How many producers were started; a new one replaces one that failed, or had begun to send a batch that was not
    /// acknowledged in time.
    pub producers: u64,
}

/// Where the producers note what they hear.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    acknowledged: Option<Instant>,
    error: Option<(Instant, String)>,
    producers: u64,
}

impl Inner {
    fn trouble(&self) -> Option<String> {
        let (since, text) = self.error.as_ref()?;
        self.acknowledged.is_none_or(|acknowledged| acknowledged < *since).then(|| text.clone())
    }
}

impl Heard {
    pub(crate) fn acknowledged(&self) {
        self.with(|inner| inner.acknowledged = Some(Instant::now()));
    }

    /// That all brokers are down is told behind the reason, which it must not hide: a person needs that one.
    pub(crate) fn error(&self, code: Option<RDKafkaErrorCode>, text: &str) {
        self.with(|inner| {
            let told = inner.trouble().filter(|_| code == Some(RDKafkaErrorCode::AllBrokersDown));
            let advice = hung_up(text).unwrap_or_default();
            inner.error = Some((Instant::now(), told.unwrap_or_else(|| format!("{text}{advice}"))));
        });
    }

    /// Counts a new producer; answers its number.
    pub(crate) fn producer(&self) -> u64 {
        self.with(|inner| {
            inner.producers += 1;
            inner.producers
        })
    }

    /// The last error, unless something was acknowledged since.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.with(|inner| inner.trouble())
    }

    pub(crate) fn tell(&self) -> Health {
        self.with(|inner| Health {
            acknowledged: inner.acknowledged.map(|moment| moment.elapsed()),
            error: inner.error.as_ref().map(|(moment, text)| (moment.elapsed(), text.clone())),
            producers: inner.producers,
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        act(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What to look at when librdkafka says that a broker hung up soon after the connection was made: most likely the two
/// speak different protocols. librdkafka logs that, and tells it as an error only during the handshake of TLS.
pub(crate) fn hung_up(text: &str) -> Option<&'static str> {
    let (said, end) = text.rsplit_once("(after ")?;
    let (milliseconds, state) = end.split_once("ms in state ")?;
    let state = state.split([',', ')']).next()?;
    let soon = milliseconds.parse::<u32>().is_ok_and(|milliseconds| milliseconds < 2_000);
    match state {
        _ if !said.contains("Disconnected") => None,
        "SSL_HANDSHAKE" => Some("; the port may not speak TLS: check `security.protocol`"),
        "APIVERSION_QUERY" => {
            Some("; the port may want TLS, a certificate or a login: check `security.protocol`")
        }
        "UP" if soon => Some("; the port may want a login: check `security.protocol`"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOWN: Option<RDKafkaErrorCode> = Some(RDKafkaErrorCode::AllBrokersDown);

    #[test]
    fn that_all_brokers_are_down_hides_no_reason() {
        let heard = Heard::default();
        heard.error(DOWN, "1/1 brokers are down");
        assert_eq!(heard.trouble().as_deref(), Some("1/1 brokers are down"));
        heard.error(Some(RDKafkaErrorCode::SSL), "certificate verify failed");
        heard.error(DOWN, "1/1 brokers are down");
        assert_eq!(heard.trouble().as_deref(), Some("certificate verify failed"));
    }

    #[test]
    fn a_reason_is_over_with_the_next_acknowledgement() {
        let heard = Heard::default();
        heard.error(Some(RDKafkaErrorCode::Authentication), "login refused");
        heard.acknowledged();
        assert_eq!(heard.trouble(), None);
        heard.error(DOWN, "1/1 brokers are down");
        assert_eq!(heard.trouble().as_deref(), Some("1/1 brokers are down"));
    }

    #[test]
    fn a_broker_that_hangs_up_at_once_may_speak_another_protocol() {
        for (text, advised) in [
            ("b:1: Disconnected: closed by peer (after 152ms in state APIVERSION_QUERY)", "want TLS"),
            (
                "ssl://b:1: SSL handshake failed: Disconnected (after 1ms in state SSL_HANDSHAKE)",
                "not speak TLS",
            ),
            (
                "ssl://b:1: Disconnected (after 0ms in state UP, 1 identical error(s) suppressed)",
                "want a login",
            ),
        ] {
            assert!(hung_up(text).is_some_and(|advice| advice.contains(advised)), "{text}");
            let heard = Heard::default();
            heard.error(None, text);
            assert!(heard.trouble().is_some_and(|told| told.starts_with(text) && told.contains(advised)));
        }
        for text in [
            "b:1: Disconnected: closed by peer (after 600000ms in state UP)",
            "b:1: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)",
            "ssl://b:1: SSL handshake failed: certificate verify failed (after 4ms in state SSL_HANDSHAKE)",
            "1/1 brokers are down",
            "(after ",
        ] {
            assert_eq!(hung_up(text), None, "{text}");
        }
    }
}
