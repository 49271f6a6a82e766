//! The statements of the SQLite outbox over two connections; the next read overlaps each write, as in the library.

use std::path::Path;
use std::time::{Duration, SystemTime};

use futures_util::TryStreamExt;
use outbox::{Headers, Message};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Either, Executor, Row, SqliteConnection};

use super::Read;
use crate::load::number_in;
use crate::receiver::Receiver;

macro_rules! library {
    ($name:literal) => {
        include_str!(concat!("../../../outbox-sqlx/src/sqlite/sql/", $name, ".sql"))
    };
}

/// Drains the outbox in the file `path` until `receiver` has reached its target, `batch` messages at a time.
pub(crate) async fn drain(path: &Path, batch: usize, receiver: &Receiver) {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .row_buffer_size(128)
        .disable_statement_logging();
    let mut writer = options.connect().await.expect("a connection");
    let mut reader = options.connect().await.expect("a connection");
    let session =
        "INSERT INTO outbox_sessions (name, instance, started_at, expires_at) VALUES ('by hand', '', 0, 9e15)
        RETURNING epoch";
    let epoch: i64 = sqlx::query_scalar(session).fetch_one(&mut writer).await.expect("a session");
    sqlx::query("UPDATE outbox_state SET owner = ?1").bind(epoch).execute(&mut writer).await.expect("owner");

    let batch = i64::try_from(batch).expect("a small number");
    let (mut mark, mut number) = (0, 1);
    let mut in_flight = read(&mut reader, &mut mark, batch).await;
    settle(&mut writer, epoch, number, &[], &in_flight).await;
    let mut next = read(&mut reader, &mut mark, batch).await;
    while !receiver.is_done() {
        assert!(!next.is_empty(), "the table ran empty");
        receiver.see(in_flight.iter().map(|row| number_in(&row.message.payload)));
        number += 1;
        let settled = settle(&mut writer, epoch, number, &in_flight, &next);
        let ((), after) = tokio::join!(settled, read(&mut reader, &mut mark, batch));
        in_flight = std::mem::replace(&mut next, after);
    }
    let _ = (writer.close().await, reader.close().await);
}

async fn read(reader: &mut SqliteConnection, mark: &mut i64, batch: i64) -> Vec<Read> {
    sqlx::query(library!("look")).fetch_one(&mut *reader).await.expect("look");
    let query = sqlx::query(library!("claim_fresh")).bind(*mark).bind(batch);
    let rows = query.fetch_all(reader).await.expect("a read");
    let rows: Vec<Read> = rows.iter().map(decode).collect();
    *mark = rows.last().map_or(*mark, |row| row.seq);
    rows
}

fn decode(row: &SqliteRow) -> Read {
    let id: &str = row.get(1);
    let mut message =
        Message::new(id.parse().expect("an id"), row.get::<&str, _>(2), row.get::<Vec<u8>, _>(10));
    message.message_type = row.get(3);
    message.key = row.get(4);
    message.content_type = row.get(5);
    let headers: Option<&str> = row.get(6);
    message.headers =
        headers.map_or_else(Headers::default, |json| Headers::from_json(json).expect("headers"));
    message.idempotency_key = row.get(7);
    message.created_at = SystemTime::UNIX_EPOCH + Duration::from_micros(row.get::<i64, _>(9).unsigned_abs());
    Read { seq: row.get(0), message, lies_at: [0; 6], mark: 0 }
}

async fn settle(writer: &mut SqliteConnection, epoch: i64, number: i64, done: &[Read], next: &[Read]) {
    let list = |rows: &[Read]| {
        let numbers: Vec<String> = rows.iter().map(|row| row.seq.to_string()).collect();
        format!("[{}]", numbers.join(","))
    };
    let ended = format!("[{}]", number - 1);
    // The script begins and commits by itself.
    let script = sqlx::query(library!("settle_delivered"))
        .bind(epoch)
        .bind(list(done))
        .bind(ended)
        .bind(number)
        .bind(false)
        .bind(list(next))
        .bind(0)
        .bind(None::<String>);
    let mut answers = writer.fetch_many(script);
    let mut owner = false;
    while let Some(answer) = answers.try_next().await.expect("a settlement") {
        if let Either::Right(row) = answer {
            owner = row.get(0);
        }
    }
    assert!(owner, "the loop owns the outbox");
}
