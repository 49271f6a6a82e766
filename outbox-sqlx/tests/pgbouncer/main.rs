//! `PostgresOutbox` through PgBouncer in transaction mode. Every test needs both servers.
#![cfg(feature = "postgres")]

mod conformance;
mod dispatchers;
mod fixture;
