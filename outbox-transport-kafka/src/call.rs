//! [`Call`]: one delivery of a batch, from the first record queued to the last report.

use std::sync::Arc;
use std::time::Duration;

use outbox_core::{Delivery, DeliveryError, DeliveryReport, Outcome};
use rdkafka::types::RDKafkaErrorCode as Code;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::arrivals::{Arrival, Arrivals, Seen, Ticket};
use crate::classify::{Class, class_of, error_of, outcome_of};
use crate::config::Config;
use crate::destination::Destination;
use crate::producer::Producer;
use crate::producers::Producers;
use crate::record::Record;
use crate::runs::Runs;

/// How long, after the delivery timeout, reports are waited for that a retired producer owes at once, and again how
/// long for its word on what had left.
pub(crate) const AFTERWARDS: Duration = Duration::from_secs(3);

/// How soon a full queue is tried again, unless a report comes first.
const FULL: Duration = Duration::from_millis(10);

/// How soon the queue of a producer that goes on is emptied again: a record may be on its way between two queues.
const AGAIN: Duration = Duration::from_millis(100);

pub(crate) struct Call<'a> {
    config: &'a Arc<Config>,
    producers: &'a Producers,
    batch: &'a [Delivery],
    report: &'a DeliveryReport,
    /// None where the message names no place that Kafka knows.
    to: Vec<Option<Destination>>,
    runs: Runs,
    arrivals: Arc<Arrivals>,
    /// The producers that owe reports, and how many.
    owing: Vec<(Arc<Producer>, usize)>,
    /// Refused together with others, and the one that is being sent alone.
    refused: Vec<usize>,
    alone: Option<usize>,
    /// Taken back from the queue of this producer, and whether an earlier try may have been appended.
    taken_back: Vec<(usize, Arc<Producer>, bool)>,
    until: Instant,
    expired: bool,
}

/// What queueing stopped at.
enum Queued {
    /// Nothing more may be queued for now.
    All,
    Full,
    /// The producer takes nothing more.
    Ended,
}

impl<'a> Call<'a> {
    pub(crate) fn new(
        config: &'a Arc<Config>,
        producers: &'a Producers,
        batch: &'a [Delivery],
        report: &'a DeliveryReport,
    ) -> Self {
        Self {
            config,
            producers,
            batch,
            report,
            to: batch.iter().map(|delivery| config.routing.of(&delivery.message).ok()).collect(),
            runs: Runs::of(batch),
            arrivals: Arc::default(),
            owing: Vec::new(),
            refused: Vec::new(),
            alone: None,
            taken_back: Vec::new(),
            until: Instant::now() + config.delivery_timeout,
            expired: false,
        }
    }

    /// Every message has its outcome at the end; those whose report never came are left to be in doubt.
    pub(crate) async fn run(mut self) {
        loop {
            let mut again_at = self.until;
            if !self.expired && self.runs.may_go_on() {
                let shared = timeout_at(self.until, self.producers.shared(self.config)).await;
                match shared {
                    Ok(Ok(producer)) => match self.queue(&producer) {
                        Queued::All => {}
                        Queued::Full => again_at = (Instant::now() + FULL).min(self.until),
                        Queued::Ended => continue,
                    },
                    Ok(Err(text)) => return self.end(&DeliveryError::new(text)),
                    Err(_) => self.expire(),
                }
            }
            if self.owes() {
                self.listen(again_at).await;
            } else if !self.taken_back.is_empty() {
                self.look_into_what_was_taken_back().await;
            } else if !self.refused.is_empty() && !self.expired {
                self.send_refused_alone().await;
            } else if self.expired || !self.runs.may_go_on() {
                break;
            } else {
                sleep_until(again_at).await;
                self.expired |= Instant::now() >= self.until;
            }
        }
        let error = self.late();
        self.end(&error);
    }

    /// Queues what may go now.
    fn queue(&mut self, producer: &Arc<Producer>) -> Queued {
        while let Some(index) = self.runs.take(producer.number, &self.to) {
            match self.queue_one(producer, index) {
                Ok(()) => {}
                Err(Class::Full) => {
                    self.runs.again(index);
                    return Queued::Full;
                }
                Err(Class::ProducerEnded) => {
                    self.runs.again(index);
                    return Queued::Ended;
                }
                Err(_) => self.runs.failed(index),
            }
        }
        Queued::All
    }

