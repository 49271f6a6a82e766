//! Messages that fail: whether the others flow on.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

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
    let (none, key, some) = (
        "nothing fails",
        "one key of 1,000 fails, 100,000 messages behind it",
        "1 % fail once, 100,000 keys",
    );
    let many = "nothing fails, 100,000 keys";
    let mut table = Table::new("Drain of the others", "messages/s").over(none).over(many);
    for round in 0..rounds {
        eprintln!("  round {} of {rounds}", round + 1);
        table.add(none, drain(context.database, messages, 1_000, Fails::Never).await);
        table.add(key, drain(context.database, messages, 1_000, Fails::FirstKey).await);
        table.add(many, drain(context.database, messages, 100_000, Fails::Never).await);
        table.add(some, drain(context.database, messages, 100_000, Fails::Once).await);
    }
    context.report.setting("messages timed", messages);
    context.report.aim("one failing key of 1,000 ÷ none", AtLeast(0.8), table.ratio(key, none));
    context.report.aim("1 % fail once ÷ none", Stated, table.ratio(some, many));
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

async fn drain(database: Database, messages: usize, keys: usize, fails: Fails) -> f64 {
    let bed = database.open(false).await;
    let (mut kept, mut from) = (0, 0);
    if fails == Fails::FirstKey {
        bed.fill(Load::first(BEHIND, 1)).await;
        set_aside(&*bed).await;
        // Of the others, those of the failing key join the ones behind it.
        (kept, from) = (messages.div_ceil(keys), BEHIND.next_multiple_of(keys));
    }
    let stored = bed.left().await;
    bed.fill(Load { from, to: from + messages, keys }).await;
    let receiver = Receiver::new(messages - kept, keys);
    let failing = Failing { receiver: receiver.clone(), keys, fails, failed: Arc::default() };
    let running = Running::start(bed.elsewhere(), library::settings(None), failing);
    receiver.wait().await;
    running.stop().await;
    receiver.check(stored + messages, bed.left().await);
    receiver.rate()
}

/// Lets everything that is stored pile up behind its key.
async fn set_aside(bed: &dyn Bed) {
    let receiver = Receiver::new(1, 0);
    let failing = Failing { receiver, keys: 1, fails: Fails::FirstKey, failed: Arc::default() };
    let running = Running::start(bed.elsewhere(), library::settings(None), failing);
    while bed.fresh().await > 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    running.stop().await;
}

/// Accepts what does not fail.
struct Failing {
    receiver: Receiver,
    keys: usize,
    fails: Fails,
    failed: Arc<Mutex<HashSet<usize>>>,
}

impl Failing {
    fn refuses(&self, number: usize) -> bool {
        match self.fails {
            Fails::Never => false,
            Fails::FirstKey => number.is_multiple_of(self.keys),
            Fails::Once => number % 100 == 7 && self.failed.lock().expect("nobody panics").insert(number),
        }
    }
}

#[async_trait]
impl Transport for Failing {
    async fn deliver(&self, batch: &[Delivery], report: &DeliveryReport) {
        let mut accepted = Vec::with_capacity(batch.len());
        for delivery in batch {
            let number = number_in(&delivery.message.payload);
            if self.refuses(number) {
                report.record(delivery, Outcome::transient("refused on purpose"));
            } else {
                accepted.push(number);
            }
        }
        self.receiver.see(accepted);
        report.record_rest(batch, &Outcome::delivered());
    }

    fn keeps_order(&self) -> bool {
        true
    }
}
