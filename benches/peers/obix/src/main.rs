//! obix: events in one total order, read by subscribers that keep a cursor; nothing is deleted.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use job::{Backoff, JobPollerConfig, JobSvcConfig, JobType, Jobs, RetrySettings};
use obix::out::Outbox;
use obix::{EventCtx, EventDelivery, Handled, MailboxConfig, OutboxEventJobConfig, SingletonSubscriber};
use outbox_race::{About, Arguments, Body, Peer, Receiver, Stop, Tuning};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::runtime::Handle;
use tokio::sync::OnceCell;

/// The migrations that come with the crate.
const SCHEMA: [&str; 2] = [
    include_str!(concat!(env!("OUT_DIR"), "/job_setup.sql")),
    include_str!(concat!(env!("OUT_DIR"), "/obix_setup.sql")),
];

struct Obix {
    pool: PgPool,
    tuning: Tuning,
    outbox: OnceCell<Outbox<Body>>,
}

struct Deliver(Receiver);

impl SingletonSubscriber<Body> for Deliver {
    type Batch = ();

    async fn handle_persistent<'invocation>(
        &self,
        context: EventCtx<'invocation, ()>,
        event: &EventDelivery<Body>,
    ) -> Result<Handled<'invocation>, Box<dyn std::error::Error + Send + Sync>> {
        let body = event.payload.as_ref().ok_or("an event without a payload")?;
        if self.0.takes(body.number) { Ok(context.collect_with(|_| {})) } else { Err("refused".into()) }
    }
}

impl Peer for Obix {
    fn about() -> About {
        About::new(
            "obix 0.16.0",
            "one singleton subscriber that collects, all defaults: batch 100, page 1000, a failed one waits 512 s, a lost reader is replaced after 5 min",
            "SELECT greatest(0, (SELECT coalesce(max(sequence), 0) FROM persistent_outbox_events)
                - coalesce((SELECT max((execution_state_json ->> 'sequence')::bigint) FROM job_execution_states), 0))",
        )
        .reads_a_log()
        .tuned("batch 1000, page 5000, cache 20000, a failed one waits 50 ms to 1 s, a lost reader is replaced after 5 s; else the same")
    }

    async fn open(arguments: &Arguments) -> Result<Self> {
        let pool = PgPoolOptions::new().max_connections(8).connect(&arguments.url).await?;
        Ok(Self { pool, tuning: arguments.tuning, outbox: OnceCell::new() })
    }

    async fn migrate(&self) -> Result<()> {
        for script in SCHEMA {
            sqlx::raw_sql(script).execute(&self.pool).await?;
        }
        Ok(())
    }

    async fn enqueue(&self, bodies: Vec<Body>) -> Result<Instant> {
        let outbox = self.outbox().await?;
        let mut op = outbox.begin_op().await?;
        outbox.publish_all_persisted(&mut op, bodies).await?;
        op.commit().await?;
        Ok(Instant::now())
    }

    async fn deliver(self: Arc<Self>, receiver: Receiver, stop: Stop) -> Result<()> {
        let mut subscriber = OutboxEventJobConfig::new(JobType::new("deliver"));
        let mut poller = JobPollerConfig::default();
        if self.tuning == Tuning::Tuned {
            let backoff =
                Backoff::new(Duration::from_millis(10), Duration::from_millis(50), Duration::from_secs(1), 0);
            let retries = RetrySettings { backoff, ..RetrySettings::default() };
            subscriber = subscriber.with_max_batch_size(1000).with_retry_settings(retries);
            poller.job_lost_interval = Duration::from_secs(5);
        }
        let config = JobSvcConfig::builder().pool(self.pool.clone()).poller_config(poller).build();
        let config = config.map_err(|error| anyhow!("{error:?}"))?;
        let mut jobs = Jobs::init(config).await.map_err(|error| anyhow!("{error:?}"))?;
        let outbox = self.outbox().await?;
        outbox
            .register_singleton_subscriber(&mut jobs, subscriber, Deliver(receiver))
            .await
            .map_err(|error| anyhow!("{error:?}"))?;
        jobs.start_poll().await.map_err(|error| anyhow!("{error:?}"))?;
        stop.asked().await;
        jobs.shutdown().await.map_err(|error| anyhow!("{error:?}"))
    }
}

impl Obix {
    async fn outbox(&self) -> Result<&Outbox<Body>> {
        let config = match self.tuning {
            Tuning::Default => MailboxConfig::builder().build(),
            Tuning::Tuned => {
                MailboxConfig::builder().event_cache_size(20_000).backfill_page_size(5_000).build()
            }
        };
        let (pool, runtime) = (self.pool.clone(), Handle::current());
        let open = || async move {
            // The compiler cannot see that the future may change its thread, so it gets one of its own.
            let init = move || runtime.block_on(Outbox::init(&pool, config));
            tokio::task::spawn_blocking(init).await?.map_err(|error| anyhow!("{error:?}"))
        };
        self.outbox.get_or_try_init(open).await
    }
}

fn main() -> ExitCode {
    outbox_race::main::<Obix>()
}
