//! The transport against librdkafka's mock cluster: brokers inside this process that speak the protocol over TCP.

#[path = "../support/mod.rs"]
mod support;

mod cluster;
mod conformance;
mod doubt;
mod faults;
mod outcomes;
mod slow;
