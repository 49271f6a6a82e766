//! outbox-postgres and outbox-core of its family: rows that change their status, with a trigger that notifies.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use outbox_core::prelude::*;
use outbox_postgres::{PostgresOutbox, PostgresWriter};
use outbox_race::{About, Arguments, Body, Peer, Receiver, Stop, Tuning};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

/// The migration that comes with the crate.
const SCHEMA: &str = include_str!(concat!(env!("OUT_DIR"), "/init.sql"));

struct Oxide {
    pool: PgPool,
    config: Arc<OutboxConfig<Body>>,
    service: OutboxService<PostgresWriter, NoIdempotency, Body>,
}

struct Handler(Receiver);

#[async_trait::async_trait]
impl Transport<Body> for Handler {
    async fn publish(&self, event: Event<Body>) -> Result<(), OutboxError> {
        if self.0.takes(event.payload.as_value().number) {
            Ok(())
        } else {
            Err(OutboxError::BrokerError("refused".to_owned()))
        }
    }
}

impl Peer for Oxide {
    fn about() -> About {
        About::new(
            "outbox-postgres 0.3.0 (outbox-core 0.6.0)",
            "all defaults: batch 100, poll 10 s, lock 5 min, its trigger that notifies, no idempotency",
            "SELECT count(*) FROM outbox_events WHERE status <> 'Sent'",
        )
        .tuned("batch 1000, poll 1 s, lock 1 min (the least); else the same")
        .keep(
            "INSERT INTO outbox_events (event_type, payload, status, created_at, locked_until)
             SELECT 'bench', jsonb_build_object('number', n, 'text', repeat('x', 470)), 'Sent', now(), now() - interval '1 h'
             FROM generate_series(1, 1000000) AS n",
        )
        .cannot("ordered", "it offers no order")
    }

    async fn open(arguments: &Arguments) -> Result<Self> {
        let pool = PgPoolOptions::new().max_connections(8).connect(&arguments.url).await?;
        let mut config = OutboxConfig::default();
        if arguments.tuning == Tuning::Tuned {
            config.batch_size = 1000;
            config.poll_interval_secs = 1;
            config.lock_timeout_mins = 1;
        }
        let config = Arc::new(config);
        let service = OutboxService::new(Arc::new(PostgresWriter), Arc::clone(&config));
        Ok(Self { pool, config, service })
    }

    async fn migrate(&self) -> Result<()> {
        sqlx::raw_sql(SCHEMA).execute(&self.pool).await?;
        Ok(())
    }

    async fn enqueue(&self, bodies: Vec<Body>) -> Result<Instant> {
        let mut tx = self.pool.begin().await?;
        for body in bodies {
            self.service.add_event("bench", body, None, &mut *tx).await?;
        }
        tx.commit().await?;
        Ok(Instant::now())
    }

    async fn deliver(self: Arc<Self>, receiver: Receiver, stop: Stop) -> Result<()> {
        let (shutdown, shutdown_rx) = tokio::sync::watch::channel(false);
        let manager = OutboxManagerBuilder::new()
            .storage(Arc::new(PostgresOutbox::new(self.pool.clone(), Arc::clone(&self.config))))
            .publisher(Arc::new(Handler(receiver)))
            .config(Arc::clone(&self.config))
            .shutdown_rx(shutdown_rx)
            .build()?;
        tokio::spawn(async move {
            stop.asked().await;
            shutdown.send_replace(true);
        });
        manager.run().await?;
        Ok(())
    }
}

fn main() -> ExitCode {
    outbox_race::main::<Oxide>()
}
