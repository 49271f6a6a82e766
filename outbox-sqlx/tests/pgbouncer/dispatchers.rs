//! Whole dispatchers through PgBouncer, and what goes wrong when nobody says that it is there.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use outbox_core::{
    Delivery, Dispatcher, DispatcherId, Enqueue, LeasedDispatcher, OutboxStore, Outcome, PerMessage, Route,
    SendOne, Settings, async_trait,
};
use outbox_sqlx::PostgresOutbox;
use sqlx::{ConnectOptions, Connection};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::fixture::{Pooled, message, pool, pooled};

#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<Vec<String>>>);

#[async_trait]
impl SendOne for Receiver {
    async fn send(&self, delivery: &Delivery) -> Outcome {
        let text = String::from_utf8_lossy(&delivery.message.payload).into_owned();
        self.0.lock().unwrap().push(format!("{} {text}", delivery.message.key.as_deref().unwrap()));
        Outcome::delivered()
    }
}

impl Receiver {
    fn got(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    async fn wait_for(&self, count: usize) {
        let all = async {
            while self.got().len() < count {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = timeout(Duration::from_secs(60), all).await;
        waited.unwrap_or_else(|_| panic!("{} of {count} arrived", self.got().len()));
    }

    /// Panics unless the messages of every key came in order, each once.
    fn check(&self, keys: usize, count: usize) {
        for key in 0..keys {
            let prefix = format!("{key} ");
            let came: Vec<usize> =
                self.got().iter().filter_map(|got| got.strip_prefix(&prefix)?.parse().ok()).collect();
            assert_eq!(came, (0..count).collect::<Vec<_>>(), "key {key}");
        }
    }
}

fn start(outbox: PostgresOutbox, receiver: &Receiver, poll_max: Duration) -> JoinHandle<()> {
    // No lease may be lost, however busy the machine is.
    let settings = Settings { lease: Duration::from_secs(10), poll_max, ..Settings::default() };
    let dispatcher = LeasedDispatcher::builder(outbox)
        .settings(settings)
        .route(Route::topic("t", PerMessage::new(8, receiver.clone())))
        .build()
        .unwrap();
    tokio::spawn(async move {
        let _ = dispatcher.run(Box::pin(std::future::pending())).await;
    })
}

async fn send(outbox: &PostgresOutbox, key: usize, number: usize) {
    let mut tx = outbox.begin().await.unwrap();
    outbox.enqueue(&mut tx, &[message(&key.to_string(), &number.to_string())]).await.unwrap();
    outbox.commit(tx).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs TEST_PGBOUNCER_URL; scripts/test starts a server"]
async fn two_dispatchers_through_a_pooler_deliver_everything_in_order() {
    let there = Pooled::new().await;
    let receiver = Receiver::default();
    let running: Vec<_> =
        (0..2).map(|_| start(there.elsewhere(), &receiver, Duration::from_millis(100))).collect();
    let shared = async {
        while there.owners().await < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(60), shared).await.expect("both own something");
    for number in 0..20 {
        for key in 0..10 {
            send(&there.outbox, key, number).await;
        }
    }
    receiver.wait_for(200).await;
    receiver.check(10, 20);
    running.iter().for_each(JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs TEST_PGBOUNCER_URL; scripts/test starts a server"]
async fn with_own_connections_to_the_server_a_commit_through_the_pooler_wakes() {
    let there = Pooled::new().await;
    let receiver = Receiver::default();
    // It polls once an hour, so whatever is delivered was woken for.
    let running = start(there.elsewhere_directly(), &receiver, Duration::from_secs(3600));
    let producer = there.elsewhere_directly();
    for number in 0..20 {
        send(&producer, 0, number).await;
        receiver.wait_for(number + 1).await;
    }
    receiver.check(1, 20);
    running.abort();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs TEST_PGBOUNCER_URL; scripts/test starts a server"]
async fn a_pooler_that_nobody_mentioned_is_told_and_gets_no_settings() {
    let there = Pooled::new().await;
    let unaware = PostgresOutbox::builder(pool()).table_prefix(&there.prefix).build().unwrap();
    let error = unaware.renew(&DispatcherId::new("d"), None, Duration::from_secs(1)).await.unwrap_err();
    assert!(error.to_string().contains("behind_pooler"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs TEST_PGBOUNCER_URL; scripts/test starts a server"]
async fn nothing_is_left_behind_on_the_connections_that_others_share() {
    let there = Pooled::new().await;
    let receiver = Receiver::default();
    let running = start(there.elsewhere(), &receiver, Duration::from_millis(50));
    for number in 0..20 {
        send(&there.outbox, 0, number).await;
    }
    receiver.wait_for(20).await;
    running.abort();
    // Others on the same connections: as many at a time as the pool has.
    let mut others = Vec::new();
    for _ in 0..20 {
        let mut other = pooled().connect().await.unwrap();
        sqlx::raw_sql("BEGIN").execute(&mut other).await.unwrap();
        others.push(other);
    }
    for mut other in others {
        for (setting, usual) in [("enable_seqscan", "on"), ("jit", "on"), ("lock_timeout", "0")] {
            let row: String = sqlx::query_scalar("SELECT current_setting($1)")
                .persistent(false)
                .bind(setting)
                .fetch_one(&mut other)
                .await
                .unwrap();
            assert_eq!(row, usual, "{setting}");
        }
        let prepared: i64 =
            sqlx::query_scalar("SELECT count(*) FROM pg_prepared_statements WHERE name <> ''")
                .persistent(false)
                .fetch_one(&mut other)
                .await
                .unwrap();
        assert_eq!(prepared, 0);
        other.close().await.unwrap();
    }
}

/// What was logged at info and above.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn count(&self, what: &str) -> usize {
        String::from_utf8_lossy(&self.0.lock().unwrap()).matches(what).count()
    }
}

// On one thread, whose log is kept.
#[tokio::test]
#[ignore = "needs TEST_PGBOUNCER_URL; scripts/test starts a server"]
async fn a_dispatcher_that_cannot_listen_says_so_once_and_polls() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_writer(move || writer.clone())
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let there = Pooled::new().await;
    let receiver = Receiver::default();
    let running = start(there.elsewhere(), &receiver, Duration::from_millis(200));
    let told = async {
        while log.count("are not heard") == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(60), told).await.expect("it says so");
    for number in 0..3 {
        send(&there.outbox, 0, number).await;
        receiver.wait_for(number + 1).await;
    }
    assert_eq!(log.count("are not heard"), 1);
    running.abort();
}
