//! MySQL and MariaDB: `DATABASE_URL=mysql://user:password@host/database`.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use outbox::{EnqueueExt, Enqueued, Inbox, MessageBuilder, MessageId, MySqlOutbox, OutboxStore, async_trait};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions, MySqlRow};
use sqlx::{MySql, MySqlPool, Row};
use uuid::Uuid;

use super::{CONSUMER, Database, Transaction};
use crate::orders::{Order, OrderError, Status};
use crate::work::{Refused, Work};

#[derive(Debug)]
pub struct MySqlDatabase {
    pool: MySqlPool,
    outbox: MySqlOutbox,
    name: String,
}

/// Connects to the database of `url`.
pub async fn open(url: &str) -> Result<MySqlDatabase> {
    let options: MySqlConnectOptions = url.parse().context("DATABASE_URL cannot be used")?;
    let database = options.get_database().unwrap_or_default();
    let name = format!("{database} on {}:{}", options.get_host(), options.get_port());
    let pool = MySqlPoolOptions::new()
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

    let outbox = MySqlOutbox::new(pool.clone());
    outbox.migrate().await.context("cannot create the tables of the outbox")?;
    sqlx::raw_sql(include_str!("mysql.sql"))
        .execute(&pool)
        .await
        .context("cannot create the tables of the shop")?;
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

    async fn begin(&self) -> Result<Box<dyn Transaction>, OrderError> {
        Ok(Box::new(MySqlTransaction { tx: self.outbox.begin().await?, outbox: self.outbox.clone() }))
    }

    async fn work(&self, order: Uuid) -> Result<Vec<Work>, OrderError> {
        let rows = sqlx::query("select * from work where order_id = ? order by seq")
            .bind(order.to_string())
            .fetch_all(&self.pool)
            .await?;
        let work = |row: &MySqlRow| {
            Ok(Work {
                message: read(row, "message_id")?,
                order: read(row, "order_id")?,
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

struct MySqlTransaction {
    tx: sqlx::Transaction<'static, MySql>,
    outbox: MySqlOutbox,
}

#[async_trait]
impl Transaction for MySqlTransaction {
    async fn insert(&mut self, order: &Order) -> Result<(), OrderError> {
        sqlx::query("insert into customer_order (id, customer, total_cents, status) values (?, ?, ?, ?)")
            .bind(order.id.to_string())
            .bind(&order.customer)
            .bind(order.total_cents)
            .bind(order.status.as_str())
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    async fn find(&mut self, id: Uuid) -> Result<Option<Order>, OrderError> {
        let found =
            sqlx::query("select customer, total_cents, status from customer_order where id = ? for update")
                .bind(id.to_string())
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
        sqlx::query("update customer_order set status = ? where id = ?")
            .bind(status.as_str())
            .bind(order.to_string())
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    async fn publish(&mut self, order: Uuid, messages: Vec<MessageBuilder>) -> Result<(), OrderError> {
        let published = self.outbox.publish_all(&mut self.tx, messages).await?;
        for message in published.iter().filter(|message| !message.is_duplicate()).map(Enqueued::id) {
            sqlx::query("insert into order_message (message_id, order_id) values (?, ?)")
                .bind(message.to_string())
                .bind(order.to_string())
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
             values (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(work.message.to_string())
        .bind(work.order.to_string())
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
            "insert ignore into refused_record (record, why, record_key, headers, value) values (?, ?, ?, ?, ?)",
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

/// Reads a column that holds the text form of a `T`.
fn read<T: FromStr>(row: &MySqlRow, column: &str) -> Result<T, OrderError> {
    let text: &str = row.try_get(column)?;
    text.parse().map_err(|_| OrderError::Unreadable(format!("a {column} {text:?}")))
}
