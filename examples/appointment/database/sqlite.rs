//! SQLite: one file, no server.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, SecondsFormat, Utc};
use outbox::{EnqueueExt, MessageId, NewMessage, OutboxAdmin, OutboxStore, SqliteOutbox, async_trait};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteRow, SqliteSynchronous};
use sqlx::{Row, Sqlite, SqliteConnection, SqlitePool};
use uuid::Uuid;

use super::{Database, Transaction, forgotten, now};
use crate::booking::{Appointment, BookingError, SentMessage};
use crate::idempotency::{Remembered, Request};
use crate::invite::Change;

#[derive(Debug)]
pub struct SqliteDatabase {
    pool: SqlitePool,
    outbox: SqliteOutbox,
    file: PathBuf,
}

/// Opens the file of `url`, or one in `data_dir`.
pub async fn open(url: Option<&str>, data_dir: &Path) -> Result<SqliteDatabase> {
    let options = match url {
        Some(url) => {
            ensure!(
                !url.contains(":memory:") && !url.contains("mode=memory"),
                "DATABASE_URL names a database in memory; an outbox must outlive the process, so give it a file"
            );
            url.parse().context("DATABASE_URL cannot be used")?
        }
        None => SqliteConnectOptions::new().filename(data_dir.join("appointments.db")),
    };
    let options = options
        .create_if_missing(true)
        .foreign_keys(true)
        // A booking that was answered must survive a power cut, and its message with it.
        .synchronous(SqliteSynchronous::Full)
        // Who waits asks again and again, and may be passed by others; a request as a whole gives up after 20 s.
        .busy_timeout(Duration::from_secs(15));
    let file = options.get_filename().to_path_buf();
    let pool = SqlitePoolOptions::new()
        .max_connections(8)
        .acquire_timeout(Duration::from_secs(5))
        .connect_with(options)
        .await
        .with_context(|| format!("cannot open the database {}", file.display()))?;

    // History is off by default, since it costs a row per message; here `GET` shows what was delivered.
    let outbox = SqliteOutbox::builder(pool.clone()).history(true).build()?;
    // It also switches the file to WAL, for all connections and for good. The pool leaves that alone, since the switch
    // fails at once in one of two processes that start together; `migrate` tries again.
    outbox.migrate().await.context("cannot create the tables of the outbox")?;
    // Two processes may start at once; the second then finds the tables of the first.
    let mut tx = outbox.begin().await?;
    sqlx::raw_sql(include_str!("sqlite.sql"))
        .execute(&mut *tx)
        .await
        .context("cannot create the tables of appointments")?;
    tx.commit().await?;
    Ok(SqliteDatabase { pool, outbox, file })
}

#[async_trait]
impl Database for SqliteDatabase {
    fn name(&self) -> (&'static str, String) {
        ("SQLite", self.file.display().to_string())
    }

    fn store(&self) -> Arc<dyn OutboxStore> {
        Arc::new(self.outbox.clone())
    }

    fn admin(&self) -> &dyn OutboxAdmin {
        &self.outbox
    }

    async fn begin(&self) -> Result<Box<dyn Transaction>, BookingError> {
        // It has the right to write from the start: SQLite has one writer at a time, and others wait for it.
        Ok(Box::new(SqliteTransaction { tx: self.outbox.begin().await?, outbox: self.outbox.clone() }))
    }

    async fn show(
        &self,
        id: Uuid,
        messages: u32,
    ) -> Result<Option<(Appointment, Vec<SentMessage>)>, BookingError> {
        let mut tx = self.pool.begin().await?;
        let Some(appointment) = find(&mut tx, id).await? else { return Ok(None) };
        let rows = sqlx::query(
            "select sequence, method, message_id from appointment_message
             where appointment_id = ? order by sequence desc limit ?",
        )
        .bind(id.to_string())
        .bind(messages)
        .fetch_all(&mut *tx)
        .await?;
        let message = |row: &SqliteRow| {
            let (sequence, method) = (row.try_get("sequence")?, row.try_get("method")?);
            Ok(SentMessage { id: read(row, "message_id")?, sequence, method })
        };
        Ok(Some((appointment, rows.iter().map(message).collect::<Result<_, BookingError>>()?)))
    }
}

struct SqliteTransaction {
    tx: sqlx::Transaction<'static, Sqlite>,
    outbox: SqliteOutbox,
}

