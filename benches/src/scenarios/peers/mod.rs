//! The race against other libraries: each is a program of its own that enqueues, delivers and checks in the same way.
//!
//! Every run of a program gets a new database. The programs take turns, part by part, and another one comes first in
//! each round. What depends on the machine is run in every round, what is waited for once; and what was stopped
//! unfinished in one round is not run in the next.

mod aims;
mod board;
mod parts;
mod program;
mod server;

use std::time::Instant;

use super::Context;
use crate::peer::Outbox;
use board::Column;
use parts::{PARTS, Race};
use program::{Program, Variant};

/// The first word of a process in which this program is one of the race.
pub(crate) const OURS: &str = "peer";

/// Runs this library's program of the race.
pub(crate) fn speak_for_ours() -> std::process::ExitCode {
    // The first words are this program and `peer`.
    outbox_race::speak_for::<Outbox>(std::env::args().skip(2))
}

pub(super) async fn run(context: &mut Context<'_>) {
    context.needs_postgres();
    let wanted = context.arguments.parts.clone();
    let ours = Program::ours().await;
    let others = Program::others(context.arguments).await;
    let all: Vec<&Program> = std::iter::once(&ours).chain(&others).collect();
    let variants: Vec<Variant<'_>> = all.iter().flat_map(|program| program.variants()).collect();

    let rounds = context.rounds(2);
    let messages = context.messages(50_000);
    let seconds = context.arguments.seconds.unwrap_or(5);
    let started = Instant::now();
    let race = Race::new(messages, seconds).await;
    for round in 0..rounds {
        for (part, is_repeated) in PARTS {
            if !(wanted.is_empty() || wanted.contains(&part.to_string())) || (round > 0 && !is_repeated) {
                continue;
            }
            eprintln!("  {} s: round {} of {rounds}, {part}", started.elapsed().as_secs(), round + 1);
            let turns = (0..variants.len()).map(|n| &variants[(n + round) % variants.len()]);
            let turns = turns.filter(|variant| round == 0 || race.board().is_worth_another(part, variant));
            // They wait for each other, in this order, wherever they need the machine.
            futures_util::future::join_all(turns.map(|variant| race.run(part, variant))).await;
        }
    }

    let report = &mut context.report;
    report.setting("messages", messages);
    report.setting("bytes a body", outbox_race::BODY_BYTES);
    report.setting("messages a transaction", outbox_race::PER_TRANSACTION);
    report.setting("rounds", rounds);
    report.setting("seconds of a flow", seconds);
    report.aims.extend(aims::aims(&race.board(), &variants));
    report.remarks.push(race.board().summary(&variants));
    let with = |variant: &Variant<'_>| format!("- {}: {}\n", variant.name, variant.settings());
    report.remarks.push(format!("The settings:\n\n{}", variants.iter().map(with).collect::<String>()));
    report.tables = race.into_tables();
}

/// What a program says about a part that it cannot do.
fn excuse<'a>(variant: &Variant<'a>, part: &str) -> Option<&'a str> {
    variant.program.about.cannot.get(part).map(String::as_str)
}

impl Race {
    /// Runs one part with one program, and notes what came out, or why nothing did.
    async fn run(&self, part: &str, variant: &Variant<'_>) {
        let columns = Column::of(part);
        if let Some(reason) = excuse(variant, part) {
            for column in columns {
                self.board().note(*column, variant, format!("cannot: {reason}"));
            }
            return;
        }
        // A million rows take long; ours are what shipped settings are asked of.
        if part == "kept" && !variant.is_ours && !variant.is_best() {
            for column in columns {
                self.board().note(*column, variant, "run with the best settings only".to_owned());
            }
            return;
        }
        if let Err(reason) = self.part(part, variant).await {
            eprintln!("    {}: {reason}", variant.name);
            for column in columns {
                self.board().note(*column, variant, reason.clone());
            }
        }
    }
}
