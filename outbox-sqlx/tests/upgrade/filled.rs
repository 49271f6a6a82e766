//! A database as a program of an earlier version left it, and what has to come out of it after the upgrade.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use outbox_core::{
    Delivery, Dispatcher, LeasedDispatcher, MessageId, MessageState, OutboxAdmin, OutboxStore, Outcome,
    PerMessage, Route, SendOne, Settings, async_trait,
};

/// The message that is delivered, and handled, already.
pub(crate) const ENDED: &str = "00000000-0000-4000-8000-000000000001";

/// Fills tables of the first version: fresh messages of three keys, an earlier one of `b` that was set aside, an
/// idempotency key that waits and one that is delivered, the history, the inbox. `$ended` stands for [`ENDED`].
pub(crate) const FILL: &str = "
    INSERT INTO outbox_messages (topic, message_key, payload) VALUES ('t', 'b', 'b1');
    INSERT INTO outbox_deferred (seq, created_at, due_at, set_aside_at, attempts, id, state, topic, message_type,
        message_key, content_type, failures, payload)
    SELECT seq, created_at, created_at, created_at, 1, id, 'waiting', topic, message_type, message_key, content_type,
        '[]', payload
    FROM outbox_messages;
    DELETE FROM outbox_messages;
    INSERT INTO outbox_messages (topic, message_key, message_type, payload) VALUES
        ('t', 'a', 'sent', 'a1'), ('t', 'b', '', 'b2'), ('t', 'a', 'sent', 'a2'), ('t', 'b', '', 'b3'),
        ('t', 'a', '', 'a3');
    INSERT INTO outbox_messages (topic, message_key, idempotency_key, payload) VALUES ('t', 'c', 'waits', 'c1');
    INSERT INTO outbox_idempotency (topic, idempotency_key, message_id) VALUES ('t', 'delivered', $ended);
    INSERT INTO outbox_inbox (consumer, message_id) VALUES ('consumer', $ended);
    INSERT INTO outbox_history (seq, created_at, ended_at, attempts, crashes, id, in_doubt, state, topic,
        message_type, failures)
    SELECT 0, created_at, created_at, 0, 0, $ended, false, 'delivered', topic, message_type, '[]'
    FROM outbox_messages WHERE message_key = 'c';";

/// What arrives, with what is said of it.
#[derive(Clone, Default)]
pub(crate) struct Receiver {
    got: Arc<Mutex<Vec<Got>>>,
}

#[derive(Clone)]
struct Got {
    key: String,
    text: String,
    in_doubt: bool,
}

#[async_trait]
impl SendOne for Receiver {
    async fn send(&self, delivery: &Delivery) -> Outcome {
        let message = &delivery.message;
        let got = Got {
            key: message.key.clone().unwrap(),
            text: String::from_utf8(message.payload.to_vec()).unwrap(),
            in_doubt: delivery.in_doubt,
        };
        self.got.lock().unwrap().push(got);
        Outcome::delivered()
    }
}

impl Receiver {
    /// Runs a dispatcher on `store` until `meanwhile` is over, and ends it then.
    pub(crate) async fn receive<S: OutboxStore>(&self, store: S, meanwhile: impl Future<Output = ()>) {
        let settings = Settings {
            batch: 5,
            max_held: 20,
            poll_min: Duration::from_millis(5),
            poll_max: Duration::from_millis(100),
            ..Settings::default()
        };
        let dispatcher = LeasedDispatcher::builder(store)
            .settings(settings)
            .route(Route::topic("t", PerMessage::new(4, self.clone())))
            .build()
            .unwrap();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let running = dispatcher.run(Box::pin(async move {
            let _ = ended.await;
        }));
        let ending = async {
            tokio::time::timeout(Duration::from_secs(60), meanwhile).await.expect("all arrives");
            end.send(()).unwrap();
        };
        let (run, ()) = tokio::join!(running, ending);
        run.unwrap();
    }

    pub(crate) async fn wait_for(&self, count: usize) {
        while self.got.lock().unwrap().len() < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What arrived for `key`, in its order; what is in doubt has a question mark.
    pub(crate) fn of(&self, key: &str) -> Vec<String> {
        let got = self.got.lock().unwrap();
        let marked = |got: &Got| format!("{}{}", got.text, if got.in_doubt { "?" } else { "" });
        got.iter().filter(|got| got.key == key).map(marked).collect()
    }
}

/// Everything of [`FILL`] is delivered once and in the order of its key; only what a session, which died, had in its
/// journal is in doubt: the messages of type `sent`.
pub(crate) async fn comes_out<S: OutboxStore + OutboxAdmin + Clone>(store: &S) {
    let receiver = Receiver::default();
    receiver.receive(store.clone(), receiver.wait_for(7)).await;
    assert_eq!(receiver.of("a"), ["a1?", "a2?", "a3"]);
    assert_eq!(receiver.of("b"), ["b1", "b2", "b3"]);
    assert_eq!(receiver.of("c"), ["c1"]);
    let ended = store.show(ended()).await.unwrap().expect("the history is kept");
    assert_eq!(ended.summary.state, MessageState::Delivered);
}

pub(crate) fn ended() -> MessageId {
    ENDED.parse().unwrap()
}
