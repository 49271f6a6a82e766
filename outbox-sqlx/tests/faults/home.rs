//! Where an outbox of a test lives: a schema, a file, a database of its own, which goes with it.

use std::str::FromStr;

use outbox_core::MessageId;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Row};
use tempfile::TempDir;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Database {
    MariaDb,
    Postgres,
    Sqlite,
}

impl Database {
    /// How many slots its dispatchers share.
    pub(crate) const fn slots(self) -> usize {
        match self {
            Self::MariaDb | Self::Postgres => 16,
            Self::Sqlite => 1,
        }
    }

    /// What a transaction begins with that reads, and holds on to what it read.
    pub(crate) const fn reader(self) -> &'static str {
        match self {
            Self::Postgres => "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM made",
            // Its transactions are REPEATABLE READ unless told otherwise.
            Self::MariaDb | Self::Sqlite => "SELECT count(*) FROM made",
        }
    }
}

pub(crate) struct Home {
    database: Database,
    pub(crate) url: String,
    name: String,
    /// The server that it is on, unless it is a file.
    server: Option<String>,
    _folder: Option<TempDir>,
}

impl Home {
    pub(crate) async fn new(database: Database) -> Self {
        match database {
            Database::MariaDb => Self::at(database, &variable("TEST_MYSQL_URL")).await,
            Database::Postgres => Self::at(database, &variable("TEST_POSTGRES_URL")).await,
            Database::Sqlite => {
                let folder = tempfile::tempdir().unwrap();
                let url = format!("sqlite://{}", folder.path().join("outbox.db").display());
                Self { database, url, name: name(), server: None, _folder: Some(folder) }
            }
        }
    }

    /// On the server at that URL: a schema of its own, or what MariaDB calls a database.
    pub(crate) async fn at(database: Database, server: &str) -> Self {
        let name = name();
        let url = match database {
            Database::MariaDb => {
                call(database, server, &format!("CREATE DATABASE {name}")).await.unwrap();
                let (server, options) = server.split_once('?').unwrap_or((server, ""));
                format!("{}/{name}?{options}", server.rsplit_once('/').unwrap().0)
            }
            Database::Postgres => {
                call(database, server, &format!("CREATE SCHEMA {name}")).await.unwrap();
                let sign = if server.contains('?') { '&' } else { '?' };
                format!("{server}{sign}options[search_path]={name}&application_name={name}")
            }
            Database::Sqlite => panic!("SQLite has no server"),
        };
        Self { database, url, name, server: Some(server.to_owned()), _folder: None }
    }

    /// Ends all connections to it, from the server's side.
    pub(crate) async fn cut_connections(&self) {
        let server = self.server.as_ref().unwrap();
        let name = &self.name;
        if self.database == Database::Postgres {
            let sql = format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{name}'"
            );
            return call(self.database, server, &sql).await.unwrap();
        }
        let mut conn = MySqlConnectOptions::from_str(server).unwrap().connect().await.unwrap();
        // Not by the information schema: MySQL's fails while a statement that somebody runs is no text of its own.
        let processes = sqlx::raw_sql("SHOW PROCESSLIST").fetch_all(&mut conn).await.unwrap();
        let of_ours = processes.iter().filter(|process| process.try_get("db").ok().as_ref() == Some(name));
        let ids: Vec<u64> = of_ours.map(|process| process.get_unchecked("Id")).collect();
        for id in ids {
            // It may have ended by itself.
            let _ = sqlx::raw_sql(AssertSqlSafe(format!("KILL CONNECTION {id}"))).execute(&mut conn).await;
        }
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} names a server; see scripts/services"))
}

fn name() -> String {
    format!("outbox_faults_{}", MessageId::generate().as_uuid().simple())
}

pub(crate) async fn call(database: Database, server: &str, sql: &str) -> Result<(), sqlx::Error> {
    let sql = AssertSqlSafe(sql.to_owned());
    if database == Database::MariaDb {
        let mut conn = MySqlConnectOptions::from_str(server)?.connect().await?;
        return sqlx::raw_sql(sql).execute(&mut conn).await.map(drop);
    }
    let mut conn = PgConnectOptions::from_str(server)?.connect().await?;
    sqlx::raw_sql(sql).execute(&mut conn).await.map(drop)
}

impl Drop for Home {
    /// On a thread of its own, since a destructor cannot wait.
    fn drop(&mut self) {
        let Some(server) = self.server.take() else { return };
        let (database, name) = (self.database, &self.name);
        let sql = match database {
            Database::MariaDb => format!("SET lock_wait_timeout = 10; DROP DATABASE {name}"),
            _ => format!("SET lock_timeout = '10s'; DROP SCHEMA {name} CASCADE"),
        };
        let removed = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(call(database, &server, &sql))
        });
        // What stays behind is no reason to fail a test.
        let _ = removed.join();
    }
}
