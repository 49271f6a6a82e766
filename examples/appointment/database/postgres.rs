//! PostgreSQL: `DATABASE_URL=postgres://user:password@host/database`.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use outbox::{EnqueueExt, MessageId, NewMessage, OutboxAdmin, OutboxStore, PostgresOutbox, async_trait};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgRow};
use sqlx::{PgPool, Postgres, Row};
use uuid::Uuid;

use super::{Database, Transaction, forgotten, now};
use crate::booking::{Appointment, BookingError, SentMessage};
use crate::idempotency::{Remembered, Request};
use crate::invite::Change;

#[derive(Debug)]
pub struct PostgresDatabase {
    pool: PgPool,
    outbox: PostgresOutbox,
    name: String,
}

/// Connects to the database of `url`.
pub async fn open(url: &str) -> Result<PostgresDatabase> {
    let options: PgConnectOptions = url.parse().context("DATABASE_URL cannot be used")?;
    let database = options.get_database().unwrap_or(options.get_username());
    let name = format!("{database} on {}:{}", options.get_host(), options.get_port());
    let pool = PgPoolOptions::new()
        .max_connections(8)
        .acquire_timeout(Duration::from_secs(5))
        .connect_with(options)
        .await
        .with_context(|| format!("cannot open the database {name} (does a server answer there?)"))?;

    // History is off by default, since it costs a row per message; here `GET` shows what was delivered.
    let outbox = PostgresOutbox::builder(pool.clone()).history(true).build()?;
    outbox.migrate().await.context("cannot create the tables of the outbox")?;
    // Two processes may start at once; `if not exists` alone would fail the one that comes second.
    let mut tx = outbox.begin().await?;
    sqlx::query("select pg_advisory_xact_lock(hashtext('appointment'))").execute(&mut *tx).await?;
    sqlx::raw_sql(include_str!("postgres.sql"))
        .execute(&mut *tx)
        .await
        .context("cannot create the tables of appointments")?;
    tx.commit().await?;
    Ok(PostgresDatabase { pool, outbox, name })
}

#[async_trait]
impl Database for PostgresDatabase {
    fn name(&self) -> (&'static str, String) {
        ("PostgreSQL", self.name.clone())
    }

    fn store(&self) -> Arc<dyn OutboxStore> {
        Arc::new(self.outbox.clone())
    }

    fn admin(&self) -> &dyn OutboxAdmin {
        &self.outbox
    }

    async fn begin(&self) -> Result<Box<dyn Transaction>, BookingError> {
        Ok(Box::new(PostgresTransaction { tx: self.outbox.begin().await?, outbox: self.outbox.clone() }))
    }

    async fn show(
        &self,
        id: Uuid,
        messages: u32,
    ) -> Result<Option<(Appointment, Vec<SentMessage>)>, BookingError> {
        // One snapshot for both: no message of a change that the appointment does not show.
        let mut tx = self.pool.begin_with("begin isolation level repeatable read, read only").await?;
        let found = sqlx::query("select * from appointment where id = $1").bind(id).fetch_optional(&mut *tx);
        let Some(row) = found.await? else { return Ok(None) };
        let rows = sqlx::query(
            "select sequence, method, message_id from appointment_message
             where appointment_id = $1 order by sequence desc limit $2",
        )
        .bind(id)
        .bind(i64::from(messages))
        .fetch_all(&mut *tx)
        .await?;
        let message = |row: &PgRow| {
            let id = row.try_get::<Uuid, _>("message_id")?.into();
            Ok(SentMessage { id, sequence: sequence(row)?, method: row.try_get("method")? })
        };
        Ok(Some((appointment(&row)?, rows.iter().map(message).collect::<Result<_, BookingError>>()?)))
    }
}

struct PostgresTransaction {
    tx: sqlx::Transaction<'static, Postgres>,
    outbox: PostgresOutbox,
}

