//! An outbox in a database of its own.

use std::str::FromStr;
use std::time::Duration;

use outbox_core::{
    Claim, ClaimRequest, Claimed, DispatcherId, Enqueue, Enqueued, Fence, HeldPlaces, MessageId, NewMessage,
    OutboxStore, Ownership, Settlement, StoreError, Verdict,
};
use outbox_sqlx::{MySqlOutbox, MySqlOutboxBuilder};
use sqlx::mysql::{MySqlConnectOptions, MySqlPool, MySqlPoolOptions, MySqlRow};
use sqlx::{AssertSqlSafe, ConnectOptions, MySql, Row, Transaction};

/// An outbox and its database, which goes with it.
pub(crate) struct Database {
    pub(crate) outbox: MySqlOutbox,
    pub(crate) pool: MySqlPool,
    pub(crate) name: String,
}

impl Database {
    pub(crate) async fn with(settings: impl FnOnce(MySqlOutboxBuilder) -> MySqlOutboxBuilder) -> Self {
        let name = format!("outbox_test_{}", MessageId::generate().as_uuid().simple());
        on_server(format!("CREATE DATABASE {name}")).await.unwrap();
        let pool = pool(&name).await;
        let outbox = settings(MySqlOutbox::builder(pool.clone())).build().unwrap();
        outbox.migrate().await.unwrap();
        Self { outbox, pool, name }
    }
}

/// The server that the tests use.
pub(crate) fn server() -> MySqlConnectOptions {
    let url = std::env::var("TEST_MYSQL_URL").expect("TEST_MYSQL_URL names a server; see scripts/services");
    MySqlConnectOptions::from_str(&url).unwrap()
}

/// Runs `sql` in no database in particular.
pub(crate) async fn on_server(sql: String) -> Result<(), sqlx::Error> {
    let mut conn = server().connect().await?;
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await?;
    Ok(())
}

/// Connections to one database.
pub(crate) async fn pool(database: &str) -> MySqlPool {
    MySqlPoolOptions::new()
        .max_connections(8)
        .acquire_timeout(Duration::from_secs(60))
        .connect_with(server().database(database))
        .await
        .unwrap()
}

impl Drop for Database {
    /// On a thread of its own, since a destructor cannot wait.
    fn drop(&mut self) {
        let drop = format!("SET lock_wait_timeout = 10; DROP DATABASE {}", self.name);
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(on_server(drop))
        });
        // A database that stays behind is no reason to fail a test.
        let _ = dropped.join();
    }
}

impl Database {
    pub(crate) async fn new() -> Self {
        Self::with(|builder| builder).await
    }

    /// The outbox as another process sees it: with connections and a reading state of its own.
    pub(crate) async fn elsewhere(&self) -> MySqlOutbox {
        MySqlOutbox::new(pool(&self.name).await)
    }

    /// Enqueues and commits.
    pub(crate) async fn send(&self, messages: &[NewMessage]) -> Vec<Enqueued> {
        let mut tx = self.outbox.begin().await.unwrap();
        let answers = self.outbox.enqueue(&mut tx, messages).await.unwrap();
        self.outbox.commit(tx).await.unwrap();
        answers
    }

    /// A transaction that has enqueued a message of `key`, and stays open.
    pub(crate) async fn open(&self, key: &str, text: &str) -> Transaction<'static, MySql> {
        let mut tx = self.outbox.begin().await.unwrap();
        self.outbox.enqueue(&mut tx, &[message(key, text)]).await.unwrap();
        tx
    }

    pub(crate) async fn execute(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&self.pool).await.unwrap();
    }

    /// Breaks every connection to the database but that which does it.
    pub(crate) async fn cut(&self) {
        let own = self.number("SELECT CAST(CONNECTION_ID() AS SIGNED)").await;
        for (id, _) in self.processes().await {
            if id != own {
                // It may have ended by itself.
                let _ = on_server(format!("KILL {id}")).await;
            }
        }
    }

    /// The numbers of the connections to the database, and what each does. Not by the information schema: MySQL's fails
    /// while a statement that somebody runs carries bytes that are no text.
    pub(crate) async fn processes(&self) -> Vec<(i64, String)> {
        let rows = sqlx::raw_sql("SHOW PROCESSLIST").fetch_all(&self.pool).await.unwrap();
        let of_ours = rows.iter().filter(|row| row.try_get("db").ok().as_ref() == Some(&self.name));
        let state = |row: &MySqlRow| row.try_get("State").unwrap_or_default();
        of_ours.map(|row| (row.get_unchecked("Id"), state(row))).collect()
    }

    /// Whether the server is a MariaDB, and not MySQL.
    pub(crate) async fn is_mariadb(&self) -> bool {
        self.number("SELECT VERSION() LIKE '%MariaDB%'").await == 1
    }

    pub(crate) async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }
}

pub(crate) fn message(key: &str, text: &str) -> NewMessage {
    NewMessage::builder("t").key(key).payload(text.to_owned(), "text/plain").build().unwrap()
}

/// The dispatcher's side, one step at a time.
pub(crate) struct Session {
    pub(crate) outbox: MySqlOutbox,
    pub(crate) me: DispatcherId,
    pub(crate) owned: Ownership,
    pub(crate) held: HeldPlaces,
}

pub(crate) const LEASE: Duration = Duration::from_secs(600);

impl Session {
    pub(crate) async fn start(outbox: &MySqlOutbox) -> Self {
        let me = DispatcherId::new("test");
        let owned = outbox.renew(&me, None, LEASE).await.unwrap();
        Self { outbox: outbox.clone(), me, owned, held: HeldPlaces::default() }
    }

    pub(crate) async fn renew_for(&mut self, lease: Duration) {
        self.owned = self.outbox.renew(&self.me, Some(self.owned.epoch), lease).await.unwrap();
    }

    pub(crate) async fn try_claim(&mut self, limit: usize, restart: bool) -> Result<Claim, StoreError> {
        let request = ClaimRequest {
            epoch: self.owned.epoch,
            slots: &self.owned.slots,
            wants: &|_| true,
            held: &self.held,
            restart,
            limit,
            max_bytes: 64 << 20,
        };
        let claim = self.outbox.claim(&request).await?;
        self.held.extend(claim.messages.iter().map(|claimed| claimed.place));
        Ok(claim)
    }

    pub(crate) async fn claim(&mut self, limit: usize) -> Vec<Claimed> {
        self.try_claim(limit, false).await.unwrap().messages
    }

    /// Claims at most `limit`, and delivers them; their texts.
    pub(crate) async fn deliver(&mut self, limit: usize) -> Vec<String> {
        let claimed = self.claim(limit).await;
        let verdicts: Vec<_> =
            claimed.iter().map(|claimed| (claimed.place, Verdict::Delivered { receipt: None })).collect();
        let settlement = Settlement { verdicts: &verdicts, ..Settlement::default() };
        assert_eq!(self.outbox.settle(self.owned.epoch, &settlement).await.unwrap(), Fence::Held);
        self.held.clear();
        texts(&claimed)
    }

    /// Delivers until nothing comes.
    pub(crate) async fn drain(&mut self, limit: usize) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let texts = self.deliver(limit).await;
            if texts.is_empty() {
                return all;
            }
            all.extend(texts);
        }
    }
}

pub(crate) fn texts(claimed: &[Claimed]) -> Vec<String> {
    let text =
        |claimed: &Claimed| String::from_utf8(claimed.message.as_ref().unwrap().payload.to_vec()).unwrap();
    claimed.iter().map(text).collect()
}
