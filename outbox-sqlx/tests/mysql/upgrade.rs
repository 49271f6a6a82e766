//! A filled database is upgraded, also under a dispatcher that runs.

use outbox_core::{DispatcherId, Enqueue, Inbox, NewMessage, OutboxStore};
use outbox_sqlx::MySqlOutbox;

use crate::fixture::{Database, LEASE, message};

#[path = "../upgrade/filled.rs"]
mod filled;

use filled::{ENDED, FILL, Receiver};

/// A session that died while it sent.
const DEAD_SESSION: &str = "
    INSERT INTO outbox_sessions (name, instance, expires_at) VALUES ('dead', UNHEX(REPLACE(UUID(), '-', '')), 0);
    UPDATE outbox_leases SET epoch = (SELECT MAX(epoch) FROM outbox_sessions);
    INSERT INTO outbox_journal (epoch, batch_no, alone, places)
    SELECT (SELECT MAX(epoch) FROM outbox_sessions), 1, false, CONCAT('[', GROUP_CONCAT(seq), ']')
    FROM outbox_messages WHERE message_type = 'sent';";

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn what_an_earlier_version_left_is_delivered_after_the_upgrade() {
    let database = Database::new().await;
    let latest = MySqlOutbox::migrations("old_").unwrap().len();
    for version in 1..=latest {
        let prefix = format!("old{version}_");
        let steps = MySqlOutbox::migrations(&prefix).unwrap();
        for step in &steps[..1] {
            database.execute(&step.sql).await;
        }
        let fill =
            [FILL, DEAD_SESSION].concat().replace("$ended", &format!("UNHEX(REPLACE('{ENDED}', '-', ''))"));
        database.execute(&fill.replace("outbox_", &prefix)).await;
        for step in &steps[1..version] {
            database.execute(&step.sql).await;
        }
        let outbox = MySqlOutbox::builder(database.pool.clone()).table_prefix(&prefix).build().unwrap();
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

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn migrating_does_a_dispatcher_that_runs_no_harm() {
    let database = Database::new().await;
    let receiver = Receiver::default();
    let numbers: Vec<_> = (0..600).map(|number| number.to_string()).collect();
    let meanwhile = async {
        for (nth, some) in numbers.chunks(100).enumerate() {
            database.send(&some.iter().map(|number| message("k", number)).collect::<Vec<_>>()).await;
            receiver.wait_for(nth * 100 + 10).await;
            database.elsewhere().await.migrate().await.unwrap();
        }
        receiver.wait_for(numbers.len()).await;
    };
    receiver.receive(database.outbox.clone(), meanwhile).await;
    assert_eq!(receiver.of("k"), numbers, "each once, in order, none in doubt");
}
