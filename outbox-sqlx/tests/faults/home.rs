//! Where an outbox of a test lives: a schema, a file, a database of its own, which goes with it.

use std::str::FromStr;

use outbox_core::MessageId;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions};
use tempfile::TempDir;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Database {
    Postgres,
    Sqlite,
}

impl Database {
    /// How many slots its dispatchers share.
    pub(crate) const fn slots(self) -> usize {
        match self {
            Self::Postgres => 16,
            Self::Sqlite => 1,
        }
    }

    /// What a transaction begins with that reads, and holds on to what it read.
    pub(crate) const fn reader(self) -> &'static str {
        match self {
            Self::Postgres => "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM made",
            Self::Sqlite => "SELECT count(*) FROM made",
        }
    }
}

pub(crate) struct Home {
    pub(crate) url: String,
    name: String,
    /// The server that it is on, unless it is a file.
    server: Option<String>,
    _folder: Option<TempDir>,
}

impl Home {
    pub(crate) async fn new(database: Database) -> Self {
        match database {
            Database::Postgres => {
                let server = std::env::var("TEST_POSTGRES_URL")
                    .expect("TEST_POSTGRES_URL names a server; see scripts/services");
                Self::at(database, &server).await
            }
            Database::Sqlite => {
                let folder = tempfile::tempdir().unwrap();
                let url = format!("sqlite://{}", folder.path().join("outbox.db").display());
                Self { url, name: name(), server: None, _folder: Some(folder) }
            }
        }
    }

    /// On the server at that URL. Its name is also that of all connections to it.
    pub(crate) async fn at(database: Database, server: &str) -> Self {
        assert_eq!(database, Database::Postgres, "{database:?} has no server");
        let name = name();
        call(server, &format!("CREATE SCHEMA {name}")).await.unwrap();
        let sign = if server.contains('?') { '&' } else { '?' };
        let url = format!("{server}{sign}options[search_path]={name}&application_name={name}");
        Self { url, name, server: Some(server.to_owned()), _folder: None }
    }

    /// Ends all connections to it, from the server's side.
    pub(crate) async fn cut_connections(&self) {
        let sql = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{}'",
            self.name
        );
        call(self.server.as_ref().unwrap(), &sql).await.unwrap();
    }
}

fn name() -> String {
    format!("outbox_faults_{}", MessageId::generate().as_uuid().simple())
}

async fn call(server: &str, sql: &str) -> Result<(), sqlx::Error> {
    let mut conn = PgConnectOptions::from_str(server)?.connect().await?;
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut conn).await.map(drop)
}

impl Drop for Home {
    /// On a thread of its own, since a destructor cannot wait.
    fn drop(&mut self) {
        let Some(server) = self.server.take() else { return };
        let sql = format!("SET lock_timeout = '10s'; DROP SCHEMA {} CASCADE", self.name);
        let removed = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(call(&server, &sql))
        });
        // What stays behind is no reason to fail a test.
        let _ = removed.join();
    }
}
