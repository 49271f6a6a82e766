//! The transport against Apache Kafka: `scripts/services up kafka` brings its jars, and the tests start brokers of their
//! own from them.

#[path = "../support/mod.rs"]
mod support;

mod conformance;
mod faults;
mod gate;
mod java;
mod python;
