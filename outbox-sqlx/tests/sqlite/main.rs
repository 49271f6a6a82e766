//! What is SQLite's own: files, processes, plain SQL, keys of many messages. What every store promises is in the
//! conformance suite.
#![cfg(feature = "sqlite")]

mod dropped;
mod enqueueing;
mod fixture;
mod keys;
mod model;
mod outboxes;
mod plain_sql;
mod processes;
mod schema;
mod upgrade;
