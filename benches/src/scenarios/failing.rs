//! Messages that fail: whether the others flow on.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use outbox::{Delivery, DeliveryReport, Outcome, Transport, async_trait};

use super::Context;
use crate::database::{Bed, Database};
use crate::figures::Table;
use crate::library::{self, Running};
use crate::load::{Load, number_in};
use crate::output::Goal::{AtLeast, None as Stated};
use crate::receiver::Receiver;

/// Messages that wait behind the key that always fails.
const BEHIND: usize = 100_000;

pub(super) async fn run(context: &mut Context<'_>) {
    let messages = context.messages(100_000);
    let rounds = context.rounds(5);
    let none = "nothing fails";
    let key = "one key of 1,000 fails, 100,000 messages set aside behind it";
    let aside = "the same, and the 100,000 are to be set aside first";
    let many = "nothing fails, 100,000 keys";
    let some = "1 % fail once, 100,000 keys: those that do not fail";
    let all = "1 % fail once, 100,000 keys: all, with the waits of up to a second";
    let mut table = Table::new("Drain of the others", "messages/s").over(none).over(many);
    for round in 0..rounds {
        eprintln!("  round {} of {rounds}", round + 1);
        table.add(none, drain(context.database, messages, 1_000, Fails::Never).await.others);
        table.add(key, beside(context.database, messages, true).await);
        table.add(aside, beside(context.database, messages, false).await);
        table.add(many, drain(context.database, messages, 100_000, Fails::Never).await.others);
        let once = drain(context.database, messages, 100_000, Fails::Once).await;
        table.add(some, once.others);
        table.add(all, once.all);
    }
    context.report.setting("messages timed", messages);
    context.report.aim(
        "one failing key of 1,000 ÷ none, once those behind it are set aside",
        AtLeast(0.8),
        table.ratio(key, none),
    );
    context.report.aim(
        "one failing key of 1,000 ÷ none, setting those behind it aside included",
        Stated,
        table.ratio(aside, none),
    );
    context.report.aim("1 % fail once ÷ none, those that do not fail", Stated, table.ratio(some, many));
    context.report.aim(
        "1 % fail once ÷ none, all, with the waits of up to a second",
        Stated,
        table.ratio(all, many),
    );
    context.report.tables = vec![table];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fails {
    Never,
    /// Whatever has the key of message 0.
    FirstKey,
    /// Every hundredth message, at its first attempt.
    Once,
}

impl Fails {
    fn concerns(self, number: usize, keys: usize) -> bool {
        match self {
            Self::Never => false,
            Self::FirstKey => number.is_multiple_of(keys),
            Self::Once => number % 100 == 7,
        }
    }
}

/// Messages a second: those that never fail, and all that arrive.
struct Rates {
    others: f64,
    all: f64,
}

async fn drain(database: Database, messages: usize, keys: usize, fails: Fails) -> Rates {
    let bed = database.open(false).await;
    bed.fill(Load::first(messages, keys)).await;
    let failing = (0..messages).filter(|number| fails.concerns(*number, keys)).count();
    let all = Receiver::new(messages, keys);
    let others = Receiver::new(messages - failing, 0);
    let transport = Failing::new(keys, fails, &others, Some(&all));
    let running = Running::start(bed.elsewhere(), library::settings(None), transport);
    all.wait().await;
    running.stop().await;
    all.check(messages, bed.left().await);
    Rates { others: others.rate(), all: all.rate() }
}

/// The messages of 999 keys beside one that fails, with [`BEHIND`] of it in front of all; these are set aside before the
/// clock starts, or not.
async fn beside(database: Database, messages: usize, set_aside_before: bool) -> f64 {
    let bed = database.open(false).await;
    bed.fill(Load::first(BEHIND, 1)).await;
    if set_aside_before {
        set_aside(&*bed).await;
    }
    let (keys, from) = (1_000, BEHIND.next_multiple_of(1_000));
    let stored = bed.left().await;
    bed.fill(Load { from, to: from + messages, keys }).await;
    // Those of the failing key join the ones behind it.
    let others = Receiver::new(messages - messages.div_ceil(keys), keys);
    let transport = Failing::new(keys, Fails::FirstKey, &others, None);
    let started = Instant::now();
    let running = Running::start(bed.elsewhere(), library::settings(None), transport);
    others.wait().await;
    let took = started.elapsed();
    running.stop().await;
    others.check(stored + messages, bed.left().await);
    if set_aside_before { others.rate() } else { others.count() as f64 / took.as_secs_f64() }
}

/// Lets everything that is stored pile up behind its key.
async fn set_aside(bed: &dyn Bed) {
    let transport = Failing::new(1, Fails::FirstKey, &Receiver::new(1, 0), None);
    let running = Running::start(bed.elsewhere(), library::settings(None), transport);
    while bed.fresh().await > 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    running.stop().await;
}

/// Accepts what does not fail.
struct Failing {
    keys: usize,
    fails: Fails,
    failed: Mutex<HashSet<usize>>,
    others: Receiver,
    all: Option<Receiver>,
}

impl Failing {
    fn new(keys: usize, fails: Fails, others: &Receiver, all: Option<&Receiver>) -> Self {
        Self { keys, fails, failed: Mutex::default(), others: others.clone(), all: all.cloned() }
    }

    fn refuses(&self, number: usize) -> bool {
        match self.fails {
            Fails::Once => self.failed.lock().expect("nobody panics").insert(number),
            _ => true,
        }
    }
}

#[async_trait]
impl Transport for Failing {
    async fn deliver(&self, batch: &[Delivery], report: &DeliveryReport) {
        let (mut others, mut all) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        for delivery in batch {
            let number = number_in(&delivery.message.payload);
            let concerned = self.fails.concerns(number, self.keys);
            if concerned && self.refuses(number) {
                report.record(delivery, Outcome::transient("refused on purpose"));
                continue;
            }
            if !concerned {
                others.push(number);
            }
            all.push(number);
        }
        self.others.see(others);
        if let Some(receiver) = &self.all {
            receiver.see(all);
        }
        report.record_rest(batch, &Outcome::delivered());
    }

    fn keeps_order(&self) -> bool {
        true
    }
}
