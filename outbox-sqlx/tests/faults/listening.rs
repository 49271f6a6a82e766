//! A server that restarts while dispatchers sleep until they are notified.

use std::time::Duration;

use outbox_core::{
    Delivery, Dispatcher, Enqueue, LeasedDispatcher, NewMessage, Outcome, PerMessage, Route, SendOne,
    Settings, async_trait,
};
use outbox_sqlx::PostgresOutbox;
use sqlx::postgres::PgPool;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::home::Database;
use crate::on;
use crate::run::{PATIENCE, until};
use crate::server::Server;

const RESTARTS: usize = 2;

struct Told(mpsc::UnboundedSender<String>);

#[async_trait]
impl SendOne for Told {
    async fn send(&self, delivery: &Delivery) -> Outcome {
        let _ = self.0.send(String::from_utf8_lossy(&delivery.message.payload).into_owned());
        Outcome::delivered()
    }
}

async fn notifications_wake_again_after_the_server_restarted(database: Database) {
    let mut server = Server::new(database, &[]).await;
    // Two outboxes, as two processes have them: they share no bell.
    let pool = PgPool::connect(&server.url()).await.unwrap();
    let producer = PostgresOutbox::new(pool.clone());
    let consumer = PostgresOutbox::new(PgPool::connect(&server.url()).await.unwrap());
    producer.migrate().await.unwrap();

    // It polls once an hour: what it delivers while all is well, it was woken for.
    let hour = Duration::from_secs(3600);
    let settings =
        Settings { poll_min: hour, poll_max: hour, lease: Duration::from_secs(2), ..Settings::default() };
    let (sender, mut told) = mpsc::unbounded_channel();
    let dispatcher = LeasedDispatcher::builder(consumer)
        .settings(settings)
        .route(Route::topic("t", PerMessage::new(1, Told(sender))))
        .build()
        .unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(async move {
        let stopped = Box::pin(async { drop(stopped.await) });
        dispatcher.run(stopped).await.unwrap();
    });
    let mut hears = async |text: String| {
        until("the server takes a message", async || send(&producer, &text).await.is_some()).await;
        let heard = timeout(PATIENCE, told.recv()).await.expect("the dispatcher is woken");
        assert_eq!(heard, Some(text));
    };
    for restart in 0..=RESTARTS {
        // The first is found when the connections are open again, the second only by its notification.
        for nth in ["first", "second"] {
            hears(format!("{nth} after {restart} restarts")).await;
            until("the dispatcher listens", async || listeners(&pool).await == Some(1)).await;
        }
        if restart < RESTARTS {
            server.stop();
            server.start().await;
        }
    }
    drop(stop);
    running.await.unwrap();
}

/// Whether the message was committed: `None` while the connections of the pool are those to the server that was.
async fn send(outbox: &PostgresOutbox, text: &str) -> Option<()> {
    let message = NewMessage::builder("t")
        .payload(text.to_owned(), "text/plain")
        .idempotency_key(text)
        .build()
        .unwrap();
    let mut tx = outbox.begin().await.ok()?;
    outbox.enqueue(&mut tx, &[message]).await.ok()?;
    outbox.commit(tx).await.ok()
}

async fn listeners(pool: &PgPool) -> Option<i64> {
    let listening = "SELECT count(*) FROM pg_stat_activity WHERE query = 'LISTEN \"outbox_messages\"'";
    sqlx::query_scalar(listening).fetch_one(pool).await.ok()
}

on!(notifications_wake_again_after_the_server_restarted: postgres);