    /// Queues one message, or records why it cannot go and answers the class of that.
    fn queue_one(&mut self, producer: &Arc<Producer>, index: usize) -> Result<(), Class> {
        let delivery = &self.batch[index];
        let permanent = |error| {
            self.report.record(delivery, Outcome::Permanent { error });
            Class::Permanent
        };
        let message = &*delivery.message;
        let Some(to) = &self.to[index] else {
            let error = self.config.routing.of(message).err();
            return Err(permanent(error.unwrap_or_else(|| error_of(Code::InvalidTopic))));
        };
        let record = Record::of(delivery, &self.config.value, self.config.tombstones).map_err(permanent)?;
        let ticket = Ticket::new(&self.arrivals, index);
        match producer.queue(to, message.key.as_deref(), record, ticket) {
            Ok(()) => {
                match self.owing.iter_mut().find(|(owing, _)| owing.number == producer.number) {
                    Some((_, count)) => *count += 1,
                    None => self.owing.push((Arc::clone(producer), 1)),
                }
                Ok(())
            }
            Err(code) => {
                let class = class_of(code);
                if !matches!(class, Class::Full | Class::ProducerEnded) {
                    self.report.record(delivery, outcome_of(code, delivery.attempt));
                }
                Err(class)
            }
        }
    }

    fn owes(&self) -> bool {
        !self.owing.is_empty()
    }

    /// Takes in reports, until `again_at` at most.
    async fn listen(&mut self, again_at: Instant) {
        let last = self.until + AFTERWARDS;
        let at = if self.expired { last.min(Instant::now() + AGAIN) } else { again_at };
        tokio::select! {
            biased;
            () = self.arrivals.wait() => {}
            () = sleep_until(at) => {
                let now = Instant::now();
                if self.expired && now >= last {
                    // A report that does not come: the message stays in doubt.
                    self.abandon_all();
                    self.owing.clear();
                } else if now >= self.until {
                    self.expire();
                }
            }
        }
        self.take_in();
    }

    fn take_in(&mut self) {
        for Arrival { index, producer: number, seen } in self.arrivals.take() {
            let Some(position) = self.owing.iter().position(|(owing, _)| owing.number == number) else {
                continue;
            };
            let (producer, count) = &mut self.owing[position];
            *count -= 1;
            let producer = Arc::clone(producer);
            if *count == 0 {
                self.owing.swap_remove(position);
            }
            match seen {
                Seen::Delivered { partition, offset } => {
                    self.report.record(
                        &self.batch[index],
                        Outcome::Delivered { receipt: self.receipt(index, partition, offset) },
                    );
                    self.runs.delivered(index, number);
                }
                Seen::Failed { code, doubt } => self.failed(index, &producer, code, doubt),
            }
        }
    }

    fn failed(&mut self, index: usize, producer: &Arc<Producer>, code: Code, doubt: bool) {
        match class_of(code) {
            Class::TakenBack => {
                // Whoever it was that took it back: nothing may go out behind it.
                if !doubt || !producer.is_searching() {
                    producer.retire();
                }
                self.taken_back.push((index, Arc::clone(producer), doubt));
            }
            class if doubt && !matches!(class, Class::Ambiguous | Class::Passed) => {
                let error = appended_before(code);
                self.report.record(&self.batch[index], Outcome::Ambiguous { error });
                self.runs.failed(index);
            }
            Class::Refused if self.alone != Some(index) => self.refused.push(index),
            class => {
                if class == Class::Ambiguous {
                    producer.retire();
                }
                let delivery = &self.batch[index];
                let outcome = match outcome_of(code, delivery.attempt) {
                    Outcome::Ambiguous { error } => Outcome::Ambiguous { error: self.with_trouble(&error) },
                    outcome => outcome,
                };
                self.report.record(delivery, outcome);
                self.runs.failed(index);
            }
        }
    }

    /// `topic[partition]@offset`
    fn receipt(&self, index: usize, partition: i32, offset: Option<i64>) -> Option<String> {
        let topic = &self.to[index].as_ref()?.topic;
        Some(match offset {
            Some(offset) => format!("{topic}[{partition}]@{offset}"),
            None => format!("{topic}[{partition}]"),
        })
    }

    /// The time is over: everything that is not acknowledged is taken back, here and from the calls beside it.
    fn expire(&mut self) {
        self.expired = true;
        for (producer, _) in &self.owing {
            if producer.is_searching() {
                producer.empty();
            } else {
                producer.abandon();
            }
        }
    }

