//! Whether a drain slows down: with few or many keys, and with a million or five million messages waiting behind.

use super::Context;
use crate::database::{Bed, Database};
use crate::figures::Table;
use crate::library;
use crate::load::Load;
use crate::output::Goal::AtLeast;
use crate::receiver::Receiver;

/// Keys, messages waiting behind those that are timed, and what the variant is called.
const VARIANTS: [(usize, usize, &str); 8] = [
    (0, 10_000, "no keys, 10 thousand behind"),
    (1, 10_000, "1 key, 10 thousand behind"),
    (100, 10_000, "100 keys, 10 thousand behind"),
    (100_000, 10_000, "100,000 keys, 10 thousand behind"),
    (100, 1_000_000, "100 keys, 1 million behind"),
    (100, 5_000_000, "100 keys, 5 million behind"),
    (100, 10_000, "hand-written loop, 100 keys, 10 thousand behind"),
    (100, 5_000_000, "hand-written loop, 100 keys, 5 million behind"),
];

/// The first variants are the library's.
const BY_HAND: &str = "hand-written loop";

/// A backlog that is drained from the front and filled up at the end.
struct Backlog {
    name: &'static str,
    bed: Box<dyn Bed>,
    keys: usize,
    loaded: usize,
    drained: usize,
}

pub(super) async fn run(context: &mut Context<'_>) {
    let messages = context.messages(100_000);
    let rounds = context.rounds(5);
    let mut backlogs = Vec::new();
    for (keys, behind, name) in VARIANTS {
        // In memory, five million messages are a matter of the machine.
        let fits = context.database != Database::Memory || behind <= 1_000_000;
        let fits = fits && (context.database == Database::Postgres || !name.starts_with(BY_HAND));
        if fits && context.arguments.wants(name) {
            eprintln!("  loading: {name}");
            let bed = context.database.open(false).await;
            bed.fill(Load::first(behind, keys)).await;
            backlogs.push(Backlog { name, bed, keys, loaded: behind, drained: 0 });
        }
    }
    let mut table = Table::new("Drain by keys and backlog", "messages/s").over(VARIANTS[2].2);
    let mut roof = Table::new("The same by hand", "messages/s").over(VARIANTS[6].2);
    for round in 0..rounds {
        eprintln!("  round {} of {rounds}", round + 1);
        let turn = round % backlogs.len();
        backlogs.rotate_left(turn);
        for backlog in &mut backlogs {
            let table = if backlog.is_by_hand() { &mut roof } else { &mut table };
            table.add(backlog.name, backlog.round(messages).await);
        }
        backlogs.rotate_right(turn);
    }
    context.report.setting("messages timed", messages);
    context.report.aim("slowest ÷ fastest over keys and backlogs, medians", AtLeast(0.7), table.evenness());
    context.report.tables = vec![table];
    if !roof.variants.is_empty() {
        context.report.tables.push(roof);
    }
}

impl Backlog {
    fn is_by_hand(&self) -> bool {
        self.name.starts_with(BY_HAND)
    }

    async fn round(&mut self, messages: usize) -> f64 {
        let load = Load { from: self.loaded, to: self.loaded + messages, keys: self.keys };
        self.bed.fill(load).await;
        self.loaded = load.to;
        let receiver = Receiver::new(messages, self.keys);
        if self.is_by_hand() {
            self.bed.drain_by_hand(&receiver).await;
        } else {
            library::drain(self.bed.elsewhere(), library::settings(None), &receiver).await;
        }
        self.drained += receiver.count();
        // Every message that is not left arrived exactly once, here or in an earlier round.
        let before = self.drained - receiver.count();
        receiver.check(self.loaded - before, self.bed.left().await);
        receiver.rate()
    }
}
