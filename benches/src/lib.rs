//! Benchmarks of the outbox library.
