//! PostgreSQL: `DATABASE_URL=postgres://user:password@host/database`.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use outbox::{
    EnqueueExt, Enqueued, Inbox, MessageBuilder, MessageId, OutboxStore, PostgresOutbox, async_trait,
};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgRow};
use sqlx::{PgPool, Postgres, Row};
use uuid::Uuid;

use super::{CONSUMER, Database, Transaction};
use crate::orders::{Order, OrderError, Status};
use crate::work::{Refused, Work};

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
        .acquire_timeout(Duration::from_secs(5))
        .connect_with(options)
        .await
        .with_context(|| format!("cannot open the database {name} (does a server answer there?)"))?;

    let outbox = PostgresOutbox::new(pool.clone());
    outbox.migrate().await.context("cannot create the tables of the outbox")?;
    // Two processes may start at once; `if not exists` alone would fail the one that comes second.
    let mut tx = outbox.begin().await?;
    sqlx::query("select pg_advisory_xact_lock(hashtext('orders'))").execute(&mut *tx).await?;
    sqlx::raw_sql(include_str!("postgres.sql"))
        .execute(&mut *tx)
        .await
        .context("cannot create the tables of the shop")?;
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

    async fn begin(&self) -> Result<Box<dyn Transaction>, OrderError> {
        Ok(Box::new(PostgresTransaction { tx: self.outbox.begin().await?, outbox: self.outbox.clone() }))
    }

    async fn work(&self, order: Uuid) -> Result<Vec<Work>, OrderError> {
        let rows = sqlx::query("select * from work where order_id = $1 order by seq")
            .bind(order)
            .fetch_all(&self.pool)
            .await?;
        let work = |row: &PgRow| {
            Ok(Work {
                message: row.try_get::<Uuid, _>("message_id")?.into(),
                order: row.try_get("order_id")?,
                message_type: row.try_get("message_type")?,
                what: row.try_get("what")?,
                correlation_id: row.try_get("correlation_id")?,
                causation_id: row.try_get("causation_id")?,
                record: row.try_get("record")?,
            })
        };
        rows.iter().map(work).collect()
    }

    async fn under_way(&self) -> Result<i64, OrderError> {
        let count = sqlx::query_scalar(
            "select count(*) from order_message m
             where not exists (select 1 from work w where w.message_id = m.message_id)",
        );
        Ok(count.fetch_one(&self.pool).await?)
    }

    async fn refused(&self) -> Result<i64, OrderError> {
        Ok(sqlx::query_scalar("select count(*) from refused_record").fetch_one(&self.pool).await?)
    }
}

struct PostgresTransaction {
    tx: sqlx::Transaction<'static, Postgres>,
    outbox: PostgresOutbox,
}

#[async_trait]
impl Transaction for PostgresTransaction {
    async fn insert(&mut self, order: &Order) -> Result<(), OrderError> {
        sqlx::query("insert into customer_order (id, customer, total_cents, status) values ($1, $2, $3, $4)")
            .bind(order.id)
            .bind(&order.customer)
            .bind(order.total_cents)
            .bind(order.status.as_str())
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    async fn find(&mut self, id: Uuid) -> Result<Option<Order>, OrderError> {
        let found =
            sqlx::query("select customer, total_cents, status from customer_order where id = $1 for update")
                .bind(id)
                .fetch_optional(&mut *self.tx)
                .await?;
        let Some(row) = found else { return Ok(None) };
        Ok(Some(Order {
            id,
            customer: row.try_get("customer")?,
            total_cents: row.try_get("total_cents")?,
            status: row.try_get::<&str, _>("status")?.parse()?,
        }))
    }

    async fn set_status(&mut self, order: Uuid, status: Status) -> Result<(), OrderError> {
        sqlx::query("update customer_order set status = $2 where id = $1")
            .bind(order)
            .bind(status.as_str())
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    async fn publish(&mut self, order: Uuid, messages: Vec<MessageBuilder>) -> Result<(), OrderError> {
        let published = self.outbox.publish_all(&mut self.tx, messages).await?;
        for message in published.iter().filter(|message| !message.is_duplicate()).map(Enqueued::id) {
            sqlx::query("insert into order_message (message_id, order_id) values ($1, $2)")
                .bind(message.as_uuid())
                .bind(order)
                .execute(&mut *self.tx)
                .await?;
        }
        Ok(())
    }

    async fn first_time(&mut self, message: MessageId) -> Result<bool, OrderError> {
        Ok(self.outbox.first_time(&mut self.tx, CONSUMER, message).await?)
    }

    async fn note(&mut self, work: &Work) -> Result<(), OrderError> {
        sqlx::query(
            "insert into work (message_id, order_id, message_type, what, correlation_id, causation_id, record)
             values ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(work.message.as_uuid())
        .bind(work.order)
        .bind(&work.message_type)
        .bind(&work.what)
        .bind(&work.correlation_id)
        .bind(&work.causation_id)
        .bind(&work.record)
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    async fn refuse(&mut self, refused: &Refused) -> Result<(), OrderError> {
        sqlx::query(
            "insert into refused_record (record, why, record_key, headers, value) values ($1, $2, $3, $4, $5)
             on conflict do nothing",
        )
        .bind(&refused.record)
        .bind(&refused.why)
        .bind(&refused.key)
        .bind(&refused.headers)
        .bind(&refused.value)
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<(), OrderError> {
        Ok(self.outbox.commit(self.tx).await?)
    }
}
