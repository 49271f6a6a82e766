//! A filled database is upgraded, also under a dispatcher that runs.

use outbox_core::{DispatcherId, Enqueue, Inbox, NewMessage, OutboxStore};
use outbox_sqlx::PostgresOutbox;

use crate::fixture::{LEASE, Schema, message};

#[path = "../upgrade/filled.rs"]
mod filled;

use filled::{ENDED, FILL, Receiver};

/// A session that died while it sent.
const DEAD_SESSION: &str = "
    INSERT INTO outbox_sessions (name, instance, expires_at)
    VALUES ('dead', gen_random_uuid(), clock_timestamp() - interval '1 minute');
    UPDATE outbox_leases SET epoch = (SELECT max(epoch) FROM outbox_sessions);
    INSERT INTO outbox_journal (epoch, batch_no, alone, places)
    SELECT (SELECT max(epoch) FROM outbox_sessions), 1, false, array_agg(seq)
    FROM outbox_messages WHERE message_type = 'sent';";

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn what_an_earlier_version_left_is_delivered_after_the_upgrade() {
    let schema = Schema::new().await;
    let latest = PostgresOutbox::migrations("old_").unwrap().len();
    for version in 1..=latest {
        let prefix = format!("old{version}_");
        let steps = PostgresOutbox::migrations(&prefix).unwrap();
        for step in &steps[..1] {
            schema.execute(&step.sql).await;
        }
        let fill = [FILL, DEAD_SESSION].concat().replace("$ended", &format!("'{ENDED}'"));
        schema.execute(&fill.replace("outbox_", &prefix)).await;
        for step in &steps[1..version] {
            schema.execute(&step.sql).await;
        }
        let outbox = PostgresOutbox::builder(schema.pool.clone()).table_prefix(&prefix).build().unwrap();
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
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn migrating_does_a_dispatcher_that_runs_no_harm() {
    let schema = Schema::new().await;
    let receiver = Receiver::default();
    let numbers: Vec<_> = (0..600).map(|number| number.to_string()).collect();
    let meanwhile = async {
        for (nth, some) in numbers.chunks(100).enumerate() {
            schema.send(&some.iter().map(|number| message("k", number)).collect::<Vec<_>>()).await;
            receiver.wait_for(nth * 100 + 10).await;
            schema.elsewhere().await.migrate().await.unwrap();
        }
        receiver.wait_for(numbers.len()).await;
    };
    receiver.receive(schema.outbox.clone(), meanwhile).await;
    assert_eq!(receiver.of("k"), numbers, "each once, in order, none in doubt");
}
