//! outbox-pattern-processor: sends to SQS, SNS and HTTP; here to an HTTP server in the same process, since it has no
//! handlers.

mod sink;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, anyhow};
use outbox_pattern_processor::outbox::Outbox;
use outbox_pattern_processor::outbox_processor::OutboxProcessor;
use outbox_pattern_processor::outbox_repository::OutboxRepository;
use outbox_pattern_processor::outbox_resources::OutboxProcessorResources;
use outbox_race::{About, Arguments, Body, Peer, Receiver, Stop, Tuning};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use uuid::Uuid;

struct PatternProcessor {
    pool: PgPool,
    tuning: Tuning,
    keys: u64,
}

impl Peer for PatternProcessor {
    fn about() -> About {
        About::new(
            "outbox-pattern-processor 0.4.0",
            "all defaults: 50 a poll, poll 5 s when idle, in flight at most 30 s; over HTTP to a server in its process",
            "SELECT count(*) FROM outbox WHERE processed_at IS NULL",
        )
        .tuned("1000 a poll, poll 1 s when idle (the least), in flight at most 5 s; else the same")
        .keep(
            "INSERT INTO outbox (idempotent_key, partition_key, destinations, payload, attempts, processed_at)
             SELECT gen_random_uuid(), gen_random_uuid(), '[]', '{\"number\":' || n || ',\"text\":\"' || repeat('x', 470) || '\"}',
                1, now()
             FROM generate_series(1, 1000000) AS n",
        )
    }

    async fn open(arguments: &Arguments) -> Result<Self> {
        let pool = PgPoolOptions::new().max_connections(8).connect(&arguments.url).await?;
        Ok(Self { pool, tuning: arguments.tuning, keys: arguments.keys })
    }

    async fn migrate(&self) -> Result<()> {
        sqlx::raw_sql(include_str!("schema.sql")).execute(&self.pool).await?;
        Ok(())
    }

    async fn enqueue(&self, bodies: Vec<Body>) -> Result<Instant> {
        let mut outboxes = Vec::with_capacity(bodies.len());
        for body in bodies {
            let partition = match self.keys {
                0 => Uuid::now_v7(),
                keys => Uuid::from_u128(u128::from(body.number % keys) + 1),
            };
            outboxes.push(Outbox::http_post_json(
                partition,
                sink::url(self.tuning),
                None,
                &serde_json::to_value(body)?,
            ));
        }
        let mut tx = self.pool.begin().await?;
        OutboxRepository::insert_all(&mut tx, outboxes).await.map_err(|error| anyhow!("{error:?}"))?;
        tx.commit().await?;
        Ok(Instant::now())
    }

    async fn deliver(self: Arc<Self>, receiver: Receiver, stop: Stop) -> Result<()> {
        let sink = tokio::spawn(sink::serve(sink::url(self.tuning), receiver));
        let mut resources = OutboxProcessorResources::new(self.pool.clone(), None, None);
        if self.tuning == Tuning::Tuned {
            resources = resources
                .with_outbox_query_limit(1000)
                .with_outbox_execution_interval_in_seconds(1)
                .with_max_in_flight_interval_in_seconds(5);
        }
        let processor = OutboxProcessor::new(resources).with_graceful_shutdown(stop.asked());
        processor.init_process().await.map_err(|error| anyhow!("{error:?}"))?;
        sink.abort();
        Ok(())
    }
}

fn main() -> ExitCode {
    outbox_race::main::<PatternProcessor>()
}
