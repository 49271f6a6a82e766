//! What is read: all that commits, whenever it does; each key in order; at a cost that no foreign transaction raises.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use outbox_core::{Batch, BatchNo, Claimed, Enqueue, Fence, OutboxStore, Settlement, StoreError};

use crate::fixture::{Schema, Session, message, texts};

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn a_transaction_that_commits_late_is_read_and_nothing_of_its_key_passes_it() {
    let schema = Schema::new().await;
    let mut session = Session::start(&schema.outbox).await;
    let late = schema.open("a", "late").await;
    schema.send(&[message("b", "early")]).await;
    assert_eq!(session.deliver(10).await, ["early"], "a later place is not held up by an open transaction");
    late.commit().await.unwrap();
    schema.send(&[message("a", "after")]).await;
    assert_eq!(session.deliver(1).await, ["late"], "the one that committed late comes first");
    assert_eq!(session.deliver(1).await, ["after"]);
}

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn what_commits_during_the_first_reading_is_not_passed_by_what_follows_it() {
    let schema = Schema::new().await;
    schema.send(&[message("x", "1")]).await;
    let mut late = schema.open("a", "late 1").await;
    schema.send(&[message("x", "2"), message("x", "3")]).await;
    schema.outbox.enqueue(&mut late, &[message("a", "late 2")]).await.unwrap();
    schema.send(&[message("x", "4")]).await;
    let mut session = Session::start(&schema.outbox).await;
    assert_eq!(
        session.deliver(2).await,
        ["1", "2"],
        "the reading has passed the first place of the open one"
    );
    late.commit().await.unwrap();
    schema.send(&[message("a", "after")]).await;
    let rest = session.drain(1).await;
    let of_a: Vec<_> = rest.iter().filter(|text| !["3", "4"].contains(&text.as_str())).collect();
    assert_eq!(of_a, ["late 1", "late 2", "after"], "in the order of their transactions");
    assert_eq!(rest.len(), 5);
}

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn what_commits_within_a_window_is_not_passed_by_what_follows_it() {
    let schema = Schema::new().await;
    let mut session = Session::start(&schema.outbox).await;
    assert!(session.deliver(1).await.is_empty());
    let late = schema.open("a", "late").await;
    schema.send(&[message("x", "1"), message("x", "2"), message("x", "3")]).await;
    assert_eq!(session.deliver(1).await, ["1"], "a window has begun");
    late.commit().await.unwrap();
    schema.send(&[message("a", "after")]).await;
    assert_eq!(session.drain(1).await, ["2", "3", "late", "after"]);
}

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn a_prepared_transaction_is_read_once_it_commits() {
    let schema = Schema::new().await;
    if schema.number("SELECT setting::bigint FROM pg_settings WHERE name = 'max_prepared_transactions'").await
        == 0
    {
        panic!("this server has no prepared transactions; set max_prepared_transactions");
    }
    let mut session = Session::start(&schema.outbox).await;
    let mut conn = schema.pool.acquire().await.unwrap().detach();
    let run = |sql: String| sqlx::raw_sql(sqlx::AssertSqlSafe(sql));
    run("BEGIN".into()).execute(&mut conn).await.unwrap();
    schema.outbox.enqueue(&mut conn, &[message("a", "prepared")]).await.unwrap();
    run(format!("PREPARE TRANSACTION '{}'", schema.name)).execute(&mut conn).await.unwrap();
    schema.send(&[message("b", "early")]).await;
    assert_eq!(session.deliver(10).await, ["early"]);
    run(format!("COMMIT PREPARED '{}'", schema.name)).execute(&mut conn).await.unwrap();
    schema.send(&[message("a", "after")]).await;
    assert_eq!(session.drain(1).await, ["prepared", "after"]);
}

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn a_savepoint_shares_the_fate_of_its_transaction() {
    let schema = Schema::new().await;
    let mut session = Session::start(&schema.outbox).await;
    let mut tx = schema.open("a", "1").await;
    for (text, keep) in [("2", true), ("gone", false), ("3", true)] {
        let mut inner = sqlx::Connection::begin(&mut *tx).await.unwrap();
        schema.outbox.enqueue(&mut inner, &[message("a", text)]).await.unwrap();
        if keep { inner.commit().await.unwrap() } else { inner.rollback().await.unwrap() }
    }
    schema.send(&[message("b", "early")]).await;
    assert_eq!(session.deliver(10).await, ["early"]);
    tx.commit().await.unwrap();
    assert_eq!(session.drain(10).await, ["1", "2", "3"]);
}

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn rows_of_another_server_are_read_by_the_next_session_in_their_order() {
    let schema = Schema::new().await;
    // As a restored dump has them: their transactions are far above, or far below, those of this server.
    schema
        .execute(
            "INSERT INTO outbox_messages (seq, xid, topic, message_key, payload)
             SELECT nextval('outbox_places'), CASE n % 2 WHEN 0 THEN '900000000000' ELSE '3' END::xid8, 't', 'a', n::text::bytea
             FROM generate_series(1, 6) AS n ORDER BY n",
        )
        .await;
    schema.send(&[message("a", "7")]).await;
    let mut session = Session::start(&schema.outbox).await;
    assert_eq!(session.deliver(2).await, ["1", "2"]);
    schema.send(&[message("a", "8")]).await;
    assert_eq!(
        session.drain(2).await,
        ["3", "4", "5", "6", "7", "8"],
        "each once, in the order of their places"
    );
    schema.send(&[message("a", "9")]).await;
    assert_eq!(session.drain(2).await, ["9"]);
}

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn a_broken_connection_makes_the_store_read_from_the_beginning() {
    let schema = Schema::new().await;
    let mut session = Session::start(&schema.outbox).await;
    schema.send(&[message("a", "1"), message("a", "2")]).await;
    assert_eq!(texts(&session.claim(1).await), ["1"]);
    schema
        .execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()
             AND query LIKE '%pg_visible_in_snapshot%' AND application_name = current_schema()",
        )
        .await;
    // The first claim may still meet the broken connection.
    if session.try_claim(10, false).await.is_ok_and(|claim| claim.messages.len() == 1) {
        return;
    }
    assert_eq!(texts(&session.claim(10).await), ["2"], "without the one that is held");
    session.held.clear();
    assert_eq!(texts(&session.try_claim(10, true).await.unwrap().messages), ["1", "2"]);
}

