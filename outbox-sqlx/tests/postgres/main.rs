//! What every store promises, of `PostgresOutbox`, and what is PostgreSQL's own. Every test needs a server.
#![cfg(feature = "postgres")]

mod aside;
mod conformance;
mod deaf;
mod dispatchers;
mod fixture;
mod latency;
mod others;
mod plain_sql;
mod plans;
#[path = "../faults/proxy.rs"]
mod proxy;
mod reading;
mod schema;
mod settling;
mod silent;
mod slots;
mod storm;
mod upgrade;
mod waking;
