//! hexeract-outbox on hexeract-outbox-sql: typed handlers, a transaction for each delivered message.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use hexeract_core::HandlerContext;
use hexeract_outbox::{
    ErasedHandler, Event, Handler, OutboxError, OutboxPublisher, OutboxWorker, OutboxWorkerConfig,
    TypedHandler,
};
use hexeract_outbox_sql::{PgOutboxPublisher, PgOutboxStore};
use outbox_race::{About, Arguments, Body, Peer, Receiver, Stop, Tuning};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio_util::sync::CancellationToken;

const TABLE: &str = "outbox";

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Bench(Body);

impl Event for Bench {
    const EVENT_TYPE: &'static str = "bench";
}

struct Deliver(Receiver);

impl Handler<Bench> for Deliver {
    type Error = OutboxError;

    async fn handle(&self, event: Bench, _: &HandlerContext) -> Result<(), OutboxError> {
        if self.0.takes(event.0.number) { Ok(()) } else { Err(OutboxError::Database("refused".into())) }
    }
}

struct Hexeract {
    pool: PgPool,
    publisher: PgOutboxPublisher,
    config: OutboxWorkerConfig,
}

impl Peer for Hexeract {
    fn about() -> About {
        About::new(
            "hexeract-outbox 0.6.0",
            "all defaults: batch 10, poll 100 ms, 5 ms between batches, timeout 30 s, no dead letters",
            "SELECT count(*) FROM outbox WHERE delivered_at IS NULL",
        )
        .tuned("batch 100, poll 10 ms, no pause between batches, timeout 100 ms (its lease is timeout × batch)")
        .keep(
            "INSERT INTO outbox (id, event_id, event_type, payload, attempts, delivered_at)
             SELECT -n, gen_random_uuid(), 'bench', jsonb_build_object('number', n, 'text', repeat('x', 470)), 1, now()
             FROM generate_series(1, 1000000) AS n",
        )
        .cannot("ordered", "its subjects are documented as best effort, not as order")
    }

    async fn open(arguments: &Arguments) -> Result<Self> {
        let pool = PgPoolOptions::new().max_connections(8).connect(&arguments.url).await?;
        let mut config = OutboxWorkerConfig::default();
        if arguments.tuning == Tuning::Tuned {
            config.batch_size = 100;
            config.poll_interval = Duration::from_millis(10);
            config.min_cycle_delay = Duration::ZERO;
            config.dispatch_timeout = Duration::from_millis(100);
        }
        Ok(Self { publisher: PgOutboxPublisher::new(pool.clone(), TABLE)?, pool, config })
    }

    async fn migrate(&self) -> Result<()> {
        hexeract_outbox_sql::postgres::ensure_schema(&self.pool, TABLE).await?;
        Ok(())
    }

    async fn enqueue(&self, bodies: Vec<Body>) -> Result<Instant> {
        let mut tx = self.pool.begin().await?;
        for body in bodies {
            self.publisher.publish_in_tx(&mut tx, &Bench(body)).await?;
        }
        tx.commit().await?;
        Ok(Instant::now())
    }

    async fn deliver(self: Arc<Self>, receiver: Receiver, stop: Stop) -> Result<()> {
        let store = PgOutboxStore::new(self.pool.clone(), TABLE)?;
        let handler: Arc<dyn ErasedHandler> = Arc::new(TypedHandler::<Bench, _>::new(Deliver(receiver)));
        let worker = OutboxWorker::new(
            store,
            std::collections::HashMap::from([(Bench::EVENT_TYPE, handler)]),
            self.config.clone(),
        );
        let cancel = CancellationToken::new();
        tokio::spawn({
            let cancel = cancel.clone();
            async move {
                stop.asked().await;
                cancel.cancel();
            }
        });
        worker.run(cancel).await?;
        Ok(())
    }
}

fn main() -> ExitCode {
    outbox_race::main::<Hexeract>()
}
