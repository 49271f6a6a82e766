//! MySQL and MariaDB: `DATABASE_URL=mysql://user:password@host/database`.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use outbox::{EnqueueExt, MessageId, MySqlOutbox, NewMessage, OutboxAdmin, OutboxStore, async_trait};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions, MySqlRow};
use sqlx::{Connection, MySql, MySqlPool, Row};
use uuid::Uuid;

use super::{Database, Transaction, forgotten, now};
use crate::booking::{Appointment, BookingError, SentMessage};
use crate::idempotency::{Remembered, Request};
use crate::invite::Change;

#[derive(Debug)]
pub struct MySqlDatabase {
    pool: MySqlPool,
    outbox: MySqlOutbox,
    name: String,
}

/// Connects to the database of `url`.
pub async fn open(url: &str) -> Result<MySqlDatabase> {
    let options: MySqlConnectOptions = url.parse().context("DATABASE_URL cannot be used")?;
    let name = format!(
        "{} on {}:{}",
        options.get_database().unwrap_or_default(),
        options.get_host(),
        options.get_port()
    );
    let pool = MySqlPoolOptions::new()
        .max_connections(8)
        .acquire_timeout(Duration::from_secs(5))
        // As on the other databases: a transaction locks the rows it names, and not the gaps around them.
        .after_connect(|conn, _| {
            Box::pin(async move {
                sqlx::query("set session transaction isolation level read committed").execute(conn).await?;
                Ok(())
            })
        })
        .connect_with(options)
        .await
        .with_context(|| format!("cannot open the database {name} (does a server answer there?)"))?;

    // History is off by default, since it costs a row per message; here `GET` shows what was delivered.
    let outbox = MySqlOutbox::builder(pool.clone()).history(true).build()?;
    outbox.migrate().await.context("cannot create the tables of the outbox")?;
    sqlx::raw_sql(include_str!("mysql.sql"))
        .execute(&pool)
        .await
        .context("cannot create the tables of appointments")?;
    Ok(MySqlDatabase { pool, outbox, name })
}

#[async_trait]
impl Database for MySqlDatabase {
    fn name(&self) -> (&'static str, String) {
        ("MySQL", self.name.clone())
    }

    fn store(&self) -> Arc<dyn OutboxStore> {
        Arc::new(self.outbox.clone())
    }

    fn admin(&self) -> &dyn OutboxAdmin {
        &self.outbox
    }

    async fn begin(&self) -> Result<Box<dyn Transaction>, BookingError> {
        Ok(Box::new(MySqlTransaction { tx: self.outbox.begin().await?, outbox: self.outbox.clone() }))
    }

    async fn show(
        &self,
        id: Uuid,
        messages: u32,
    ) -> Result<Option<(Appointment, Vec<SentMessage>)>, BookingError> {
        // One snapshot for both: no message of a change that the appointment does not show.
        let mut conn = self.pool.acquire().await?;
        sqlx::query("set transaction isolation level repeatable read").execute(&mut *conn).await?;
        let mut tx = conn.begin().await?;
        let found = sqlx::query("select * from appointment where id = ?")
            .bind(id.to_string())
            .fetch_optional(&mut *tx);
        let Some(row) = found.await? else { return Ok(None) };
        let rows = sqlx::query(
            "select sequence, method, message_id from appointment_message
             where appointment_id = ? order by sequence desc limit ?",
        )
        .bind(id.to_string())
        .bind(messages)
        .fetch_all(&mut *tx)
        .await?;
        let message = |row: &MySqlRow| {
            let (sequence, method) = (row.try_get("sequence")?, row.try_get("method")?);
            Ok(SentMessage { id: read(row, "message_id")?, sequence, method })
        };
        Ok(Some((appointment(&row)?, rows.iter().map(message).collect::<Result<_, BookingError>>()?)))
    }
}

struct MySqlTransaction {
    tx: sqlx::Transaction<'static, MySql>,
    outbox: MySqlOutbox,
}

#[async_trait]
impl Transaction for MySqlTransaction {
    async fn insert(&mut self, appointment: &Appointment) -> Result<(), BookingError> {
        sqlx::query(
            "insert into appointment (id, name, email, starts_at, ends_at, notes) values (?, ?, ?, ?, ?, ?)",
        )
        .bind(appointment.id.to_string())
        .bind(&appointment.name)
        .bind(&appointment.email)
        .bind(appointment.starts_at)
        .bind(appointment.ends_at)
        .bind(&appointment.notes)
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    async fn find(&mut self, id: Uuid) -> Result<Option<Appointment>, BookingError> {
        let found = sqlx::query("select * from appointment where id = ? for update")
            .bind(id.to_string())
            .fetch_optional(&mut *self.tx)
            .await?;
        found.as_ref().map(appointment).transpose()
    }

    async fn update(&mut self, appointment: &Appointment) -> Result<(), BookingError> {
        sqlx::query(
            "update appointment set name = ?, starts_at = ?, ends_at = ?, notes = ?, sequence = ?, cancelled = ?
             where id = ?",
        )
        .bind(&appointment.name)
        .bind(appointment.starts_at)
        .bind(appointment.ends_at)
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
            "insert into appointment_message (appointment_id, sequence, method, message_id)
             values (?, ?, ?, ?)",
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
        sqlx::query("delete from booking_request where created_at < ? order by created_at limit 10")
            .bind(forgotten())
            .execute(&mut *self.tx)
            .await?;
        // Waits for a transaction that is inserting the same key.
        let inserted = sqlx::query(
            "insert ignore into booking_request (idempotency_key, fingerprint, appointment_id, message_id, created_at)
             values (?, ?, ?, ?, ?)",
        )
        .bind(request.key.as_bytes())
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
        .bind(request.key.as_bytes())
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

fn appointment(row: &MySqlRow) -> Result<Appointment, BookingError> {
    Ok(Appointment {
        id: read(row, "id")?,
        name: row.try_get("name")?,
        email: row.try_get("email")?,
        starts_at: row.try_get("starts_at")?,
        ends_at: row.try_get("ends_at")?,
        notes: row.try_get("notes")?,
        sequence: row.try_get("sequence")?,
        cancelled: row.try_get("cancelled")?,
    })
}

/// Reads a column that holds the text form of a `T`.
fn read<T>(row: &MySqlRow, column: &str) -> Result<T, BookingError>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text: &str = row.try_get(column)?;
    text.parse().map_err(|error: T::Err| BookingError::Unreadable(error.into()))
}
