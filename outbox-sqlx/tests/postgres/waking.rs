//! Commits in another process: heard at once, whatever happens to the connections meanwhile.

use std::future::Future;
use std::time::Duration;

use outbox_core::{
    Delivery, Dispatcher, Enqueue, LeasedDispatcher, Outcome, PerMessage, Route, SendOne, Settings,
    async_trait,
};
use outbox_sqlx::PostgresOutbox;
use sqlx::postgres::PgListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::fixture::{Schema, message, pool};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

struct Told(mpsc::UnboundedSender<String>);

#[async_trait]
impl SendOne for Told {
    async fn send(&self, delivery: &Delivery) -> Outcome {
        let _ = self.0.send(String::from_utf8_lossy(&delivery.message.payload).into_owned());
        Outcome::delivered()
    }
}

/// A dispatcher in another process that polls once an hour: whatever it delivers, it was woken for.
pub(crate) struct Sleepy {
    told: mpsc::UnboundedReceiver<String>,
    running: tokio::task::JoinHandle<()>,
    shutdown: Option<tokio::sync::oneshot::Sender<()>>,
}

impl Sleepy {
    pub(crate) fn start(outbox: PostgresOutbox) -> Self {
        Self::polling(outbox, Duration::from_secs(3600))
    }

    pub(crate) fn polling(outbox: PostgresOutbox, every: Duration) -> Self {
        let (sender, told) = mpsc::unbounded_channel();
        let settings = Settings {
            poll_min: every,
            poll_max: every,
            lease: Duration::from_secs(10),
            ..Settings::default()
        };
        let dispatcher = LeasedDispatcher::builder(outbox)
            .settings(settings)
            .route(Route::topic("t", PerMessage::new(4, Told(sender))))
            .build()
            .unwrap();
        let (shutdown, stopped) = tokio::sync::oneshot::channel::<()>();
        let running = tokio::spawn(async move {
            dispatcher
                .run(Box::pin(async {
                    let _ = stopped.await;
                }))
                .await
                .unwrap();
        });
        Self { told, running, shutdown: Some(shutdown) }
    }

    pub(crate) async fn hears(&mut self, text: &str) {
        let heard = timeout(LONG, self.told.recv()).await.expect("woken").expect("it runs");
        assert_eq!(heard, text);
    }

    pub(crate) async fn stop(mut self) {
        drop(self.shutdown.take());
        self.running.await.unwrap();
    }
}

async fn until<F: Future<Output = bool> + Send>(what: &str, holds: impl Fn() -> F + Send + Sync) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, wait).await.unwrap_or_else(|_| panic!("{what}"));
}

/// Outboxes of one set of tables whose channel no other test notifies on.
struct Quiet {
    schema: Schema,
    prefix: String,
}

impl Quiet {
    async fn new() -> Self {
        let schema = Schema::new().await;
        let prefix = format!("q{}_", &schema.name[schema.name.len() - 20..]);
        let quiet = Self { schema, prefix };
        quiet.process().await.migrate().await.unwrap();
        quiet
    }

    /// As a process of its own sees it.
    async fn process(&self) -> PostgresOutbox {
        let pool = pool(&self.schema.name).await;
        PostgresOutbox::builder(pool).table_prefix(&self.prefix).build().unwrap()
    }

    fn channel(&self) -> String {
        PostgresOutbox::channel(&self.prefix).unwrap()
    }

    async fn listener(&self) -> PgListener {
        let mut listener = PgListener::connect_with(&self.schema.pool).await.unwrap();
        listener.listen(&self.channel()).await.unwrap();
        listener
    }

    /// How many connections listen to the channel.
    async fn listening(&self) -> i64 {
        let listens = format!("LISTEN \"{}\"", self.channel());
        sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE query = $1 AND pid <> pg_backend_pid()",
        )
        .bind(listens)
        .fetch_one(&self.schema.pool)
        .await
        .unwrap()
    }
}

