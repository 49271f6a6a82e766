//! Benchmarks that check what they measure: `cargo run --release -p outbox-benches -- SCENARIO… [--database NAME]`.
//!
//! Every scenario verifies that each message arrived once and in the order of its key, measures the variants in turns
//! together with the roof they are held against, and writes JSON, Markdown and plots to `target/bench/`.

mod arguments;
mod by_hand;
#[cfg(feature = "kafka")]
mod cluster;
mod database;
mod figures;
mod flow;
mod library;
mod load;
mod machine;
mod output;
mod peer;
mod receiver;
mod scenarios;
mod watched;

use std::process::ExitCode;

use arguments::{Arguments, USAGE, refuse};

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(scenarios::OURS) {
        return scenarios::speak_for_ours();
    }
    if std::env::args().skip(1).any(|word| word == "--help" || word == "-h") {
        println!("{}", usage());
        return ExitCode::SUCCESS;
    }
    measure()
}

/// Runs the scenarios that the command line names.
fn measure() -> ExitCode {
    let arguments = Arguments::read();
    if scenarios::is_child(&arguments) {
        runtime().block_on(scenarios::child(&arguments));
        return ExitCode::SUCCESS;
    }
    if arguments.scenarios.is_empty() {
        eprintln!("{}", usage());
        return ExitCode::from(2);
    }
    for scenario in &arguments.scenarios {
        eprintln!("{scenario}, {}", arguments.database);
        let report = runtime().block_on(scenarios::run(scenario, &arguments));
        match report.publish() {
            Ok(files) => eprintln!(
                "\nwritten: {}",
                files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(" ")
            ),
            Err(error) => refuse(&format!("the report could not be written: {error}")),
        }
    }
    ExitCode::SUCCESS
}

/// What can be asked for.
fn usage() -> String {
    format!("{USAGE}\n\nScenarios:\n{}", scenarios::list())
}

/// The runtime that every scenario runs on.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}
