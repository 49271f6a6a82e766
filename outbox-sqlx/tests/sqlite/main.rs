//! What is SQLite's own: files, processes, plain SQL, plans. What every store promises is the conformance suite.
#![cfg(feature = "sqlite")]

mod enqueueing;
mod fixture;
