//! What the benchmarks share: a load, a transport that checks order while it counts, and medians.

mod figures;
mod load;
mod noop;

pub use figures::{Figures, peak_memory, processor_time};
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

/// The number after `--name` on the command line, or `default`.
#[must_use]
pub fn argument(name: &str, default: usize) -> usize {
    text_argument(name).and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// What stands after `--name` on the command line.
#[must_use]
pub fn text_argument(name: &str) -> Option<String> {
    let flag = format!("--{name}");
    let mut arguments = std::env::args().skip_while(|argument| *argument != flag);
    arguments.nth(1)
}
