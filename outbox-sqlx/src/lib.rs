//! Outbox stores on [sqlx](https://docs.rs/sqlx) 0.9, one per database, each behind the feature of its name.
//!
//! `SqliteOutbox` (feature `sqlite`), `PostgresOutbox` (feature `postgres`) and `MySqlOutbox` (feature `mysql`, MySQL and
//! MariaDB) enqueue in the caller's own `sqlx::Transaction`, are the store of a dispatcher, and have the administration
//! and the inbox:
//!
#![cfg_attr(feature = "sqlite", doc = "```no_run")]
#![cfg_attr(not(feature = "sqlite"), doc = "```ignore")]
//! use outbox_core::{Enqueue, NewMessage};
//! use outbox_sqlx::SqliteOutbox;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let pool = sqlx::SqlitePool::connect("sqlite:bookings.db?mode=rwc").await?;
//! let outbox = SqliteOutbox::new(pool);
//! outbox.migrate().await?;
//!
//! let mut tx = outbox.begin().await?;
//! sqlx::query("INSERT INTO bookings (room) VALUES (?)").bind("blue").execute(&mut *tx).await?;
//! let message = NewMessage::builder("bookings").key("blue").json(&"booked").build()?;
//! outbox.enqueue(&mut tx, &[message]).await?;
//! outbox.commit(tx).await?;
//! # Ok(())
//! # }
//! ```

// What the databases share.
#[cfg(feature = "mysql")]
mod acts;
#[cfg(feature = "mysql")]
mod admin;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod by;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod deadline;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod idle;
#[cfg(feature = "mysql")]
mod micros;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod migration;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod retention;
#[cfg(feature = "mysql")]
mod set_aside;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod statement;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod unanswered;

#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
pub use migration::Migration;
#[cfg(feature = "mysql")]
pub use mysql::{MySqlOutbox, MySqlOutboxBuilder};
#[cfg(feature = "postgres")]
pub use postgres::{PostgresOutbox, PostgresOutboxBuilder};
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteOutbox, SqliteOutboxBuilder};
