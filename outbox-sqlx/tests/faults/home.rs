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

pub(crate) struct Home {
    pub(crate) url: String,
    /// Statement and server that remove it.
    remove: Option<(String, String)>,
    _folder: Option<TempDir>,
}

impl Home {
    pub(crate) async fn new(database: Database) -> Self {
        match database {
            Database::Postgres => {
                let server = std::env::var("TEST_POSTGRES_URL")
                    .expect("TEST_POSTGRES_URL names a server; see scripts/services");
                Self::in_postgres(&server).await
            }
            Database::Sqlite => {
                let folder = tempfile::tempdir().unwrap();
                let url = format!("sqlite://{}", folder.path().join("outbox.db").display());
                Self { url, remove: None, _folder: Some(folder) }
            }
        }
    }

    /// A schema on the server at the URL `server`. Its name is also that of all connections to it.
    pub(crate) async fn in_postgres(server: &str) -> Self {
        let name = name();
        postgres(server, &format!("CREATE SCHEMA {name}")).await.unwrap();
        let sign = if server.contains('?') { '&' } else { '?' };
        let url = format!("{server}{sign}options[search_path]={name}&application_name={name}");
        let drop = format!("SET lock_timeout = '10s'; DROP SCHEMA {name} CASCADE");
        Self { url, remove: Some((server.to_owned(), drop)), _folder: None }
    }
}

fn name() -> String {
    format!("outbox_faults_{}", MessageId::generate().as_uuid().simple())
}

pub(crate) async fn postgres(server: &str, sql: &str) -> Result<(), sqlx::Error> {
    let mut conn = PgConnectOptions::from_str(server)?.connect().await?;
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut conn).await.map(drop)
}

impl Drop for Home {
    /// On a thread of its own, since a destructor cannot wait.
    fn drop(&mut self) {
        let Some((server, sql)) = self.remove.take() else { return };
        let removed = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(postgres(&server, &sql))
        });
        // What stays behind is no reason to fail a test.
        let _ = removed.join();
    }
}