#[async_trait]
impl Transaction for PostgresTransaction {
    async fn insert(&mut self, appointment: &Appointment) -> Result<(), BookingError> {
        sqlx::query(
            "insert into appointment (id, name, email, starts_at, ends_at, notes) values ($1, $2, $3, $4, $5, $6)",
        )
        .bind(appointment.id)
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
        let found = sqlx::query("select * from appointment where id = $1 for update")
            .bind(id)
            .fetch_optional(&mut *self.tx)
            .await?;
        found.as_ref().map(appointment).transpose()
    }

    async fn update(&mut self, appointment: &Appointment) -> Result<(), BookingError> {
        sqlx::query(
            "update appointment set name = $2, starts_at = $3, ends_at = $4, notes = $5, sequence = $6, cancelled = $7
             where id = $1",
        )
        .bind(appointment.id)
        .bind(&appointment.name)
        .bind(appointment.starts_at)
        .bind(appointment.ends_at)
        .bind(&appointment.notes)
        .bind(i64::from(appointment.sequence))
        .bind(appointment.cancelled)
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
             values ($1, $2, $3, $4)",
        )
        .bind(appointment.id)
        .bind(i64::from(appointment.sequence))
        .bind(change.method())
        .bind(message.as_uuid())
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    async fn last_message(&mut self, id: Uuid) -> Result<MessageId, BookingError> {
        let message: Uuid = sqlx::query_scalar(
            "select message_id from appointment_message where appointment_id = $1 order by sequence desc limit 1",
        )
        .bind(id)
        .fetch_one(&mut *self.tx)
        .await?;
        Ok(message.into())
    }

    async fn remember(
        &mut self,
        request: &Request<'_>,
        (appointment, message): (Uuid, MessageId),
    ) -> Result<Option<Remembered>, BookingError> {
        // A few of the oldest go with each new one, so the table stays small without a job of its own. What another
        // transaction is about to remove is left to it.
        sqlx::query(
            "delete from booking_request where idempotency_key in
             (select idempotency_key from booking_request where created_at < $1
              order by created_at limit 10 for update skip locked)",
        )
        .bind(forgotten())
        .execute(&mut *self.tx)
        .await?;
        // Waits for a transaction that is inserting the same key.
        let inserted = sqlx::query(
            "insert into booking_request (idempotency_key, fingerprint, appointment_id, message_id, created_at)
             values ($1, $2, $3, $4, $5) on conflict do nothing",
        )
        .bind(request.key)
        .bind(&request.fingerprint)
        .bind(appointment)
        .bind(message.as_uuid())
        .bind(now())
        .execute(&mut *self.tx)
        .await?;
        if inserted.rows_affected() == 1 {
            return Ok(None);
        }
        let row = sqlx::query(
            "select fingerprint, appointment_id, message_id from booking_request where idempotency_key = $1",
        )
        .bind(request.key)
        .fetch_one(&mut *self.tx)
        .await?;
        Ok(Some(Remembered {
            fingerprint: row.try_get("fingerprint")?,
            appointment: row.try_get("appointment_id")?,
            message: row.try_get::<Uuid, _>("message_id")?.into(),
        }))
    }

    async fn commit(self: Box<Self>) -> Result<(), BookingError> {
        Ok(self.outbox.commit(self.tx).await?)
    }
}

fn appointment(row: &PgRow) -> Result<Appointment, BookingError> {
    Ok(Appointment {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        email: row.try_get("email")?,
        starts_at: row.try_get("starts_at")?,
        ends_at: row.try_get("ends_at")?,
        notes: row.try_get("notes")?,
        sequence: sequence(row)?,
        cancelled: row.try_get("cancelled")?,
    })
}

/// PostgreSQL has no unsigned numbers.
fn sequence(row: &PgRow) -> Result<u32, BookingError> {
    let sequence: i64 = row.try_get("sequence")?;
    sequence.try_into().map_err(|error: std::num::TryFromIntError| BookingError::Unreadable(error.into()))
}