    fn abandon_all(&self) {
        for (producer, _) in &self.owing {
            producer.abandon();
        }
    }

    /// What never left goes again while there is time; what may have left is in doubt.
    async fn look_into_what_was_taken_back(&mut self) {
        // Should this be dropped while it waits, they stay in doubt.
        let mut taken_back = std::mem::take(&mut self.taken_back);
        taken_back.sort_unstable_by_key(|(index, ..)| *index);
        let mut verdicts: Vec<(u64, bool)> = Vec::new();
        for (_, producer, doubt) in &taken_back {
            if *doubt && verdicts.iter().all(|(number, _)| *number != producer.number) {
                let limit = Instant::now() + AFTERWARDS;
                let left = !producer.is_surely_searching(limit).await && {
                    producer.retire();
                    producer.may_have_left(limit).await
                };
                verdicts.push((producer.number, left));
            }
        }
        for (index, producer, doubt) in taken_back {
            let left = doubt && verdicts.iter().any(|(number, left)| *number == producer.number && *left);
            let delivery = &self.batch[index];
            if left {
                let error = if self.expired {
                    self.late()
                } else {
                    self.with_trouble(&appended_before(Code::PurgeQueue))
                };
                self.report.record(delivery, Outcome::Ambiguous { error });
                self.runs.failed(index);
            } else if self.expired || Instant::now() >= self.until {
                self.report.record(delivery, Outcome::Unavailable { retry_after: None, error: self.late() });
                self.runs.failed(index);
            } else {
                self.runs.again(index);
            }
        }
    }

    /// Only what is refused alone is surely the guilty one.
    async fn send_refused_alone(&mut self) {
        self.refused.sort_unstable_by(|a, b| b.cmp(a));
        let Some(&index) = self.refused.last() else { return };
        if self.runs.is_stopped(index) {
            return self.refused_and_not_sent_again(index);
        }
        let Ok(alone) = timeout_at(self.until, self.producers.alone(self.config)).await else {
            return self.expire();
        };
        let Ok((producer, _turn)) = alone else { return self.refused_and_not_sent_again(index) };
        match self.queue_one(&producer, index) {
            Err(Class::Full | Class::ProducerEnded) => return,
            Err(_) => self.runs.failed(index),
            Ok(()) => self.alone = Some(index),
        }
        self.refused.pop();
        while self.owes() {
            self.listen(self.until).await;
        }
        self.alone = None;
    }

    /// What was refused was not appended, and costs nothing.
    fn refused_and_not_sent_again(&mut self, index: usize) {
        self.refused.retain(|refused| *refused != index);
        self.report.record(&self.batch[index], Outcome::NotSent);
        self.runs.failed(index);
    }

    /// Why nothing came in time.
    fn late(&self) -> DeliveryError {
        let limit = self.config.delivery_timeout;
        self.with_trouble(&DeliveryError::new(format!("no acknowledgement within {limit:?}")))
    }

    fn with_trouble(&self, error: &DeliveryError) -> DeliveryError {
        let text = match self.producers.heard.trouble() {
            Some(trouble) => format!("{}; {trouble}", error.text()),
            None => error.text().to_owned(),
        };
        let code = error.code().unwrap_or("MessageTimedOut");
        DeliveryError::new(text).with_code(code)
    }

    /// If nothing at all could be tried, the cluster cannot be reached; what is left then was not sent.
    fn end(self, error: &DeliveryError) {
        let mut waiting = self.runs.waiting();
        if let Some(first) = waiting.next()
            && waiting.count() + 1 == self.batch.len()
        {
            let unavailable = Outcome::Unavailable { retry_after: None, error: error.clone() };
            self.report.record(&self.batch[first], unavailable);
        }
    }
}

/// Why what failed with `code` is in doubt.
fn appended_before(code: Code) -> DeliveryError {
    let text =
        format!("{}; an earlier try was not answered and may have been appended", error_of(code).text());
    DeliveryError::new(text).with_code(format!("{code:?}"))
}

/// At the end, and when it is dropped half-way: what never went to librdkafka, or came back refused, was not sent. What
/// is still there is taken back, and stays in doubt.
impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.take_in();
        self.abandon_all();
        for index in self.runs.waiting().chain(self.refused.iter().copied()) {
            self.report.record(&self.batch[index], Outcome::NotSent);
        }
    }
}
