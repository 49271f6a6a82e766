//! [`SmtpTransport`]: mails from the outbox to a relay.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use outbox_core::{
    Delivery, DeliveryError, DeliveryReport, MessageId, Outcome, PerMessage, SendOne, Transport, async_trait,
};
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use crate::StoredMail;
use crate::classify::{Failure, Stage, classify};
use crate::config::{Config, SmtpTransportBuilder};
use crate::config_error::ConfigError;
use crate::connection::Connection;
use crate::pool::Pool;
use crate::rate::Rate;
use crate::reply::{Reply, without_addresses};

/// Hands mails to an SMTP relay: messages that [`StoredMail`] can read, one recipient each. Clones share their
/// connections.
///
/// ```
/// use outbox_core::Route;
/// use outbox_transport_smtp::SmtpTransport;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let relay = SmtpTransport::from_url("smtp://user:password@relay.example.org:587")?;
/// let route = Route::prefix("mail.", relay);
/// # Ok(())
/// # }
/// ```
///
/// Several connections work side by side and are kept between mails. Mails of one key go out one after another.
/// Only the relay's `250` after the mail counts as delivered; a connection that breaks at that point leaves the
/// mail in doubt. What is about the relay and not about one mail (no connection, TLS, login, `421`) makes it
/// unavailable, which pauses the route and spends no attempt.
///
/// A batch starts mails for one minute (see [`starts_for`](SmtpTransportBuilder::starts_for)); what is not started
/// by then, or once the relay is unavailable, is not sent and goes out again soon. Dropping `deliver` closes the
/// connections in use and leaves in doubt only the mails whose final dot may have been written; a mail that was cut
/// off after its recipient was named has failed for now.
///
/// After a crash, all that was in flight on the route is in doubt, also mails that still waited for a connection: with
/// [`OnAmbiguous::Park`](outbox_core::OnAmbiguous::Park), or where a second copy hurts, set
/// [`Route::max_in_flight`](outbox_core::Route::max_in_flight) near the number of
/// [`connections`](SmtpTransportBuilder::connections).
#[derive(Clone)]
pub struct SmtpTransport {
    relay: Arc<Relay>,
}

impl SmtpTransport {
    /// Starts with no relay; give it a [`host`](SmtpTransportBuilder::host) or a [`url`](SmtpTransportBuilder::url).
    pub fn builder() -> SmtpTransportBuilder {
        SmtpTransportBuilder::new()
    }

    /// A transport to the relay of `url`: `smtp://user:password@host:587?starttls=required` or
    /// `smtps://user:password@host:465`, user and password percent-encoded.
    ///
    /// Options, as a query: `starttls` (`required`, the default except for a host on this machine;
    /// `opportunistic`; `none`), `connections` (4), `rate` (mails per second), `hello` (the name to say in `EHLO`),
    /// `allow_unencrypted_login` (`false`).
    ///
    /// # Errors
    /// [`ConfigError`] says which part of the URL is wrong, without quoting it.
    pub fn from_url(url: &str) -> Result<Self, ConfigError> {
        Self::builder().url(url).build()
    }

    /// Connects, encrypts and logs in, and hangs up again: for a check at start. Sends no mail.
    ///
    /// # Errors
    /// What went wrong, for a person; it holds no login.
    pub async fn check(&self) -> Result<(), DeliveryError> {
        let config = &self.relay.config;
        let until = Instant::now() + config.timeouts.until_the_dot();
        let connection = Connection::open(config, until).await.map_err(|failure| failure.error())?;
        connection.quit(config.timeouts.connect).await;
        Ok(())
    }

    pub(crate) fn new(config: Config) -> Self {
        let pool = Pool::new(config.connections);
        let rate = config.rate_limit.map(Rate::per_second);
        Self { relay: Arc::new(Relay { config, pool, rate }) }
    }
}

#[async_trait]
impl Transport for SmtpTransport {
    async fn deliver(&self, batch: &[Delivery], report: &DeliveryReport) {
        let config = &self.relay.config;
        let start_until = Instant::now() + config.starts_for;
        let mails = Arc::new(Mails {
            relay: Arc::clone(&self.relay),
            start_until,
            dot_until: start_until + config.timeouts.until_the_dot(),
            relay_is_down: AtomicBool::new(false),
            reached: Mutex::default(),
        });
        let _unfinished = Unfinished { batch, report, mails: &mails };
        PerMessage::new(config.connections, Arc::clone(&mails)).deliver(batch, report).await;
    }

    fn keeps_order(&self) -> bool {
        true
    }

    /// The time to start mails in, and the longest that the last one may take: some 43 minutes, which only a relay
    /// that answers each command at the last moment uses up. To give up earlier, set the
    /// [`timeouts`](SmtpTransportBuilder::timeouts): they tell a slow relay from a slow mail, a shorter deadline of
    /// the route cuts off both.
    fn deadline(&self) -> Duration {
        let Config { timeouts, starts_for, .. } = &self.relay.config;
        *starts_for + timeouts.until_the_dot() + timeouts.block + timeouts.final_dot + SLACK
    }
}

