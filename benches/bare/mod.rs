//! The statements of the SQLite outbox in a loop written by hand: no dispatcher, no transport, no trait.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use futures_util::TryStreamExt;
use outbox::{Headers, Message};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Either, Executor, Row, SqliteConnection};

const BATCH: i64 = 500;

macro_rules! sql {
    ($name:literal) => {
        include_str!(concat!("../../outbox-sqlx/src/sqlite/sql/", $name, ".sql"))
    };
}

/// What a relay needs of a message to send it; the loop decodes every column that it reads.
struct Seen {
    seq: i64,
    number: u64,
    message: Message,
}

/// Messages a second until `timed` of them are deleted. Reads batch k+1 on a second connection while batch k is
/// settled and the next one begun in one transaction, as the dispatcher does.
pub(crate) async fn drain(path: &Path, timed: usize) -> f64 {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .row_buffer_size(128)
        .disable_statement_logging();
    let mut writer = options.connect().await.expect("a connection");
    let mut reader = options.connect().await.expect("a connection");
    let epoch: i64 = sqlx::query_scalar(
        "INSERT INTO outbox_sessions (name, instance, started_at, expires_at) VALUES ('bare', '', 0, 9e15) RETURNING epoch",
    )
    .fetch_one(&mut writer)
    .await
    .expect("a session");
    sqlx::query("UPDATE outbox_state SET owner = ?1").bind(epoch).execute(&mut writer).await.expect("owner");

    let started = Instant::now();
    let (mut mark, mut done, mut batch_no) = (0, 0, 0);
    let mut last = std::collections::HashMap::new();
    let mut in_flight = read(&mut reader, &mut mark).await;
    settle(&mut writer, epoch, batch_no, &[], &in_flight).await;
    let mut next = read(&mut reader, &mut mark).await;
    while done < timed && !in_flight.is_empty() {
        for seen in &in_flight {
            if let Some(key) = &seen.message.key {
                let before = last.insert(key.clone(), seen.number);
                assert!(before.is_none_or(|before| before < seen.number));
            }
        }
        batch_no += 1;
        let settled = settle(&mut writer, epoch, batch_no, &in_flight, &next);
        let ((), after) = tokio::join!(settled, read(&mut reader, &mut mark));
        done += in_flight.len();
        in_flight = std::mem::replace(&mut next, after);
    }
    let rate = done as f64 / started.elapsed().as_secs_f64();
    let _ = (writer.close().await, reader.close().await);
    rate
}

async fn read(reader: &mut SqliteConnection, mark: &mut i64) -> Vec<Seen> {
    sqlx::query(sql!("look")).fetch_one(&mut *reader).await.expect("look");
    let query = sqlx::query(sql!("claim_fresh")).bind(*mark).bind(BATCH);
    let rows = query.fetch_all(reader).await.expect("a read");
    let seen = |row: &SqliteRow| {
        let id: &str = row.get(1);
        let mut message =
            Message::new(id.parse().expect("an id"), row.get::<&str, _>(2), row.get::<Vec<u8>, _>(10));
        message.message_type = row.get(3);
        message.key = row.get(4);
        message.content_type = row.get(5);
        message.headers = row
            .get::<Option<&str>, _>(6)
            .map_or_else(Headers::default, |json| Headers::from_json(json).expect("headers"));
        message.idempotency_key = row.get(7);
        let created = Duration::from_micros(row.get::<i64, _>(9).unsigned_abs());
        message.created_at = SystemTime::UNIX_EPOCH + created;
        let number = u64::from_be_bytes(*message.payload.first_chunk().expect("a number"));
        Seen { seq: row.get(0), number, message }
    };
    let seen: Vec<Seen> = rows.iter().map(seen).collect();
    *mark = seen.last().map_or(*mark, |seen| seen.seq);
    seen
}

async fn settle(writer: &mut SqliteConnection, epoch: i64, number: i64, done: &[Seen], next: &[Seen]) {
    let list = |seen: &[Seen]| {
        let numbers: Vec<String> = seen.iter().map(|seen| seen.seq.to_string()).collect();
        format!("[{}]", numbers.join(","))
    };
    let ended = format!("[{}]", number - 1);
    // The script begins and commits by itself.
    let script = sqlx::query(sql!("settle_delivered"))
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
