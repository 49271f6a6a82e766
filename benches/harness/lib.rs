//! What the benchmarks share: a load, a transport that checks order while it counts, and medians.

mod figures;
mod load;
mod noop;

pub use figures::{Figures, peak_memory};
pub use load::{Load, PAYLOAD};
pub use noop::Noop;

/// The runtime that every benchmark runs on.
///
/// # Panics
/// When the system refuses threads.
#[must_use]
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// The value of `--name` on the command line, or `default`.
#[must_use]
pub fn argument(name: &str, default: usize) -> usize {
    let flag = format!("--{name}");
    let arguments: Vec<String> = std::env::args().collect();
    let given = arguments.iter().position(|argument| *argument == flag).and_then(|at| arguments.get(at + 1));
    given.and_then(|value| value.parse().ok()).unwrap_or(default)
}
