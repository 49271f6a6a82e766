//! The race against other libraries: each is a program of its own that enqueues, delivers and checks in the same way.
//!
//! Every run of a program gets a new database. The programs take turns, part by part, and another one comes first in
//! each round. What depends on the machine is run in every round; what is waited for is run once.

mod board;
mod parts;
mod program;
mod server;

use super::Context;
use crate::peer::Outbox;
use board::{Board, Column};
use parts::{PARTS, Race};
use program::{Program, Variant};
use server::Server;

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

    let rounds = context.rounds(3);
    let messages = context.messages(100_000);
    let seconds = context.arguments.seconds.unwrap_or(30);
    let mut race = Race { server: Server::connect().await, board: Board::new(), messages, seconds };
    for round in 0..rounds {
        for (part, is_repeated) in PARTS {
            if !(wanted.is_empty() || wanted.contains(&part.to_string())) || (round > 0 && !is_repeated) {
                continue;
            }
            eprintln!("  round {} of {rounds}: {part}", round + 1);
            for n in 0..variants.len() {
                race.run(part, &variants[(n + round) % variants.len()]).await;
            }
        }
    }

    let report = &mut context.report;
    report.setting("messages", messages);
    report.setting("bytes a body", outbox_race::BODY_BYTES);
    report.setting("messages a transaction", outbox_race::PER_TRANSACTION);
    report.setting("rounds", rounds);
    for aim in race.board.aims(&variants) {
        report.aims.push(aim);
    }
    report.remarks.push(race.board.summary(&variants));
    let with = |variant: &Variant<'_>| format!("- {}: {}\n", variant.name, variant.settings());
    report.remarks.push(format!("The settings:\n\n{}", variants.iter().map(with).collect::<String>()));
    report.tables = race.board.into_tables();
}

/// What a program says about a part that it cannot do.
fn excuse<'a>(variant: &Variant<'a>, part: &str) -> Option<&'a str> {
    variant.program.about.cannot.get(part).map(String::as_str)
}

impl Race {
    /// Runs one part with one program, and notes what came out, or why nothing did.
    async fn run(&mut self, part: &str, variant: &Variant<'_>) {
        let columns = Column::of(part);
        if let Some(reason) = excuse(variant, part) {
            for column in columns {
                self.board.note(*column, variant, format!("cannot: {reason}"));
            }
            return;
        }
        if let Err(reason) = self.part(part, variant).await {
            eprintln!("    {}: {reason}", variant.name);
            for column in columns {
                self.board.note(*column, variant, reason.clone());
            }
        }
    }
}