impl fmt::Debug for SmtpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = &self.relay.config;
        f.debug_struct("SmtpTransport")
            .field("host", &config.host)
            .field("port", &config.port)
            .field("encryption", &config.encryption)
            .field("connections", &config.connections)
            .finish_non_exhaustive()
    }
}

const SLACK: Duration = Duration::from_secs(10);

struct Relay {
    config: Config,
    pool: Pool,
    rate: Option<Rate>,
}

/// The mails of one batch.
struct Mails {
    relay: Arc<Relay>,
    start_until: Instant,
    dot_until: Instant,
    relay_is_down: AtomicBool,
    /// How far each mail came that was started.
    reached: Mutex<HashMap<MessageId, Stage>>,
}

#[async_trait]
impl SendOne for Mails {
    async fn send(&self, delivery: &Delivery) -> Outcome {
        let id = delivery.message.id;
        let mail = match StoredMail::read(&delivery.message) {
            Ok(mail) => mail,
            Err(error) => return Outcome::permanent(error.to_string()),
        };
        let Ok(Some(_permit)) = timeout_at(self.start_until, self.relay.pool.permit()).await else {
            return Outcome::NotSent;
        };
        if let Some(rate) = &self.relay.rate
            && !self.relay_is_down()
            && !rate.place(self.start_until).await
        {
            return Outcome::NotSent;
        }
        if self.relay_is_down() || Instant::now() >= self.start_until {
            return Outcome::NotSent;
        }
        let span = tracing::debug_span!("smtp", message_id = %id);
        let outcome = self.send_mail(id, &mail).instrument(span).await;
        if matches!(outcome, Outcome::Unavailable { .. }) {
            self.relay_is_down.store(true, Ordering::Relaxed);
        }
        outcome
    }
}

impl Mails {
    async fn send_mail(&self, id: MessageId, mail: &StoredMail) -> Outcome {
        let Relay { config, pool, .. } = &*self.relay;
        let mut idle = pool.take_idle(self.dot_until).await;
        loop {
            let reused = idle.is_some();
            let mut connection = match idle.take() {
                Some(connection) => connection,
                None => {
                    self.reached(id, Stage::Connect);
                    match Connection::open(config, self.dot_until).await {
                        Ok(connection) => connection,
                        Err(failure) => return self.failed(&failure),
                    }
                }
            };
            let failure = match connection.send(mail, |stage| self.reached(id, stage)).await {
                Ok(reply) => {
                    pool.put_back(connection);
                    tracing::debug!(code = reply.code, "accepted by the relay");
                    return Outcome::Delivered { receipt: receipt(&reply) };
                }
                Err(failure) => failure,
            };
            let outcome = self.failed(&failure);
            let broke_off = failure.broke_off_before_the_dot();
            let relay_is_to_blame = matches!(outcome, Outcome::Unavailable { .. });
            if reused && failure.stage < Stage::FinalDot && (broke_off || relay_is_to_blame) {
                // A connection that was idle proves nothing about relay or mail; a fresh one does.
                continue;
            }
            if connection.in_step(&failure) {
                pool.put_back(connection);
            } else {
                drop(connection);
            }
            if broke_off {
                // The message's doing or the relay's? A relay that is gone does not take a connection either.
                match Connection::open(config, self.dot_until).await {
                    Ok(connection) => pool.put_back(connection),
                    Err(down) => return self.failed(&down),
                }
            }
            return outcome;
        }
    }

    fn failed(&self, failure: &Failure) -> Outcome {
        tracing::debug!(error = %failure.error(), "not accepted by the relay");
        classify(failure)
    }

    fn reached(&self, id: MessageId, stage: Stage) {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner).insert(id, stage);
    }

    fn relay_is_down(&self) -> bool {
        self.relay_is_down.load(Ordering::Relaxed)
    }
}

/// Records, when `deliver` is dropped, what is known of the mails without an outcome: one that did not reach its
/// final dot was not accepted, since a relay drops a mail whose end it never saw (RFC 5321 section 4.1.1.4).
struct Unfinished<'a> {
    batch: &'a [Delivery],
    report: &'a DeliveryReport,
    mails: &'a Mails,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        let reached = self.mails.reached.lock().unwrap_or_else(PoisonError::into_inner);
        for delivery in self.batch {
            match reached.get(&delivery.message.id) {
                Some(Stage::FinalDot) => {}
                None => self.report.record(delivery, Outcome::NotSent),
                Some(stage) if *stage < Stage::RcptTo => self.report.record(delivery, Outcome::NotSent),
                // An attempt is spent, or a mail at which the relay falls silent would be cut off for ever.
                Some(_) => self.report.record(delivery, Outcome::transient(CUT_OFF)),
            }
        }
    }
}

const CUT_OFF: &str = "the delivery was cut off before the mail was complete; the relay has not accepted it";

/// The first line of the reply, which usually names the mail in the relay's queue. Holds no address.
fn receipt(reply: &Reply) -> Option<String> {
    let line = without_addresses(reply.lines.first()?.trim());
    let receipt: String = line.chars().filter(|c| !c.is_control()).take(RECEIPT_CHARS).collect();
    (!receipt.is_empty()).then_some(receipt)
}

const RECEIPT_CHARS: usize = 200;
