//! apalis on apalis-postgres: a job queue; a message is a task.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use apalis::prelude::*;
use apalis_postgres::{Config, PgTask, PostgresStorage};
use outbox_race::{About, Arguments, Body, Peer, Receiver, Stop, Tuning};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

const QUEUE: &str = "bench";

struct Apalis {
    pool: PgPool,
    tuning: Tuning,
}

async fn deliver(body: Body, receiver: Data<Receiver>) -> Result<(), BoxDynError> {
    if receiver.takes(body.number) { Ok(()) } else { Err("refused".into()) }
}

impl Peer for Apalis {
    fn about() -> About {
        About::new(
            "apalis-postgres 1.0.0",
            "all defaults, as its README's first example: batch 10, one task at a time, heartbeat 30 s, 10 may be missed",
            "SELECT count(*) FROM apalis.jobs WHERE status <> 'Done'",
        )
        .tuned("with_pubsub, batch 1000, concurrency 16, heartbeat 1 s, 5 may be missed")
        .keep(
            "INSERT INTO apalis.jobs (id, job_type, job, status, attempts, run_at, done_at)
             SELECT 'kept-' || n, 'bench', convert_to('{\"number\":' || n || ',\"text\":\"' || repeat('x', 470) || '\"}', 'UTF8'),
                'Done', 1, now() - interval '1 h', now()
             FROM generate_series(1, 1000000) AS n",
        )
        .cannot("ordered", "it offers no order")
    }

    async fn open(arguments: &Arguments) -> Result<Self> {
        let pool = PgPoolOptions::new().max_connections(8).connect(&arguments.url).await?;
        Ok(Self { pool, tuning: arguments.tuning })
    }

    async fn migrate(&self) -> Result<()> {
        Ok(PostgresStorage::setup(&self.pool).await?)
    }

    async fn enqueue(&self, bodies: Vec<Body>) -> Result<Instant> {
        let tasks: Vec<PgTask> = bodies.iter().map(|body| TaskBuilder::new(body.to_json()).build()).collect();
        let mut tx = self.pool.begin().await?;
        apalis_postgres::queries::push_tasks(&mut *tx, QUEUE, tasks).await?;
        tx.commit().await?;
        Ok(Instant::now())
    }

    async fn deliver(self: Arc<Self>, receiver: Receiver, stop: Stop) -> Result<()> {
        let stopped = async move {
            stop.asked().await;
            Ok::<(), WorkerError>(())
        };
        // The name of a worker that is thought to be alive cannot be used again.
        let name = format!("worker-{}", std::process::id());
        let config = Config::default().queue(QUEUE);
        let ended = match self.tuning {
            Tuning::Default => {
                let backend = PostgresStorage::<Body>::new(&self.pool).with_config(config);
                let worker = WorkerBuilder::new(name).backend(backend).data(receiver).build(deliver);
                worker.run_until(stopped).await
            }
            Tuning::Tuned => {
                let config =
                    config.batch_size(1000).heartbeat_interval(Duration::from_secs(1)).missed_heartbeats(5);
                let backend = PostgresStorage::<Body>::new(&self.pool).with_config(config).with_pubsub();
                let builder = WorkerBuilder::new(name).backend(backend).data(receiver).concurrency(16);
                builder.build(deliver).run_until(stopped).await
            }
        };
        ended.map_err(|error| anyhow!("{error:?}"))
    }
}

fn main() -> ExitCode {
    outbox_race::main::<Apalis>()
}
