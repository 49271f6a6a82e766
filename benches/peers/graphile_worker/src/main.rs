//! graphile_worker: a job queue; a message is a job.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use graphile_worker::{
    IntoTaskHandlerResult, JobSpec, LocalQueueConfig, RawJobSpec, RefetchDelayConfig, TaskHandler, Worker,
    WorkerContext, WorkerOptions, WorkerRecoveryConfig,
};
use outbox_race::{About, Arguments, Body, Peer, Receiver, Stop, Task, Tuning};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Deliver(Body);

impl TaskHandler for Deliver {
    const IDENTIFIER: &'static str = "deliver";

    async fn run(self, context: WorkerContext) -> impl IntoTaskHandlerResult {
        let receiver = context.get_ext::<Receiver>().expect("the worker was given one");
        if receiver.takes(self.0.number) { Ok(()) } else { Err("refused") }
    }
}

struct Graphile {
    pool: PgPool,
    tuning: Tuning,
    task: Task,
    keys: u64,
    /// Only used to enqueue and to migrate.
    producer: Worker,
}

impl Peer for Graphile {
    fn about() -> About {
        About::new(
            "graphile_worker 0.14.1",
            "all defaults: concurrency = cores, no local queue, no recovery of dead workers",
            "SELECT count(*) FROM graphile_worker._private_jobs",
        )
        .tuned(
            "concurrency 16, 4 local queues of 500, completion batched for 5 ms, recovery on (heartbeat 1 s, \
             sweep every 2 s, threshold 5 s, no delay); order per key: one queue_name a key; for flow and idleness a \
             refetch delay of 100 ms that the first job ends, since an idle local queue asks all the time without one",
        )
        .cannot("kept", "it deletes what is delivered")
    }

    async fn open(arguments: &Arguments) -> Result<Self> {
        let pool = PgPoolOptions::new().max_connections(8).connect(&arguments.url).await?;
        // Creating a worker creates the tables.
        let producer = WorkerOptions::default().pg_pool(pool.clone()).init().await?;
        let Arguments { tuning, task, keys, .. } = *arguments;
        Ok(Self { pool, tuning, task, keys, producer })
    }

    async fn migrate(&self) -> Result<()> {
        Ok(())
    }

    async fn enqueue(&self, bodies: Vec<Body>) -> Result<Instant> {
        let mut jobs = Vec::with_capacity(bodies.len());
        for body in bodies {
            let spec = JobSpec { queue_name: body.key(self.keys), ..JobSpec::default() };
            let payload = serde_json::to_value(body)?;
            jobs.push(RawJobSpec { identifier: Deliver::IDENTIFIER.to_owned(), payload, spec });
        }
        let mut tx = self.pool.begin().await?;
        self.producer.create_utils().with_executor(&mut tx).add_raw_jobs(&jobs).await?;
        tx.commit().await?;
        Ok(Instant::now())
    }

    async fn deliver(self: Arc<Self>, receiver: Receiver, stop: Stop) -> Result<()> {
        let mut options = WorkerOptions::default()
            .pg_pool(self.pool.clone())
            .define_job::<Deliver>()
            .add_extension(receiver);
        if self.tuning == Tuning::Tuned {
            let recovery = WorkerRecoveryConfig::default()
                .heartbeat_interval(Duration::from_secs(1))
                .sweep_interval(Duration::from_secs(2))
                .sweep_threshold(Duration::from_secs(5))
                .recovery_delay(Duration::ZERO);
            let mut queue = LocalQueueConfig::default().with_size(500).with_queue_count(4);
            if matches!(self.task, Task::Flow | Task::Idle) {
                queue = queue.with_refetch_delay(RefetchDelayConfig::default().with_max_abort_threshold(1));
            }
            options = options
                .concurrency(16)
                .local_queue(queue)
                .complete_job_batch_delay(Duration::from_millis(5))
                .worker_recovery(recovery);
        }
        let worker = Arc::new(options.init().await?);
        let asked = tokio::spawn({
            let worker = Arc::clone(&worker);
            async move {
                stop.asked().await;
                worker.request_shutdown();
            }
        });
        worker.run().await?;
        asked.abort();
        Ok(())
    }
}

fn main() -> ExitCode {
    outbox_race::main::<Graphile>()
}
