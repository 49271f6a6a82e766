//! This library in the race against others, as a program like theirs.

use std::sync::Arc;
use std::time::Instant;

use outbox::{
    Delivery, DeliveryReport, DispatcherExt, Enqueue, LeasedDispatcher, NewMessage, Outcome, PostgresOutbox,
    Route, Settings, Transport, async_trait,
};
use outbox_race::{About, Arguments, Body, Peer, Receiver, Stop, Tuning};
use sqlx::postgres::PgPoolOptions;

const TOPIC: &str = "bench";

pub(crate) struct Outbox {
    outbox: PostgresOutbox,
    settings: Settings,
    keys: u64,
}

struct Handler(Receiver);

#[async_trait]
impl Transport for Handler {
    async fn deliver(&self, batch: &[Delivery], report: &DeliveryReport) {
        for delivery in batch {
            let outcome = match Body::from_json(&delivery.message.payload) {
                Ok(body) if self.0.takes(body.number) => Outcome::delivered(),
                Ok(_) => Outcome::transient("refused"),
                Err(error) => Outcome::permanent(error.to_string()),
            };
            report.record(delivery, outcome);
        }
    }

    fn keeps_order(&self) -> bool {
        true
    }
}

impl Peer for Outbox {
    fn about() -> About {
        About::new(
            "outbox",
            "all defaults: batch 500, lease 30 s",
            "SELECT (SELECT count(*) FROM outbox_messages) + (SELECT count(*) FROM outbox_deferred)",
        )
        .tuned("batch 1000, lease 5 s")
        .keep(
            "INSERT INTO outbox_history (seq, created_at, ended_at, attempts, crashes, id, in_doubt, state, topic,
                message_type, failures)
             SELECT -n, now(), now(), 0, 0, gen_random_uuid(), false, 'delivered', 'bench', '', '[]'
             FROM generate_series(1, 1000000) AS n",
        )
    }

    async fn open(arguments: &Arguments) -> anyhow::Result<Self> {
        let pool = PgPoolOptions::new().max_connections(8).connect(&arguments.url).await?;
        let outbox = PostgresOutbox::builder(pool).history(arguments.keeping).build()?;
        let mut settings = Settings::default();
        if arguments.tuning == Tuning::Tuned {
            settings.batch = 1_000;
            settings.lease = std::time::Duration::from_secs(5);
        }
        Ok(Self { outbox, settings, keys: arguments.keys })
    }

    async fn migrate(&self) -> anyhow::Result<()> {
        Ok(self.outbox.migrate().await?)
    }

    async fn enqueue(&self, bodies: Vec<Body>) -> anyhow::Result<Instant> {
        let mut messages = Vec::with_capacity(bodies.len());
        for body in bodies {
            let message = NewMessage::builder(TOPIC).payload(body.to_json(), "application/json");
            let message = match body.key(self.keys) {
                Some(key) => message.key(key),
                None => message,
            };
            messages.push(message.build()?);
        }
        let mut tx = self.outbox.begin().await?;
        self.outbox.enqueue(&mut tx, &messages).await?;
        self.outbox.commit(tx).await?;
        Ok(Instant::now())
    }

    async fn deliver(self: Arc<Self>, receiver: Receiver, stop: Stop) -> anyhow::Result<()> {
        let route = Route::topic(TOPIC, Handler(receiver)).batch(self.settings.batch);
        let store = Arc::new(self.outbox.clone());
        let dispatcher =
            LeasedDispatcher::builder(store).settings(self.settings.clone()).route(route).build()?;
        dispatcher.run_until(stop.asked()).await?;
        Ok(())
    }
}
