//! SQLite: one file, no server.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use outbox::{
    EnqueueExt, Enqueued, Inbox, MessageBuilder, MessageId, OutboxStore, SqliteOutbox, async_trait,
};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteRow, SqliteSynchronous};
use sqlx::{Row, Sqlite, SqlitePool};
use uuid::Uuid;

use super::{CONSUMER, Database, Transaction};
use crate::orders::{Order, OrderError, Status};
use crate::work::{Refused, Work};

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
        None => SqliteConnectOptions::new().filename(data_dir.join("orders.db")),
    };
    let options = options
        .create_if_missing(true)
        .foreign_keys(true)
        // An order that was answered must survive a power cut, and its messages with it.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(5));
    let file = options.get_filename().to_path_buf();
    let pool = SqlitePoolOptions::new()
        .acquire_timeout(Duration::from_secs(5))
        .connect_with(options)
        .await
        .with_context(|| format!("cannot open the database {}", file.display()))?;

    let outbox = SqliteOutbox::new(pool.clone());
    // It also switches the file to WAL, for all connections and for good.
    outbox.migrate().await.context("cannot create the tables of the outbox")?;
    let mut tx = outbox.begin().await?;
    sqlx::raw_sql(include_str!("sqlite.sql"))
        .execute(&mut *tx)
        .await
        .context("cannot create the tables of the shop")?;
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

    async fn begin(&self) -> Result<Box<dyn Transaction>, OrderError> {
        // It has the right to write from the start: SQLite has one writer at a time, and others wait for it.
        Ok(Box::new(SqliteTransaction { tx: self.outbox.begin().await?, outbox: self.outbox.clone() }))
    }

    async fn work(&self, order: Uuid) -> Result<Vec<Work>, OrderError> {
        let rows = sqlx::query("select * from work where order_id = ? order by seq")
            .bind(order.to_string())
            .fetch_all(&self.pool)
            .await?;
        let work = |row: &SqliteRow| {
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

struct SqliteTransaction {
    tx: sqlx::Transaction<'static, Sqlite>,
    outbox: SqliteOutbox,
}

#[async_trait]
impl Transaction for SqliteTransaction {
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
        let found = sqlx::query("select customer, total_cents, status from customer_order where id = ?")
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
            "insert into refused_record (record, why, record_key, headers, value) values (?, ?, ?, ?, ?)
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

/// Reads a column that holds the text form of a `T`.
fn read<T: FromStr>(row: &SqliteRow, column: &str) -> Result<T, OrderError> {
    let text: &str = row.try_get(column)?;
    text.parse().map_err(|_| OrderError::Unreadable(format!("a {column} {text:?}")))
}