async fn send(outbox: &PostgresOutbox, text: &str) {
    let mut tx = outbox.begin().await.unwrap();
    outbox.enqueue(&mut tx, &[message("k", text)]).await.unwrap();
    outbox.commit(tx).await.unwrap();
}

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn a_commit_in_another_process_wakes_the_dispatcher() {
    let quiet = Quiet::new().await;
    let mut dispatcher = Sleepy::start(quiet.process().await);
    let producer = quiet.process().await;
    for n in 0..20 {
        send(&producer, &n.to_string()).await;
        dispatcher.hears(&n.to_string()).await;
    }
    dispatcher.stop().await;
}

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn a_producer_that_writes_plain_sql_may_notify_by_itself() {
    let quiet = Quiet::new().await;
    let mut dispatcher = Sleepy::start(quiet.process().await);
    until("somebody listens", || async { quiet.listening().await == 1 }).await;
    for n in 0..3 {
        let prefix = &quiet.prefix;
        quiet
            .schema
            .execute(&format!("INSERT INTO {prefix}messages (topic, payload) VALUES ('t', '{n}')"))
            .await;
        quiet.schema.execute(&format!("NOTIFY {prefix}messages")).await;
        dispatcher.hears(&n.to_string()).await;
    }
    dispatcher.stop().await;
}

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn nothing_is_notified_in_the_transaction_and_many_commits_are_told_at_once() {
    let quiet = Quiet::new().await;
    let mut listener = quiet.listener().await;
    let producer = quiet.process().await;
    let mut tx = producer.begin().await.unwrap();
    producer.enqueue(&mut tx, &[message("k", "1")]).await.unwrap();
    tx.commit().await.unwrap();
    // On this one thread no task runs in between.
    for _ in 0..10_000 {
        producer.wake();
    }
    quiet.schema.execute(&format!("NOTIFY {}messages, 'last'", quiet.prefix)).await;
    let mut heard = Vec::new();
    while !heard.contains(&"last".to_owned()) || heard.len() < 2 {
        let next = timeout(LONG, listener.recv()).await.unwrap_or_else(|_| panic!("only {heard:?}")).unwrap();
        heard.push(next.payload().to_owned());
    }
    assert!(heard.len() <= 3, "{heard:?}");
}

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn while_this_process_owns_every_slot_others_are_not_told_and_then_they_are() {
    let quiet = Quiet::new().await;
    let ours = quiet.process().await;
    let mut dispatcher = Sleepy::start(ours.clone());
    send(&ours, "0").await;
    dispatcher.hears("0").await;
    let mut listener = quiet.listener().await;
    for n in 1..20 {
        send(&ours, &n.to_string()).await;
        dispatcher.hears(&n.to_string()).await;
    }
    quiet.schema.execute(&format!("NOTIFY {}messages, 'last'", quiet.prefix)).await;
    let mut heard = Vec::new();
    while !heard.contains(&"last".to_owned()) {
        let next = timeout(LONG, listener.recv()).await.unwrap_or_else(|_| panic!("only {heard:?}")).unwrap();
        heard.push(next.payload().to_owned());
    }
    heard.retain(|payload| !payload.starts_with("probe "));
    // The first commit may have come before the first renewal, and its notification a little later.
    assert!(heard.len() <= 2, "{heard:?}");

    let other = Sleepy::start(quiet.process().await);
    let told = async {
        loop {
            send(&ours, "more").await;
            while let Ok(heard) = timeout(Duration::from_millis(50), listener.recv()).await {
                if !heard.unwrap().payload().starts_with("probe ") {
                    return;
                }
            }
        }
    };
    timeout(LONG, told).await.expect("the other one is told once it has slots");
    dispatcher.stop().await;
    other.stop().await;
}

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn a_dispatcher_whose_listener_is_terminated_listens_again() {
    let quiet = Quiet::new().await;
    let mut dispatcher = Sleepy::start(quiet.process().await);
    let producer = quiet.process().await;
    for n in 0..3 {
        send(&producer, &n.to_string()).await;
        dispatcher.hears(&n.to_string()).await;
        until("somebody listens", || async { quiet.listening().await == 1 }).await;
        let killed = format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query = 'LISTEN \"{}\"'
             AND pid <> pg_backend_pid()",
            quiet.channel()
        );
        quiet.schema.execute(&killed).await;
    }
    // What is committed while nobody listens is found when somebody does again.
    send(&producer, "3").await;
    dispatcher.hears("3").await;
    dispatcher.stop().await;
}

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn listening_ends_with_the_dispatcher_and_notifying_with_the_outbox() {
    let quiet = Quiet::new().await;
    let outbox = quiet.process().await;
    let mut dispatcher = Sleepy::start(outbox.clone());
    send(&outbox, "1").await;
    dispatcher.hears("1").await;
    until("somebody listens", || async { quiet.listening().await == 1 }).await;
    dispatcher.stop().await;
    until("nobody listens", || async { quiet.listening().await == 0 }).await;
    let notifying = || async {
        let name = format!("%pg_notify('{}'%", quiet.channel());
        let open: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE $1 AND pid <> pg_backend_pid()",
        )
        .bind(name)
        .fetch_one(&quiet.schema.pool)
        .await
        .unwrap();
        open
    };
    outbox.wake();
    until("it notifies", || async { notifying().await == 1 }).await;
    drop(outbox);
    until("its connection is closed", || async { notifying().await == 0 }).await;
}

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn without_notifications_nothing_listens_and_polling_finds_everything() {
    let quiet = Quiet::new().await;
    let without = PostgresOutbox::builder(pool(&quiet.schema.name).await)
        .table_prefix(&quiet.prefix)
        .notifications(false)
        .build()
        .unwrap();
    let mut dispatcher = Sleepy::polling(without.clone(), Duration::from_millis(50));
    send(&quiet.process().await, "1").await;
    dispatcher.hears("1").await;
    assert_eq!(quiet.listening().await, 0);
    dispatcher.stop().await;
}
