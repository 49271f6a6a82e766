//! pgmq: a queue in SQL with a thin client. It has no worker, so the loop is ours: read, handle, delete.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use outbox_race::{About, Arguments, Body, Peer, Receiver, Stop, Tuning};
use pgmq::PGMQueueExt;
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use sqlx::types::Json;

const QUEUE: &str = "bench";

struct Pgmq {
    pool: PgPool,
    queue: PGMQueueExt,
    tuning: Tuning,
    keys: u64,
    /// Archive what was handled, instead of deleting it.
    keeping: bool,
}

impl Peer for Pgmq {
    fn about() -> About {
        About::new(
            "pgmq 0.33.7",
            "one reader, 100 a read, visibility timeout 30 s, read_with_poll with its defaults (up to 5 s, every 250 ms)",
            "SELECT count(*) FROM pgmq.q_bench",
        )
        .tuned("one reader, 1000 a read, visibility timeout 5 s, read_with_poll every 10 ms; order per key: read_grouped_head with the FIFO index")
        .keep(
            "INSERT INTO pgmq.a_bench (msg_id, read_ct, enqueued_at, vt, message)
             SELECT -n, 1, now(), now(), jsonb_build_object('number', n, 'text', repeat('x', 470))
             FROM generate_series(1, 1000000) AS n",
        )
    }

    async fn open(arguments: &Arguments) -> Result<Self> {
        let Arguments { url, tuning, keys, keeping, .. } = arguments;
        let pool = PgPoolOptions::new().max_connections(8).connect(url).await?;
        let queue = PGMQueueExt::new_with_pool(pool.clone()).await;
        Ok(Self { pool, queue, tuning: *tuning, keys: *keys, keeping: *keeping })
    }

    async fn migrate(&self) -> Result<()> {
        self.queue.install_sql_from_embedded().await?;
        self.queue.create(QUEUE).await?;
        if self.keys > 0 {
            self.queue.create_fifo_index(QUEUE).await?;
        }
        Ok(())
    }

    async fn enqueue(&self, bodies: Vec<Body>) -> Result<Instant> {
        let mut tx = self.pool.begin().await?;
        if self.keys == 0 {
            self.queue.send_batch_with_cxn(QUEUE, &bodies, &mut *tx).await?;
        } else {
            let headers: Vec<Value> =
                bodies.iter().map(|body| json!({ "x-pgmq-group": body.key(self.keys) })).collect();
            let queue = &self.queue;
            queue
                .send_batch_with_delay_with_headers_with_cxn(QUEUE, &bodies, Some(&headers), 0, &mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(Instant::now())
    }

    async fn deliver(self: Arc<Self>, receiver: Receiver, stop: Stop) -> Result<()> {
        while !stop.is_asked() {
            let read = self.read();
            let read = tokio::select! {
                read = read => read?,
                () = stop.clone().asked() => break,
            };
            if read.is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
            // What is refused stays, and comes back after the visibility timeout.
            let taken: Vec<i64> =
                read.into_iter().filter(|(_, body)| receiver.takes(body.number)).map(|(id, _)| id).collect();
            if taken.is_empty() {
                continue;
            }
            if self.keeping {
                self.queue.archive_batch(QUEUE, &taken).await?;
            } else {
                self.queue.delete_batch(QUEUE, &taken).await?;
            }
        }
        Ok(())
    }
}

impl Pgmq {
    async fn read(&self) -> Result<Vec<(i64, Body)>> {
        let (timeout, batch, interval) = match self.tuning {
            Tuning::Default => (30, 100, None),
            Tuning::Tuned => (5, 1000, Some(Duration::from_millis(10))),
        };
        if self.keys > 0 {
            // The client has no method for it yet.
            let sql = "SELECT msg_id, message FROM pgmq.read_grouped_head($1, $2, $3) ORDER BY msg_id";
            let query = sqlx::query_as::<_, (i64, Json<Body>)>(sql).bind(QUEUE).bind(timeout).bind(batch);
            let rows = query.fetch_all(&self.pool).await?;
            return Ok(rows.into_iter().map(|(id, body)| (id, body.0)).collect());
        }
        let read = self.queue.read_batch_with_poll::<Body>(QUEUE, timeout, batch, None, interval).await?;
        Ok(read.unwrap_or_default().into_iter().map(|message| (message.msg_id, message.message)).collect())
    }
}

fn main() -> ExitCode {
    outbox_race::main::<Pgmq>()
}
