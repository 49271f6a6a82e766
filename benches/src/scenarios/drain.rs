//! How fast a backlog drains: the library against loops written by hand.

use outbox::Settings;

use super::Context;
use crate::by_hand::{mysql, postgres, sqlite};
use crate::database::{Bed as _, Database, MySqlBed, PostgresBed, SqliteBed};
use crate::figures::Table;
use crate::load::Load;
use crate::output::Goal::{AtLeast, AtMost};
use crate::receiver::Receiver;
use crate::{library, machine};

const KEYS: usize = 10_000;

/// Messages that are loaded beyond those that are timed, so that nothing runs dry.
const BEHIND: usize = 20_000;

/// Who drains.
#[derive(Clone, Copy)]
enum Who {
    Library,
    Sqlite,
    Postgres(postgres::Loop),
    MySql(mysql::Loop),
}

impl Who {
    const fn name(self) -> &'static str {
        match self {
            Self::Library => "library",
            Self::Sqlite => postgres::Loop::Library.name(),
            Self::Postgres(by_hand) => by_hand.name(),
            Self::MySql(by_hand) => by_hand.name(),
        }
    }
}

/// Messages a second, and processor time of this process and of the server, µs a message.
pub(super) struct Cost {
    pub(super) rate: f64,
    pub(super) own: f64,
    pub(super) server: f64,
}

impl Cost {
    fn new(receiver: &Receiver, own: f64, server: f64) -> Self {
        let each = 1e6 / receiver.count() as f64;
        Self { rate: receiver.rate(), own: own * each, server: server * each }
    }
}

pub(super) async fn run(context: &mut Context<'_>) {
    let messages = context.messages(100_000);
    let shipped = Settings::default().batch;
    let mut variants = vec![("library, shipped settings".to_owned(), Who::Library, None)];
    for batch in [shipped, 100, 1_000] {
        if batch != shipped {
            variants.push((format!("library, batch {batch}"), Who::Library, Some(batch)));
        }
        let loops: Vec<Who> = match context.database {
            Database::Memory => Vec::new(),
            Database::Sqlite => vec![Who::Sqlite],
            Database::Postgres => {
                use postgres::Loop::{Claiming, Library, Owner};
                [Library, Owner, Claiming].map(Who::Postgres).into()
            }
            Database::MySql => {
                use mysql::Loop::{Claiming, Library, Owner};
                [Library, Owner, Claiming].map(Who::MySql).into()
            }
        };
        for by_hand in loops {
            variants.push((format!("{}, batch {batch}", by_hand.name()), by_hand, Some(batch)));
        }
    }
    variants.retain(|(name, ..)| context.arguments.wants(name));
    let mut rates = Table::new("Drain, 10,000 keys, order per key", "messages/s");
    let mut own = Table::new("Processor time of the dispatching process", "µs a message");
    let mut server = Table::new("Processor time of the database server", "µs a message");
    let rounds = context.rounds(5);
    for round in 0..rounds {
        eprintln!("  round {} of {rounds}", round + 1);
        for n in 0..variants.len() {
            // Another one comes first in each round.
            let (name, who, batch) = &variants[(n + round) % variants.len()];
            let cost = drain(context.database, *who, *batch, messages).await;
            rates.add(name, cost.rate);
            own.add(name, cost.own);
            if cost.server > 0.0 {
                server.add(name, cost.server);
            }
        }
    }
    let report = &mut context.report;
    report.setting("messages timed", messages);
    for (name, batch) in [("shipped settings", shipped), ("batch 100", 100), ("batch 1000", 1_000)] {
        let library = format!("library, {name}");
        for (by_hand, goal) in
            [("hand-written loop", 0.9), ("bare owner loop", 0.8), ("row-claiming loop", 2.5)]
        {
            let ratio = rates.ratio(&library, &format!("{by_hand}, batch {batch}"));
            report.aim(format!("{library} ÷ {by_hand}, batch {batch}"), AtLeast(goal), ratio);
        }
    }
    report.aim(
        "processor time of the dispatcher at batch 100, µs a message",
        AtMost(4.0),
        own.spread("library, batch 100"),
    );
    report.tables = vec![rates, own];
    if !server.variants.is_empty() {
        report.tables.push(server);
    }
}

/// Loads, drains and checks.
async fn drain(database: Database, who: Who, batch: Option<usize>, messages: usize) -> Cost {
    let receiver = Receiver::new(messages, KEYS);
    let load = Load::first(messages + BEHIND, KEYS);
    match who {
        Who::Postgres(by_hand) => drain_by_hand(by_hand, batch.unwrap_or(500), messages).await,
        Who::MySql(by_hand) => {
            let bed = MySqlBed::new(false).await;
            by_hand.fill(&bed, load).await;
            let (server, own) = (bed.server_time().await, machine::own_time());
            by_hand.drain(&bed, batch.unwrap_or(500), &receiver).await;
            let (server, own) = (bed.server_time().await - server, machine::own_time() - own);
            receiver.check(load.len(), by_hand.left(&bed).await);
            Cost::new(&receiver, own, server)
        }
        Who::Sqlite => {
            let bed = SqliteBed::new(false).await;
            bed.fill(load).await;
            let own = machine::own_time();
            sqlite::drain(&bed.path, batch.unwrap_or(500), &receiver).await;
            let own = machine::own_time() - own;
            receiver.check(load.len(), bed.left().await);
            Cost::new(&receiver, own, 0.0)
        }
        Who::Library => {
            let bed = database.open(false).await;
            bed.fill(load).await;
            let (server, own) = (bed.server_time().await, machine::own_time());
            library::drain(bed.store(), library::settings(batch), &receiver).await;
            let (server, own) = (bed.server_time().await - server, machine::own_time() - own);
            receiver.check(load.len(), bed.left().await);
            Cost::new(&receiver, own, server)
        }
    }
}

/// The same with one of the loops on PostgreSQL.
pub(super) async fn drain_by_hand(by_hand: postgres::Loop, batch: usize, messages: usize) -> Cost {
    let receiver = Receiver::new(messages, KEYS);
    let load = Load::first(messages + BEHIND, KEYS);
    let bed = PostgresBed::new(false).await;
    by_hand.fill(&bed, load).await;
    let (server, own) = (bed.server_time().await, machine::own_time());
    by_hand.drain(&bed, batch, &receiver).await;
    let (server, own) = (bed.server_time().await - server, machine::own_time() - own);
    receiver.check(load.len(), by_hand.left(&bed).await);
    Cost::new(&receiver, own, server)
}
