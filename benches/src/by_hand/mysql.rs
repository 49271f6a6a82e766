//! Loops on MySQL and MariaDB: the library's own statements, the bare owner loop, and the one that claims row by row.

use std::time::{Duration, SystemTime};

use outbox::{Headers, Message};
use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, MySqlConnection, Row};
use uuid::Uuid;

use super::Read;
use crate::database::MySqlBed;
use crate::load::{Load, number_in};
use crate::receiver::Receiver;

/// A file of the library without its comments, as the library sends it.
macro_rules! library {
    ($name:literal) => {
        without_comments(include_str!(concat!("../../../outbox-sqlx/src/mysql/sql/", $name, ".sql")))
    };
}

/// The loops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loop {
    /// Every row is marked as taken, sent and deleted; any number of dispatchers, no order.
    Claiming,
    /// One owner reads on and deletes; nothing guards it.
    Owner,
    /// The statements of the library; the next read overlaps the write, on a second connection.
    Library,
}

const SEVERAL: &str =
    "SELECT seq, 0, id, topic, message_type, message_key, content_type, headers, idempotency_key,
    not_before, created_at, payload FROM";

const PLAIN: &str = "(
    seq             BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
    created_at      BIGINT       NOT NULL DEFAULT (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))),
    not_before      BIGINT,
    id              BINARY(16)   NOT NULL DEFAULT (UNHEX(REPLACE(UUID(), '-', ''))),
    topic           VARCHAR(255) NOT NULL,
    message_type    VARCHAR(255) NOT NULL DEFAULT '',
    message_key     VARCHAR(255),
    content_type    VARCHAR(255) NOT NULL DEFAULT 'application/octet-stream',
    headers         LONGTEXT,
    idempotency_key VARCHAR(255),
    payload         LONGBLOB     NOT NULL";

/// All sixteen slots, a bit each.
const SLOTS: i64 = 0xffff;

impl Loop {
    /// What a table calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Claiming => "row-claiming loop",
            Self::Owner => "bare owner loop",
            Self::Library => "hand-written loop",
        }
    }

    const fn table(self) -> &'static str {
        match self {
            Self::Claiming => "claimed_messages",
            Self::Owner => "owner_messages",
            Self::Library => "outbox_messages",
        }
    }

    /// Its table, with `load` in it.
    pub(crate) async fn fill(self, bed: &MySqlBed, load: Load) {
        let more = match self {
            Self::Claiming => {
                ", status TINYINT NOT NULL DEFAULT 0, attempts INT NOT NULL DEFAULT 0, lease_owner BIGINT,
                 lease_until BIGINT, KEY claimed_messages_waiting (status, seq)"
            }
            _ => "",
        };
        if self != Self::Library {
            bed.run(format!("CREATE TABLE {} {PLAIN}{more}) ENGINE = InnoDB", self.table())).await;
        }
        bed.fill_table(self.table(), load).await;
    }

    pub(crate) async fn left(self, bed: &MySqlBed) -> usize {
        let left = bed.number(format!("SELECT COUNT(*) FROM {}", self.table())).await;
        usize::try_from(left).expect("a small number")
    }

    /// Drains until `receiver` has reached its target, `batch` messages at a time.
    pub(crate) async fn drain(self, bed: &MySqlBed, batch: usize, receiver: &Receiver) {
        let mut reader = bed.connect().await;
        let mut writer = bed.connect().await;
        for connection in [&mut reader, &mut writer] {
            run(connection, library!("settings").replace("{seconds}", "10").replace("{idle}", "10")).await;
        }
        let batch = i64::try_from(batch).expect("a small number");
        match self {
            Self::Claiming => claim(&mut writer, batch, receiver).await,
            Self::Owner => own(&mut reader, &mut writer, batch, receiver).await,
            Self::Library => as_the_library(reader, writer, batch, receiver).await,
        }
    }
}

/// Mark as taken, send, delete, and again.
async fn claim(connection: &mut MySqlConnection, batch: i64, receiver: &Receiver) {
    while !receiver.is_done() {
        run(connection, "START TRANSACTION".to_owned()).await;
        let sql = format!(
            "{SEVERAL} claimed_messages WHERE status = 0 ORDER BY seq LIMIT ? FOR UPDATE SKIP LOCKED"
        );
        let rows = sqlx::query(AssertSqlSafe(sql)).bind(batch).fetch_all(&mut *connection).await;
        let rows: Vec<Read> = rows.expect("a read").iter().map(decode).collect();
        assert!(!rows.is_empty(), "the table ran empty");
        let places = places(&rows);
        let take = format!(
            "UPDATE claimed_messages SET status = 1, attempts = attempts + 1, lease_owner = 1,
                lease_until = TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) + 30000000
             WHERE seq IN ({places});
             COMMIT"
        );
        run(connection, take).await;
        receiver.see(rows.iter().map(|row| number_in(&row.message.payload)));
        let deleted = run(connection, format!("DELETE FROM claimed_messages WHERE seq IN ({places})")).await;
        assert_eq!(deleted, rows.len() as u64);
    }
}

/// Read, send, delete, and again.
async fn own(reader: &mut MySqlConnection, writer: &mut MySqlConnection, batch: i64, receiver: &Receiver) {
    let mut mark = 0;
    while !receiver.is_done() {
        let sql = format!("{SEVERAL} owner_messages WHERE seq > ? ORDER BY seq LIMIT ?");
        let rows = sqlx::query(AssertSqlSafe(sql)).bind(mark).bind(batch).fetch_all(&mut *reader).await;
        let rows: Vec<Read> = rows.expect("a read").iter().map(decode).collect();
        mark = rows.last().expect("the table ran empty").seq;
        receiver.see(rows.iter().map(|row| number_in(&row.message.payload)));
        let delete = format!("DELETE FROM owner_messages WHERE seq IN ({})", places(&rows));
        assert_eq!(run(writer, delete).await, rows.len() as u64);
    }
}