#[async_trait]
impl Transaction for SqliteTransaction {
    async fn insert(&mut self, appointment: &Appointment) -> Result<(), BookingError> {
        sqlx::query(
            "insert into appointment (id, name, email, starts_at, ends_at, notes) values (?, ?, ?, ?, ?, ?)",
        )
        .bind(appointment.id.to_string())
        .bind(&appointment.name)
        .bind(&appointment.email)
        .bind(stored(appointment.starts_at))
        .bind(stored(appointment.ends_at))
        .bind(&appointment.notes)
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    async fn find(&mut self, id: Uuid) -> Result<Option<Appointment>, BookingError> {
        find(&mut self.tx, id).await
    }

    async fn update(&mut self, appointment: &Appointment) -> Result<(), BookingError> {
        sqlx::query(
            "update appointment set name = ?, starts_at = ?, ends_at = ?, notes = ?, sequence = ?, cancelled = ?
             where id = ?",
        )
        .bind(&appointment.name)
        .bind(stored(appointment.starts_at))
        .bind(stored(appointment.ends_at))
        .bind(&appointment.notes)
        .bind(appointment.sequence)
        .bind(appointment.cancelled)
        .bind(appointment.id.to_string())
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    async fn enqueue(&mut self, message: &NewMessage) -> Result<(), BookingError> {
        self.outbox.enqueue_one(&mut self.tx, message).await?;
        Ok(())
    }

    async fn note(
        &mut self,
        appointment: &Appointment,
        change: Change,
        message: MessageId,
    ) -> Result<(), BookingError> {
        sqlx::query(
            "insert into appointment_message (appointment_id, sequence, method, message_id) values (?, ?, ?, ?)",
        )
        .bind(appointment.id.to_string())
        .bind(appointment.sequence)
        .bind(change.method())
        .bind(message.to_string())
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    async fn last_message(&mut self, id: Uuid) -> Result<MessageId, BookingError> {
        let row = sqlx::query(
            "select message_id from appointment_message where appointment_id = ? order by sequence desc limit 1",
        )
        .bind(id.to_string())
        .fetch_one(&mut *self.tx)
        .await?;
        read(&row, "message_id")
    }

    async fn remember(
        &mut self,
        request: &Request<'_>,
        (appointment, message): (Uuid, MessageId),
    ) -> Result<Option<Remembered>, BookingError> {
        // A few of the oldest go with each new one, so the table stays small without a job of its own.
        sqlx::query(
            "delete from booking_request where idempotency_key in
             (select idempotency_key from booking_request where created_at < ? order by created_at limit 10)",
        )
        .bind(forgotten())
        .execute(&mut *self.tx)
        .await?;
        let inserted = sqlx::query(
            "insert into booking_request (idempotency_key, fingerprint, appointment_id, message_id, created_at)
             values (?, ?, ?, ?, ?) on conflict do nothing",
        )
        .bind(request.key)
        .bind(&request.fingerprint)
        .bind(appointment.to_string())
        .bind(message.to_string())
        .bind(now())
        .execute(&mut *self.tx)
        .await?;
        if inserted.rows_affected() == 1 {
            return Ok(None);
        }
        let row = sqlx::query(
            "select fingerprint, appointment_id, message_id from booking_request where idempotency_key = ?",
        )
        .bind(request.key)
        .fetch_one(&mut *self.tx)
        .await?;
        Ok(Some(Remembered {
            fingerprint: row.try_get("fingerprint")?,
            appointment: read(&row, "appointment_id")?,
            message: read(&row, "message_id")?,
        }))
    }

    async fn commit(self: Box<Self>) -> Result<(), BookingError> {
        Ok(self.outbox.commit(self.tx).await?)
    }
}

async fn find(conn: &mut SqliteConnection, id: Uuid) -> Result<Option<Appointment>, BookingError> {
    let found = sqlx::query(
        "select name, email, starts_at, ends_at, notes, sequence, cancelled from appointment where id = ?",
    )
    .bind(id.to_string())
    .fetch_optional(conn)
    .await?;
    let Some(row) = found else { return Ok(None) };
    Ok(Some(Appointment {
        id,
        name: row.try_get("name")?,
        email: row.try_get("email")?,
        starts_at: read(&row, "starts_at")?,
        ends_at: read(&row, "ends_at")?,
        notes: row.try_get("notes")?,
        sequence: row.try_get("sequence")?,
        cancelled: row.try_get("cancelled")?,
    }))
}

/// The form in which times are stored.
fn stored(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Reads a column that holds the text form of a `T`.
fn read<T>(row: &SqliteRow, column: &str) -> Result<T, BookingError>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text: &str = row.try_get(column)?;
    text.parse().map_err(|error: T::Err| BookingError::Unreadable(error.into()))
}
