//! An outbox of any database, named by a URL, and beside it a table of what was made: the business rows that were
//! committed with the messages, and so the truth about which messages exist.

use std::error::Error;
use std::fmt::Write;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use outbox_core::{Enqueue, MessageId, NewMessage, OutboxAdmin, OutboxStore};
use outbox_sqlx::{MySqlOutbox, PostgresOutbox, SqliteOutbox};
use sqlx::mysql::{MySqlPool, MySqlPoolOptions};
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) const TOPIC: &str = "t";

/// A message of a key, and the business row beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Made {
    pub(crate) key: i64,
    /// Rises within the key.
    pub(crate) number: i64,
    pub(crate) id: MessageId,
}

#[derive(Clone)]
pub(crate) enum Outbox {
    MySql(MySqlOutbox, MySqlPool),
    Postgres(PostgresOutbox, PgPool),
    Sqlite(SqliteOutbox, SqlitePool),
}

/// `$body` for the outbox and the pool of whatever database.
macro_rules! each {
    ($outbox:expr, |$store:ident, $pool:ident| $body:expr) => {
        match $outbox {
            Outbox::MySql($store, $pool) => $body,
            Outbox::Postgres($store, $pool) => $body,
            Outbox::Sqlite($store, $pool) => $body,
        }
    };
}

type Failure = Box<dyn Error + Send + Sync>;

impl Outbox {
    /// The outbox at `url`; connects when it is first needed.
    pub(crate) fn at(url: &str) -> Self {
        const PATIENCE: Duration = Duration::from_secs(5);
        if url.starts_with("postgres") {
            let pool = PgPoolOptions::new().max_connections(8).acquire_timeout(PATIENCE);
            let pool = pool.connect_lazy(url).unwrap();
            Self::Postgres(PostgresOutbox::new(pool.clone()), pool)
        } else if url.starts_with("mysql") {
            let pool = MySqlPoolOptions::new().max_connections(8).acquire_timeout(PATIENCE);
            let pool = pool.connect_lazy(url).unwrap();
            Self::MySql(MySqlOutbox::new(pool.clone()), pool)
        } else {
            let options = SqliteConnectOptions::from_str(url).unwrap().create_if_missing(true);
            let pool = SqlitePoolOptions::new().max_connections(4).acquire_timeout(PATIENCE);
            let pool = pool.connect_lazy_with(options);
            Self::Sqlite(SqliteOutbox::new(pool.clone()), pool)
        }
    }

    pub(crate) async fn create(&self) {
        each!(self, |outbox, _pool| outbox.migrate().await.unwrap());
        self.execute("CREATE TABLE made (message_key bigint, number bigint, id varchar(36))").await.unwrap();
        self.execute("CREATE INDEX made_key ON made (message_key, number)").await.unwrap();
    }

    pub(crate) fn store(&self) -> Arc<dyn OutboxStore> {
        each!(self, |outbox, _pool| Arc::new(outbox.clone()))
    }

    pub(crate) fn admin(&self) -> &dyn OutboxAdmin {
        each!(self, |outbox, _pool| outbox)
    }

    pub(crate) async fn execute(&self, sql: &str) -> Result<(), Failure> {
        let sql = AssertSqlSafe(sql.to_owned());
        each!(self, |_outbox, pool| sqlx::raw_sql(sql).execute(pool).await.map(drop)?);
        Ok(())
    }

    /// Whether a file can be written to now, or soon; that of a server can.
    pub(crate) async fn accepts_writes(&self) -> bool {
        let Self::Sqlite(_, pool) = self else { return true };
        let options = (*pool.connect_options()).clone().busy_timeout(Duration::from_secs(1));
        let mut conn = options.connect().await.unwrap();
        sqlx::raw_sql("BEGIN IMMEDIATE; ROLLBACK").execute(&mut conn).await.is_ok()
    }

    /// Commits `made` and their messages in one transaction. After an error it may be committed or not.
    pub(crate) async fn make(&self, made: &[Made]) -> Result<(), Failure> {
        let messages: Vec<NewMessage> = made.iter().map(Made::message).collect();
        let rows = AssertSqlSafe(rows(made));
        each!(self, |outbox, _pool| {
            let mut tx = outbox.begin().await?;
            sqlx::raw_sql(rows).execute(&mut *tx).await?;
            outbox.enqueue(&mut tx, &messages).await?;
            outbox.commit(tx).await?;
        });
        Ok(())
    }

    /// A transaction that runs `sql` and enqueues `made`, and stays open.
    pub(crate) async fn hold(&self, sql: &'static str, made: Vec<Made>) -> Held {
        let messages: Vec<NewMessage> = made.iter().map(Made::message).collect();
        let rows = (!made.is_empty()).then(|| AssertSqlSafe(rows(&made)));
        let (commit, committed) = oneshot::channel();
        let (opened, open) = oneshot::channel();
        let ended = each!(self.clone(), |outbox, pool| tokio::spawn(async move {
            let mut tx = pool.begin().await.unwrap();
            sqlx::raw_sql(sql).execute(&mut *tx).await.unwrap();
            if let Some(rows) = rows {
                sqlx::raw_sql(rows).execute(&mut *tx).await.unwrap();
                outbox.enqueue(&mut tx, &messages).await.unwrap();
            }
            opened.send(()).unwrap();
            committed.await.unwrap();
            tx.commit().await.unwrap();
        }));
        open.await.unwrap();
        Held { commit, ended }
    }

    /// What was committed, by key and number.
    pub(crate) async fn made(&self) -> Result<Vec<Made>, Failure> {
        let all = "SELECT message_key, number, id FROM made ORDER BY message_key, number";
        let rows: Vec<(i64, i64, String)> =
            each!(self, |_outbox, pool| sqlx::query_as(all).fetch_all(pool).await?);
        rows.into_iter().map(|(key, number, id)| Ok(Made { key, number, id: id.parse()? })).collect()
    }
}

/// A transaction that is open.
pub(crate) struct Held {
    commit: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

impl Held {
    pub(crate) async fn commit(self) {
        self.commit.send(()).unwrap();
        self.ended.await.unwrap();
    }
}

impl Made {
    fn message(&self) -> NewMessage {
        NewMessage::builder(TOPIC)
            .id(self.id)
            .key(self.key.to_string())
            .payload(self.number.to_string(), "text/plain")
            .build()
            .unwrap()
    }
}

/// One insert; numbers and ids need no quoting.
fn rows(made: &[Made]) -> String {
    let mut sql = "INSERT INTO made (message_key, number, id) VALUES ".to_owned();
    for (n, Made { key, number, id }) in made.iter().enumerate() {
        let comma = if n == 0 { "" } else { ", " };
        write!(sql, "{comma}({key}, {number}, '{id}')").unwrap();
    }
    sql
}