/// Each flight settles one batch and begins the next, while the one after that is read.
async fn as_the_library(
    mut reader: MySqlConnection,
    mut writer: MySqlConnection,
    batch: i64,
    receiver: &Receiver,
) {
    let session = "INSERT INTO outbox_sessions (name, instance, expires_at) VALUES ('by hand', ?, 9e15)";
    let session = sqlx::query(session).bind(Uuid::nil()).execute(&mut writer).await.expect("a session");
    let epoch = i64::try_from(session.last_insert_id()).expect("a small number");
    let take = sqlx::query("UPDATE outbox_leases SET epoch = ?").bind(epoch);
    take.execute(&mut writer).await.expect("the leases");

    let look = library!("look");
    let read_on: Vec<String> =
        library!("claim").lines().filter(|line| !line.contains("BETWEEN")).map(str::to_owned).collect();
    let statements = Statements { look, read_on: read_on.join("\n"), settle: library!("settle_delivered") };
    let (mut mark, mut number) = (0, 1);
    let mut in_flight = statements.read(&mut reader, epoch, &mut mark, batch).await;
    statements.settle(&mut writer, epoch, number, &[], &in_flight).await;
    let mut next = statements.read(&mut reader, epoch, &mut mark, batch).await;
    while !receiver.is_done() {
        assert!(!next.is_empty(), "the table ran empty");
        receiver.see(in_flight.iter().map(|row| number_in(&row.message.payload)));
        number += 1;
        let settled = statements.settle(&mut writer, epoch, number, &in_flight, &next);
        let read = statements.read(&mut reader, epoch, &mut mark, batch);
        let ((), after) = tokio::join!(settled, read);
        in_flight = std::mem::replace(&mut next, after);
    }
}

/// Those of the library that a drain without gaps needs.
struct Statements {
    look: String,
    read_on: String,
    settle: String,
}

impl Statements {
    async fn read(
        &self,
        connection: &mut MySqlConnection,
        epoch: i64,
        mark: &mut i64,
        batch: i64,
    ) -> Vec<Read> {
        let look = sqlx::query(AssertSqlSafe(self.look.clone())).bind(epoch);
        let look = look.fetch_one(&mut *connection).await.expect("a look");
        assert!(!look.get::<bool, _>(2) && !look.get::<bool, _>(3), "no key is blocked, and nothing is due");
        let query = sqlx::query(AssertSqlSafe(self.read_on.clone())).bind(SLOTS).bind(*mark).bind(i64::MAX);
        let rows = query.bind(batch).fetch_all(connection).await.expect("a read");
        let rows: Vec<Read> = rows.iter().map(decode).collect();
        *mark = rows.last().map_or(*mark, |row| row.seq);
        rows
    }

    /// Ends the batch before `number`, whose messages are `done`, and begins it with `next`.
    async fn settle(
        &self,
        connection: &mut MySqlConnection,
        epoch: i64,
        number: i64,
        done: &[Read],
        next: &[Read],
    ) {
        let script = self
            .settle
            .replace("{changes}", "0")
            .replace("{epoch}", &epoch.to_string())
            .replace("{slots}", &SLOTS.to_string())
            .replace("{receipts}", "_utf8mb4 x'5b5d'")
            .replace("{places}", &format!("[{}]", marked(done)))
            .replace("{ended}", &format!("[{}]", number - 1))
            .replace("{batch}", &number.to_string())
            .replace("{alone}", "0")
            .replace("{next}", &format!("[{}]", places(next)));
        let rows = sqlx::raw_sql(AssertSqlSafe(script)).fetch_all(connection).await.expect("a settlement");
        let answer = rows.last().expect("an answer");
        assert!(answer.get::<bool, _>(0) && answer.get::<bool, _>(1), "the loop owns the outbox");
    }
}

/// Runs SQL of ours and tells how many rows it changed.
async fn run(connection: &mut MySqlConnection, sql: String) -> u64 {
    let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await;
    done.expect("our SQL is right").rows_affected()
}

fn places(rows: &[Read]) -> String {
    let places: Vec<String> = rows.iter().map(|row| row.seq.to_string()).collect();
    places.join(",")
}

/// The places, each with the mark of the id.
fn marked(rows: &[Read]) -> String {
    let places: Vec<String> = rows.iter().map(|row| format!("[{},{}]", row.seq, row.mark)).collect();
    places.join(",")
}

fn without_comments(text: &str) -> String {
    let code: Vec<&str> = text.lines().filter(|line| !line.starts_with("--")).collect();
    code.join("\n")
}

fn decode(row: &MySqlRow) -> Read {
    let id: Uuid = row.get(2);
    let payload: &[u8] = row.get(11);
    let mut message = Message::new(id.into(), row.get::<&str, _>(3), payload.to_vec());
    message.message_type = row.get(4);
    message.key = row.get(5);
    message.content_type = row.get(6);
    let headers: Option<&str> = row.get(7);
    message.headers =
        headers.map_or_else(Headers::default, |json| Headers::from_json(json).expect("headers"));
    message.idempotency_key = row.get(8);
    message.created_at = SystemTime::UNIX_EPOCH + Duration::from_micros(row.get::<i64, _>(10).unsigned_abs());
    let mark = if row.len() > 12 { row.get(12) } else { 0 };
    Read { seq: row.get(0), message, lies_at: [0; 6], mark }
}
