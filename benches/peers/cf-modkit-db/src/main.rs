//! cf-modkit-db: the outbox of a framework, with partitions that the caller chooses.

use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::Result;
use modkit_db::migration_runner::run_migrations_for_testing;
use modkit_db::outbox::{
    EnqueueMessage, LeasedMessageHandler, MessageResult, Outbox, OutboxHandle, OutboxMessage, OutboxProfile,
    Partitions, outbox_migrations,
};
use modkit_db::{ConnectOpts, Db, connect_db};
use outbox_race::{About, Arguments, Body, Peer, Receiver, Stop, Task, Tuning};

const QUEUE: &str = "bench";
const PARTITIONS: u16 = 16;

struct Modkit {
    db: Db,
    profile: OutboxProfile,
    keys: u64,
    /// What messages are enqueued with: that of the running worker when there is one.
    outbox: Mutex<Option<Arc<Outbox>>>,
}

struct Handler(Receiver);

#[async_trait::async_trait]
impl LeasedMessageHandler for Handler {
    async fn handle(&self, message: &OutboxMessage) -> MessageResult {
        match Body::from_json(&message.payload) {
            Ok(body) if self.0.takes(body.number) => MessageResult::Ok,
            Ok(_) => MessageResult::Retry,
            Err(error) => MessageResult::Reject(error.to_string()),
        }
    }
}

impl Peer for Modkit {
    fn about() -> About {
        About::new(
            "cf-modkit-db 0.8.2",
            "default profile, 16 partitions (key or number modulo 16), leased handler, enqueue_batch in outbox.transaction",
            "SELECT (SELECT count(*) FROM modkit_outbox_incoming)
                + (SELECT count(*) FROM modkit_outbox_outgoing AS o JOIN modkit_outbox_processor AS p USING (partition_id)
                   WHERE o.seq > p.processed_seq)",
        )
        .tuned("the profile high_throughput for drains, low_latency for flow and idleness; else the same")
        .cannot("kept", "its vacuum deletes what is delivered")
    }

    async fn open(arguments: &Arguments) -> Result<Self> {
        let options = ConnectOpts { max_conns: Some(20), ..ConnectOpts::default() };
        let db = connect_db(&arguments.url, options).await?;
        let profile = match (arguments.tuning, arguments.task) {
            (Tuning::Default, _) => OutboxProfile::default_profile(),
            (Tuning::Tuned, Task::Flow | Task::Idle) => OutboxProfile::low_latency(),
            (Tuning::Tuned, _) => OutboxProfile::high_throughput(),
        };
        let modkit = Self { db, profile, keys: arguments.keys, outbox: Mutex::new(None) };
        if arguments.task == Task::Fill && arguments.again {
            modkit.open_for_enqueue().await?;
        }
        Ok(modkit)
    }

    async fn migrate(&self) -> Result<()> {
        run_migrations_for_testing(&self.db, outbox_migrations()).await?;
        self.open_for_enqueue().await
    }

    async fn enqueue(&self, bodies: Vec<Body>) -> Result<Instant> {
        let outbox = self.outbox.lock().expect("nobody panics here").clone().expect("migrated");
        let keys = self.keys;
        let enqueuer = Arc::clone(&outbox);
        let (_, done) = outbox
            .transaction(self.db.clone(), move |tx| {
                Box::pin(async move {
                    let partition = |number: u64| {
                        let class = if keys == 0 { number } else { number % keys };
                        (class % u64::from(PARTITIONS)) as u32
                    };
                    let messages: Vec<EnqueueMessage<'_>> = bodies
                        .iter()
                        .map(|body| EnqueueMessage {
                            partition: partition(body.number),
                            payload: body.to_json(),
                            payload_type: "application/json",
                        })
                        .collect();
                    enqueuer.enqueue_batch(tx, QUEUE, &messages).await?;
                    Ok(())
                })
            })
            .await;
        done?;
        Ok(Instant::now())
    }

    async fn deliver(self: Arc<Self>, receiver: Receiver, stop: Stop) -> Result<()> {
        let handle = self.start(receiver).await?;
        self.use_for_enqueue(Arc::clone(handle.outbox()));
        stop.asked().await;
        handle.stop().await;
        Ok(())
    }
}

impl Modkit {
    async fn start(&self, receiver: Receiver) -> Result<OutboxHandle> {
        let builder = Outbox::builder(self.db.clone()).profile(self.profile.clone());
        let queue = builder.queue(QUEUE, Partitions::of(PARTITIONS)).leased(Handler(receiver));
        Ok(queue.start().await?)
    }

    /// Only a started outbox can enqueue; stopped at once, it leaves the messages where they are.
    async fn open_for_enqueue(&self) -> Result<()> {
        let handle = self.start(Receiver::new(0, 0)).await?;
        let outbox = Arc::clone(handle.outbox());
        handle.stop().await;
        self.use_for_enqueue(outbox);
        Ok(())
    }

    fn use_for_enqueue(&self, outbox: Arc<Outbox>) {
        *self.outbox.lock().expect("nobody panics here") = Some(outbox);
    }
}

fn main() -> ExitCode {
    outbox_race::main::<Modkit>()
}
