//! A filled database is upgraded, also under a dispatcher that runs.

use outbox_core::{DispatcherId, Enqueue, Inbox, NewMessage, OutboxStore};
use outbox_sqlx::SqliteOutbox;

use crate::fixture::{File, LEASE};

#[path = "../upgrade/filled.rs"]
mod filled;

use filled::{ENDED, FILL, Receiver};

/// A session that died while it sent.
const DEAD_SESSION: &str = "
    INSERT INTO outbox_sessions (name, instance, started_at, expires_at)
    VALUES ('dead', '00000000-0000-4000-8000-000000000002', 0, 0);
    UPDATE outbox_state SET owner = (SELECT max(epoch) FROM outbox_sessions);
    INSERT INTO outbox_journal (epoch, batch_no, alone, places)
    SELECT (SELECT max(epoch) FROM outbox_sessions), 1, false, json_group_array(seq)
    FROM outbox_messages WHERE message_type = 'sent';";

#[tokio::test]
async fn what_an_earlier_version_left_is_delivered_after_the_upgrade() {
    let file = File::new().await;
    let latest = SqliteOutbox::migrations("old_").unwrap().len();
    for version in 1..=latest {
        let prefix = format!("old{version}_");
        let steps = SqliteOutbox::migrations(&prefix).unwrap();
        for step in &steps[..1] {
            file.execute(&step.sql).await;
        }
        let fill = [FILL, DEAD_SESSION].concat().replace("$ended", &format!("'{ENDED}'"));
        file.execute(&fill.replace("outbox_", &prefix)).await;
        for step in &steps[1..version] {
            file.execute(&step.sql).await;
        }
        let outbox = SqliteOutbox::builder(file.pool.clone()).table_prefix(&prefix).build().unwrap();
        if let Some(missing) = steps.get(version) {
            let error = outbox.renew(&DispatcherId::new("d"), None, LEASE).await.unwrap_err().to_string();
            assert!(error.contains(&format!("{:04}_{}", missing.version, missing.name)), "{error}");
        }
        outbox.migrate().await.unwrap();
        outbox.migrate().await.unwrap();

        let mut tx = outbox.begin().await.unwrap();
        for key in ["waits", "delivered"] {
            let again = NewMessage::builder("t").key("c").idempotency_key(key).json("2").build().unwrap();
            assert!(outbox.enqueue(&mut tx, &[again]).await.unwrap()[0].is_duplicate(), "{key}");
        }
        assert!(!outbox.first_time(&mut tx, "consumer", filled::ended()).await.unwrap());
        outbox.commit(tx).await.unwrap();
        filled::comes_out(&outbox).await;
    }
}

fn text(text: &str) -> NewMessage {
    NewMessage::builder("t").key("k").payload(text.to_owned(), "text/plain").build().unwrap()
}

#[tokio::test]
async fn migrating_does_a_dispatcher_that_runs_no_harm() {
    let file = File::new().await;
    let receiver = Receiver::default();
    let numbers: Vec<_> = (0..600).map(|number| number.to_string()).collect();
    let meanwhile = async {
        for (nth, some) in numbers.chunks(100).enumerate() {
            file.send(&some.iter().map(|number| text(number)).collect::<Vec<_>>()).await;
            receiver.wait_for(nth * 100 + 10).await;
            file.elsewhere().await.migrate().await.unwrap();
        }
        receiver.wait_for(numbers.len()).await;
    };
    receiver.receive(file.outbox.clone(), meanwhile).await;
    assert_eq!(receiver.of("k"), numbers, "each once, in order, none in doubt");
}
