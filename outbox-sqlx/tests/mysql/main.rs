//! What every store promises, of `MySqlOutbox`, and what is MySQL's and MariaDB's own. Every test needs a server.
#![cfg(feature = "mysql")]

mod conformance;
mod dispatchers;
mod fixture;
mod plain_sql;
mod plans;
mod producers;
#[path = "../faults/proxy.rs"]
mod proxy;
mod reading;
mod schema;
mod settling;
mod silent;
mod slots;
mod storm;
mod upgrade;
