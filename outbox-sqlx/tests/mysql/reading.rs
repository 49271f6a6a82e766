//! What is read: all that commits, whenever it does; each key in order; and no foreign transaction is waited for.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use outbox_core::{
    Batch, BatchNo, Claimed, DeliveryError, Enqueue, FailureNote, Fence, OnDead, OutboxStore, Settlement,
    StoreError, Verdict,
};
use sqlx::AssertSqlSafe;

use crate::fixture::{Database, Session, message, texts};

/// A gap is not looked at before this has passed.
const GRACE: Duration = Duration::from_secs(5);

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn a_transaction_that_commits_late_is_read_and_nothing_of_its_key_passes_it() {
    let database = Database::new().await;
    let mut session = Session::start(&database.outbox).await;
    let late = database.open("a", "late").await;
    database.send(&[message("b", "early")]).await;
    assert_eq!(session.deliver(10).await, ["early"], "a later place is not held up by an open transaction");
    late.commit().await.unwrap();
    database.send(&[message("a", "after")]).await;
    assert_eq!(session.deliver(1).await, ["late"], "the one that committed late comes first");
    assert_eq!(session.deliver(1).await, ["after"]);
}

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn what_commits_during_the_first_reading_is_not_passed_by_what_follows_it() {
    let database = Database::new().await;
    database.send(&[message("x", "1")]).await;
    let mut late = database.open("a", "late 1").await;
    database.send(&[message("x", "2"), message("x", "3")]).await;
    database.outbox.enqueue(&mut late, &[message("a", "late 2")]).await.unwrap();
    database.send(&[message("x", "4")]).await;
    let mut session = Session::start(&database.outbox).await;
    assert_eq!(
        session.deliver(2).await,
        ["1", "2"],
        "the reading has passed the first place of the open one"
    );
    late.commit().await.unwrap();
    database.send(&[message("a", "after")]).await;
    let rest = session.drain(1).await;
    let of_a: Vec<_> = rest.iter().filter(|text| !["3", "4"].contains(&text.as_str())).collect();
    assert_eq!(of_a, ["late 1", "late 2", "after"], "in the order of their transactions");
    assert_eq!(rest.len(), 5);
}

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn what_commits_within_a_window_is_not_passed_by_what_follows_it() {
    let database = Database::new().await;
    let mut session = Session::start(&database.outbox).await;
    assert!(session.deliver(1).await.is_empty());
    let late = database.open("a", "late").await;
    database.send(&[message("x", "1"), message("x", "2"), message("x", "3")]).await;
    assert_eq!(session.deliver(1).await, ["1"], "a window has begun");
    late.commit().await.unwrap();
    database.send(&[message("a", "after")]).await;
    assert_eq!(session.drain(1).await, ["late", "2", "3", "after"], "it is read as soon as it is there");
}

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn a_transaction_that_stays_open_for_long_is_read_in_its_order_once_it_commits() {
    let database = Database::new().await;
    let mut session = Session::start(&database.outbox).await;
    let late = database.open("a", "late").await;
    let rolled_back = database.open("a", "never").await;
    database.send(&[message("b", "early")]).await;
    assert_eq!(session.deliver(10).await, ["early"]);
    rolled_back.rollback().await.unwrap();
    // Its gap has been looked at by then, more than once.
    let started = Instant::now();
    while started.elapsed() < GRACE + Duration::from_secs(3) {
        assert!(session.deliver(10).await.is_empty());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    late.commit().await.unwrap();
    database.send(&[message("a", "after")]).await;
    assert_eq!(session.deliver(1).await, ["late"]);
    assert_eq!(session.deliver(1).await, ["after"]);
}

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn a_prepared_transaction_is_read_once_it_commits() {
    let database = Database::new().await;
    let mut session = Session::start(&database.outbox).await;
    let mut conn = database.pool.acquire().await.unwrap().detach();
    let name = &database.name;
    let run = |sql: String| sqlx::raw_sql(AssertSqlSafe(sql));
    run(format!("XA START '{name}'")).execute(&mut conn).await.unwrap();
    database.outbox.enqueue(&mut conn, &[message("a", "prepared")]).await.unwrap();
    run(format!("XA END '{name}'; XA PREPARE '{name}'")).execute(&mut conn).await.unwrap();
    database.send(&[message("b", "early")]).await;
    assert_eq!(session.deliver(10).await, ["early"]);
    let started = Instant::now();
    while started.elapsed() < GRACE + Duration::from_secs(1) {
        assert!(session.deliver(10).await.is_empty());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    run(format!("XA COMMIT '{name}'")).execute(&mut conn).await.unwrap();
    database.send(&[message("a", "after")]).await;
    assert_eq!(session.drain(1).await, ["prepared", "after"]);
}

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn a_broken_connection_makes_the_store_read_from_the_beginning() {
    let database = Database::new().await;
    let mut session = Session::start(&database.outbox).await;
    database.send(&[message("a", "1"), message("a", "2")]).await;
    assert_eq!(texts(&session.claim(1).await), ["1"]);
    let others: Vec<i64> = sqlx::query_scalar(
        "SELECT CAST(ID AS SIGNED) FROM information_schema.PROCESSLIST WHERE DB = DATABASE() AND ID <> CONNECTION_ID()",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    for id in others {
        // It may have ended by itself.
        let _ = crate::fixture::on_server(format!("KILL {id}")).await;
    }
    // The first claim meets the broken connection.
    assert!(session.try_claim(10, false).await.is_err());
    assert_eq!(texts(&session.claim(10).await), ["2"], "without the one that is held");
    session.held.clear();
    assert_eq!(texts(&session.try_claim(10, true).await.unwrap().messages), ["1", "2"]);
}

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn a_savepoint_shares_the_fate_of_its_transaction() {
    let database = Database::new().await;
    let mut session = Session::start(&database.outbox).await;
    let mariadb = database.is_mariadb().await;
    for isolation in ["READ COMMITTED", "REPEATABLE READ"] {
        let mut conn = database.pool.acquire().await.unwrap();
        let set = format!("SET TRANSACTION ISOLATION LEVEL {isolation}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(set)).execute(&mut *conn).await.unwrap();
        let mut tx = sqlx::Connection::begin(&mut *conn).await.unwrap();
        database.outbox.enqueue(&mut tx, &[message("a", "1")]).await.unwrap();
        for (text, keep) in [("2", true), ("gone", false), ("3", true)] {
            let mut inner = sqlx::Connection::begin(&mut *tx).await.unwrap();
            database.outbox.enqueue(&mut inner, &[message("a", text)]).await.unwrap();
            if keep { inner.commit().await.unwrap() } else { inner.rollback().await.unwrap() }
        }
        // Gone back to a savepoint at REPEATABLE READ, MySQL holds up all who insert until the transaction ends.
        if mariadb || isolation == "READ COMMITTED" {
            database.send(&[message("b", "early")]).await;
            assert_eq!(session.deliver(10).await, ["early"], "{isolation}");
        }
        tx.commit().await.unwrap();
        assert_eq!(session.drain(10).await, ["1", "2", "3"], "{isolation}");
    }
}

/// Sixteen writers whose transactions overlap at random; each writes one key after another, in its order.
async fn sixteen_writers(database: Arc<Database>) {
    const WRITERS: usize = 16;
    const ROUNDS: usize = 25;
    let done = Arc::new(AtomicUsize::new(0));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (database, done) = (Arc::clone(&database), Arc::clone(&done));
            tokio::spawn(async move {
                let outbox = database.elsewhere().await;
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
    let mut session = Session::start(&database.outbox).await;
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
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn of_sixteen_writers_nothing_is_lost_and_each_key_is_in_order() {
    sixteen_writers(Arc::new(Database::new().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn before_triggers_that_take_their_time_change_nothing() {
    let database = Database::new().await;
    database
        .execute(
            "CREATE TRIGGER dawdle BEFORE INSERT ON outbox_messages FOR EACH ROW
             SET NEW.message_type = CONCAT('dawdled', SLEEP(RAND() * 0.01))",
        )
        .await;
    sixteen_writers(Arc::new(database)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn places_that_are_given_out_in_larger_steps_change_nothing() {
    let database = Database::new().await;
    let stepped = sqlx::mysql::MySqlPoolOptions::new()
        .after_connect(|conn, _| {
            Box::pin(async move {
                sqlx::raw_sql("SET SESSION auto_increment_increment = 3").execute(conn).await?;
                Ok(())
            })
        })
        .connect_with((*database.pool.connect_options()).clone())
        .await
        .unwrap();
    let producer = outbox_sqlx::MySqlOutbox::new(stepped);
    let mut session = Session::start(&database.outbox).await;
    let (mut sent, mut read) = (Vec::new(), Vec::new());
    for n in 0..120 {
        let mut tx = producer.begin().await.unwrap();
        producer.enqueue(&mut tx, &[message("a", &n.to_string())]).await.unwrap();
        producer.commit(tx).await.unwrap();
        sent.push(n.to_string());
        read.extend(texts(&session.claim(7).await));
    }
    read.extend(texts(&session.claim(1_000).await));
    assert_eq!(read, sent, "each once, in its order, though every place is beside a gap");
}

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn a_statement_that_writes_its_rows_slowly_is_read_whole_and_in_its_order() {
    let database = Database::new().await;
    // Its places are taken at once, and its last row is written after the grace has passed.
    database
        .execute(
            "CREATE TRIGGER dawdle BEFORE INSERT ON outbox_messages FOR EACH ROW
             SET NEW.message_type = CONCAT('dawdled', SLEEP(IF(NEW.message_key = 'slow', 1, 0)))",
        )
        .await;
    let mut session = Session::start(&database.outbox).await;
    let outbox = database.elsewhere().await;
    let slow = tokio::spawn(async move {
        let mut tx = outbox.begin().await.unwrap();
        let messages: Vec<_> = (0..8).map(|n| message("slow", &n.to_string())).collect();
        outbox.enqueue(&mut tx, &messages).await.unwrap();
        outbox.commit(tx).await.unwrap();
    });
    let mut read = Vec::new();
    let mut n = 0;
    while !slow.is_finished() {
        database.send(&[message("quick", &format!("quick {n}"))]).await;
        n += 1;
        read.extend(session.deliver(10).await);
    }
    database.send(&[message("slow", "8")]).await;
    read.extend(session.drain(3).await);
    let slow: Vec<_> = read.iter().filter(|text| !text.starts_with("quick")).cloned().collect();
    let expected: Vec<_> = (0..9).map(|n| n.to_string()).collect();
    assert_eq!(slow, expected);
    assert_eq!(read.len(), n + 9, "nothing is lost, and nothing held up");
}

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn a_hundred_thousand_places_that_were_rolled_back_hold_up_nothing() {
    let database = Database::new().await;
    let mut session = Session::start(&database.outbox).await;
    database.send(&[message("a", "1")]).await;
    let mut tx = database.pool.begin().await.unwrap();
    sqlx::raw_sql(
        "INSERT INTO outbox_messages (topic, payload)
         WITH RECURSIVE ten (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM ten WHERE n < 10)
         SELECT 't', 'x' FROM ten AS a, ten AS b, ten AS c, ten AS d, ten AS e",
    )
    .execute(&mut *tx)
    .await
    .unwrap();
    database.send(&[message("a", "2")]).await;
    assert_eq!(session.drain(10).await, ["1", "2"], "while it is open");
    tx.rollback().await.unwrap();
    database.send(&[message("a", "3")]).await;
    assert_eq!(session.drain(10).await, ["3"]);
}

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn a_row_that_turns_up_below_everything_is_found_in_the_end() {
    let database = Database::new().await;
    let mut session = Session::start(&database.outbox).await;
    let messages: Vec<_> = (0..20).map(|n| message("a", &n.to_string())).collect();
    database.send(&messages).await;
    assert_eq!(session.drain(10).await.len(), 20);
    // As a person restores one that was deleted by mistake.
    database.execute("INSERT INTO outbox_messages (seq, topic, payload) VALUES (7, 't', 'restored')").await;
    let started = Instant::now();
    loop {
        let read = session.deliver(10).await;
        if !read.is_empty() {
            assert_eq!(read, ["restored"]);
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "the sweep comes by every few seconds");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn foreign_transactions_that_stay_open_hold_up_nothing() {
    let database = Database::new().await;
    database.execute("CREATE TABLE business (n BIGINT)").await;
    let mut session = Session::start(&database.outbox).await;
    session.deliver(1).await;
    // A reader whose snapshot keeps every dead row, a writer of another table, and a writer of the outbox itself.
    let mut reader = database.pool.begin().await.unwrap();
    sqlx::raw_sql("SELECT COUNT(*) FROM business").execute(&mut *reader).await.unwrap();
    let mut writer = database.pool.begin().await.unwrap();
    sqlx::raw_sql("INSERT INTO business VALUES (1)").execute(&mut *writer).await.unwrap();
    let late = database.open("late", "late").await;
    let messages: Vec<_> = (0..100).map(|n| message(&n.to_string(), "x")).collect();
    for _ in 0..20 {
        database.send(&messages).await;
        assert_eq!(session.drain(40).await.len(), 100);
    }
    late.commit().await.unwrap();
    assert_eq!(session.drain(10).await, ["late"]);
    drop((reader, writer));
}

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn what_was_read_before_the_connections_broke_is_read_again_before_it_is_begun() {
    let database = Database::new().await;
    let mut session = Session::start(&database.outbox).await;
    database.send(&[message("a", "1"), message("b", "2"), message("c", "3")]).await;
    let claimed = session.try_claim(10, true).await.unwrap().messages;
    assert_eq!(begin(&session, 1, &claimed[..1]).await.unwrap(), Fence::Held);

    // A failover as a dispatcher sees it: a commit that was not replicated is gone, and so are the connections.
    database.execute("DELETE FROM outbox_messages WHERE message_key = 'b'").await;
    database.cut().await;
    begin(&session, 2, &claimed[1..]).await.unwrap_err();
    assert_eq!(begin(&session, 2, &claimed[1..]).await.unwrap(), Fence::Changed);
    assert_eq!(database.number("SELECT COUNT(*) FROM outbox_journal").await, 1);
    session.held.retain(|place| *place == claimed[0].place);
    let again = session.try_claim(10, true).await.unwrap().messages;
    assert_eq!(texts(&again), ["3"]);
    assert_eq!(begin(&session, 3, &again).await.unwrap(), Fence::Held);
}

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn a_verdict_on_a_message_that_a_failover_lost_does_nothing_to_the_one_that_got_its_place() {
    for keeps_history in [false, true] {
        let database = Database::with(|outbox| outbox.history(keeps_history)).await;
        let mut session = Session::start(&database.outbox).await;
        database.send(&[message("a", "lost 1"), message("b", "lost 2"), message("c", "lost 3")]).await;
        let claimed = session.try_claim(10, true).await.unwrap().messages;
        assert_eq!(begin(&session, 1, &claimed).await.unwrap(), Fence::Held);
        database
            .execute("UPDATE outbox_messages SET id = UNHEX(LEFT(SHA2(seq, 256), 32)), payload = 'another'")
            .await;
        let delivered = Verdict::Delivered { receipt: None };
        let failure = FailureNote::new(1, "permanent", &DeliveryError::new("refused"));
        let dead = Verdict::Dead { tally: claimed[2].tally, failure, then: OnDead::Skip };
        for verdicts in [
            vec![(claimed[0].place, delivered.clone())],
            vec![(claimed[1].place, delivered), (claimed[2].place, dead)],
        ] {
            let settlement = Settlement { verdicts: &verdicts, ..Settlement::default() };
            assert_eq!(session.outbox.settle(session.owned.epoch, &settlement).await.unwrap(), Fence::Held);
        }
        assert_eq!(database.number("SELECT COUNT(*) FROM outbox_history").await, 0);
        session.held.clear();
        let again = session.try_claim(10, true).await.unwrap().messages;
        assert_eq!(texts(&again), ["another", "another", "another"]);
    }
}

async fn begin(session: &Session, number: i64, claimed: &[Claimed]) -> Result<Fence, StoreError> {
    let places = claimed.iter().map(|claimed| claimed.place).collect();
    let batch = Batch { number: BatchNo(number), places, alone: false };
    let settlement = Settlement { begin: Some(&batch), ..Settlement::default() };
    session.outbox.settle(session.owned.epoch, &settlement).await
}
