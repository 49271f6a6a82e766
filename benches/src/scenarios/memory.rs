//! The most memory of a process that drains, with few and with many messages waiting.

use std::process::Stdio;
use std::sync::Arc;

use outbox::OutboxStore;

use super::Context;
use crate::arguments::refuse;
use crate::database::{Bed as _, Database, MySqlBed, PostgresBed, SqliteBed};
use crate::figures::Table;
use crate::load::Load;
use crate::output::Goal::{AtMost, None as Stated};
use crate::receiver::Receiver;
use crate::{library, machine};

const KEYS: usize = 10_000;

pub(super) async fn run(context: &mut Context<'_>) {
    let messages = context.messages(100_000);
    let rounds = context.rounds(3);
    let (few, many) = ("10 thousand behind", "5 million behind");
    let mut table = Table::new("Most memory of a process that drains", "MiB").over(few);
    for (name, behind) in [(few, 10_000), (many, 5_000_000)] {
        eprintln!("  loading: {name}");
        let load = Load::first(behind + messages * rounds, KEYS);
        match context.database {
            Database::Memory => refuse("the memory store keeps everything in memory"),
            Database::Sqlite => {
                let bed = SqliteBed::new(false).await;
                bed.fill(load).await;
                for _ in 0..rounds {
                    table.add(name, peak("sqlite", &bed.path.display().to_string(), messages).await);
                }
            }
            Database::Postgres => {
                let bed = PostgresBed::new(false).await;
                bed.fill(load).await;
                for _ in 0..rounds {
                    table.add(name, peak("postgres", &bed.schema, messages).await);
                }
            }
            Database::MySql => {
                let bed = MySqlBed::new(false).await;
                bed.fill(load).await;
                for _ in 0..rounds {
                    table.add(name, peak("mysql", &bed.database, messages).await);
                }
            }
        }
    }
    context.report.setting("messages drained", messages);
    context.report.aim(
        "memory with 5 million waiting ÷ with 10 thousand",
        AtMost(1.2),
        table.ratio(many, few),
    );
    context.report.aim("memory with 5 million waiting, MiB", Stated, table.spread(many));
    context.report.tables = vec![table];
}

/// What a child of this program had at most while it drained `messages`: nothing is counted that filled the outbox.
async fn peak(database: &str, place: &str, messages: usize) -> f64 {
    let child = tokio::process::Command::new(std::env::current_exe().expect("a program"))
        .args([super::CHILD, "memory", place, "--database", database, "--messages", &messages.to_string()])
        .stderr(Stdio::inherit())
        .output();
    let output = child.await.expect("a child");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a figure")
}

/// Drains in a process of its own and prints its peak.
pub(super) async fn child(store: Arc<dyn OutboxStore>, messages: usize) {
    let receiver = Receiver::new(messages, 0);
    library::drain(store, library::settings(None), &receiver).await;
    println!("{}", machine::peak_memory());
}
