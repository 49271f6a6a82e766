//! Faults that must be survived, with real processes: dispatchers that are killed, stopped, cut off from their
//! database or given a wrong clock, while messages of a thousand keys go on being enqueued.
//!
//! This binary runs itself again as each dispatcher (`dispatcher.rs`). What they deliver arrives here, over TCP
//! (`receiver.rs`), and is compared with what was committed (`account.rs`). A file per fault.
//!
//! Lost messages, order, duplicates and attempts are asserted; times and rates are printed and never judged.
//! `scripts/test` runs a tenth of the counts, `scripts/faults` (`OUTBOX_FAULTS=full`) all of them.
#![cfg(all(feature = "mysql", feature = "postgres", feature = "sqlite"))]

mod account;
mod clock;
mod database_away;
mod dispatcher;
mod failing_key;
mod home;
mod joining;
mod killed;
mod listening;
mod load;
mod long_transaction;
mod not_durable;
mod outage;
mod outbox;
mod poison;
mod process;
mod proxy;
mod receiver;
mod run;
mod server;
mod shutdown;
mod stopped;

/// A test of `$scenario` on each of the databases.
macro_rules! on {
    ($scenario:ident: $($database:ident),+) => {
        mod $scenario {
            $(crate::on!(@ $scenario $database);)+
        }
    };
    (@ $scenario:ident postgres) => {
        #[tokio::test(flavor = "multi_thread")]
        #[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
        async fn on_postgres() {
            super::$scenario(crate::home::Database::Postgres).await;
        }
    };
    (@ $scenario:ident mariadb) => {
        #[tokio::test(flavor = "multi_thread")]
        #[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
        async fn on_mariadb() {
            super::$scenario(crate::home::Database::MariaDb).await;
        }
    };
    (@ $scenario:ident sqlite) => {
        #[tokio::test(flavor = "multi_thread")]
        #[ignore = "takes some seconds; scripts/test runs it"]
        async fn on_sqlite() {
            super::$scenario(crate::home::Database::Sqlite).await;
        }
    };
}
pub(crate) use on;