/// Sixteen writers whose transactions overlap at random; each writes one key after another, in its order.
async fn sixteen_writers(schema: Arc<Schema>) {
    const WRITERS: usize = 16;
    const ROUNDS: usize = 25;
    let done = Arc::new(AtomicUsize::new(0));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (schema, done) = (Arc::clone(&schema), Arc::clone(&done));
            tokio::spawn(async move {
                let outbox = schema.elsewhere().await;
                let mut committed = 0;
                for round in 0..ROUNDS {
                    let rolls_back = (writer + round) % 5 == 0;
                    let mut tx = outbox.begin().await.unwrap();
                    for _ in 0..1 + (writer * 7 + round * 3) % 3 {
                        let text = format!("{}", if rolls_back { usize::MAX } else { committed });
                        outbox.enqueue(&mut tx, &[message(&writer.to_string(), &text)]).await.unwrap();
                        tokio::time::sleep(Duration::from_millis(((writer * 13 + round * 5) % 9) as u64))
                            .await;
                        committed += usize::from(!rolls_back);
                    }
                    if rolls_back { tx.rollback().await.unwrap() } else { tx.commit().await.unwrap() }
                }
                done.fetch_add(1, Ordering::SeqCst);
                committed
            })
        })
        .collect();
    let mut session = Session::start(&schema.outbox).await;
    let mut read: HashMap<String, Vec<usize>> = HashMap::new();
    let mut limit = 0;
    loop {
        let over = done.load(Ordering::SeqCst) == WRITERS;
        limit = limit % 7 + 1;
        let claimed = session.claim(limit).await;
        for (one, text) in claimed.iter().zip(texts(&claimed)) {
            let key = one.message.as_ref().unwrap().key.clone().unwrap();
            read.entry(key).or_default().push(text.parse().unwrap());
        }
        if claimed.is_empty() && over {
            break;
        }
    }
    for (writer, handle) in writers.into_iter().enumerate() {
        let committed = handle.await.unwrap();
        let expected: Vec<usize> = (0..committed).collect();
        assert_eq!(read.remove(&writer.to_string()).unwrap_or_default(), expected, "writer {writer}");
    }
    assert!(read.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn of_sixteen_writers_nothing_is_lost_and_each_key_is_in_order() {
    sixteen_writers(Arc::new(Schema::new().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn before_triggers_that_take_their_time_change_nothing() {
    let schema = Schema::new().await;
    schema
        .execute(
            "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN PERFORM pg_sleep(random() * 0.01); RETURN NEW; END $$;
             CREATE TRIGGER dawdle BEFORE INSERT ON outbox_messages FOR EACH ROW EXECUTE FUNCTION dawdle()",
        )
        .await;
    sixteen_writers(Arc::new(schema)).await;
}

/// Entries of the indexes of fresh messages that have been read so far.
async fn entries_read(schema: &Schema, session: &mut Session) -> i64 {
    // A backend tells what it counted at most once a second, when a transaction ends.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    session.claim(1).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    schema
        .number(
            "SELECT sum(idx_tup_read)::bigint FROM pg_stat_user_indexes
             WHERE schemaname = current_schema() AND relname = 'outbox_messages'",
        )
        .await
}

async fn rounds(schema: &Schema, session: &mut Session) {
    let messages: Vec<_> = (0..100).map(|n| message(&n.to_string(), "x")).collect();
    for _ in 0..40 {
        schema.send(&messages).await;
        assert_eq!(session.drain(40).await.len(), 100);
    }
}

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn foreign_transactions_that_stay_open_do_not_make_the_reading_longer() {
    let schema = Schema::new().await;
    schema.execute("CREATE TABLE business (n bigint)").await;
    let mut session = Session::start(&schema.outbox).await;
    session.deliver(1).await;

    // A reader whose snapshot keeps every dead row, a writer of another table, and a writer of the outbox itself.
    let mut reader = schema.pool.begin().await.unwrap();
    sqlx::raw_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM business")
        .execute(&mut *reader)
        .await
        .unwrap();
    let mut writer = schema.pool.begin().await.unwrap();
    sqlx::raw_sql("INSERT INTO business VALUES (1)").execute(&mut *writer).await.unwrap();
    let late = schema.open("late", "late").await;

    let start = entries_read(&schema, &mut session).await;
    rounds(&schema, &mut session).await;
    let read = entries_read(&schema, &mut session).await - start;
    // 4,000 messages, of which every dead row is still there: a reading that walks over them reads hundreds of thousands.
    assert!(read >= 4_000, "the rounds were counted: {read}");
    assert!(read <= 8_000, "{read} entries were read for 4,000 messages");
    late.commit().await.unwrap();
    assert_eq!(session.drain(10).await, ["late"]);
    drop((reader, writer));
}

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn a_row_that_moved_since_it_was_claimed_is_settled_all_the_same() {
    let schema = Schema::new().await;
    let mut session = Session::start(&schema.outbox).await;
    schema.send(&[message("a", "1"), message("a", "2")]).await;
    let claimed = session.claim(10).await;
    schema.execute("UPDATE outbox_messages SET content_type = 'text/html'").await;
    schema.execute("VACUUM FULL outbox_messages").await;
    let verdicts: Vec<_> = claimed
        .iter()
        .map(|claimed| (claimed.place, outbox_core::Verdict::Delivered { receipt: None }))
        .collect();
    let settlement = outbox_core::Settlement { verdicts: &verdicts, ..Default::default() };
    let fence = session.outbox.settle(session.owned.epoch, &settlement).await.unwrap();
    assert_eq!(fence, outbox_core::Fence::Held);
    assert_eq!(schema.number("SELECT count(*) FROM outbox_messages").await, 0);
}

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn what_was_read_before_the_connections_broke_is_read_again_before_it_is_begun() {
    let schema = Schema::new().await;
    let mut session = Session::start(&schema.outbox).await;
    schema.send(&[message("a", "1"), message("b", "2"), message("c", "3")]).await;
    let claimed = session.try_claim(10, true).await.unwrap().messages;
    assert_eq!(begin(&session, 1, &claimed[..1]).await.unwrap(), Fence::Held);

    // A crash of the server as a dispatcher sees it: a commit that was not durable is gone, and so are the connections.
    schema.execute("DELETE FROM outbox_messages WHERE message_key = 'b'").await;
    schema.cut().await;
    begin(&session, 2, &claimed[1..]).await.unwrap_err();
    assert_eq!(begin(&session, 2, &claimed[1..]).await.unwrap(), Fence::Changed);
    assert_eq!(schema.number("SELECT count(*) FROM outbox_journal").await, 1);
    session.held.retain(|place| *place == claimed[0].place);
    let again = session.try_claim(10, true).await.unwrap().messages;
    assert_eq!(texts(&again), ["3"]);
    assert_eq!(begin(&session, 3, &again).await.unwrap(), Fence::Held);
}

async fn begin(session: &Session, number: i64, claimed: &[Claimed]) -> Result<Fence, StoreError> {
    let places = claimed.iter().map(|claimed| claimed.place).collect();
    let batch = Batch { number: BatchNo(number), places, alone: false };
    let settlement = Settlement { begin: Some(&batch), ..Settlement::default() };
    session.outbox.settle(session.owned.epoch, &settlement).await
}
