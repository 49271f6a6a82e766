//! Settlements that meet what they do not expect: rows that lie elsewhere by now, and an earlier try of their own.

use std::collections::HashSet;
use std::time::Duration;

use outbox_core::{Batch, BatchNo, Claimed, Fence, OutboxStore, Place, Settlement, Verdict};
use outbox_sqlx::PostgresOutbox;
use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::fixture::{Schema, Session, message};
use crate::proxy::Proxy;

#[path = "../late/settlement.rs"]
mod settlement;

fn delivered(claimed: &[Claimed]) -> Vec<(Place, Verdict)> {
    claimed.iter().map(|claimed| (claimed.place, Verdict::Delivered { receipt: None })).collect()
}

fn batch(claimed: &[Claimed]) -> Batch {
    let places = claimed.iter().map(|claimed| claimed.place).collect();
    Batch { number: BatchNo(1), places, alone: false }
}

async fn begin(session: &Session, batch: &Batch) {
    let settlement = Settlement { begin: Some(batch), ..Settlement::default() };
    assert_eq!(session.outbox.settle(session.owned.epoch, &settlement).await.unwrap(), Fence::Held);
}

/// Until a statement of the outbox waits for a lock.
async fn one_waits(schema: &Schema) {
    let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock')";
    let waiting = async {
        while !sqlx::query_scalar::<_, bool>(waits).bind(&schema.name).fetch_one(&schema.pool).await.unwrap()
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("a statement waits for a lock");
}

/// A tool that tidies up, or a person with SQL.
const MOVE_B: &str = "UPDATE outbox_messages SET payload = payload WHERE message_key = 'b'";

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn a_message_whose_row_lies_elsewhere_joins_the_history_once_like_its_neighbours() {
    let schema = Schema::with(|builder| builder.history(true)).await;
    let mut session = Session::start(&schema.outbox).await;
    schema.send(&[message("a", "0"), message("b", "1"), message("c", "2")]).await;
    let claimed = session.claim(10).await;
    let batch = batch(&claimed);
    begin(&session, &batch).await;
    schema.execute(MOVE_B).await;
    let verdicts = delivered(&claimed);
    let settlement = Settlement { verdicts: &verdicts, ended: &[batch.number], begin: None };
    for _ in 0..3 {
        let fence = session.outbox.settle(session.owned.epoch, &settlement).await.unwrap();
        assert_eq!(fence, Fence::Held);
    }
    assert_eq!(schema.number("SELECT count(*) FROM outbox_history").await, 3);
    assert_eq!(schema.number("SELECT count(DISTINCT id) FROM outbox_history").await, 3);
    let left = "SELECT (SELECT count(*) FROM outbox_messages) + (SELECT count(*) FROM outbox_journal)";
    assert_eq!(schema.number(left).await, 0);
}

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn what_a_settlement_that_dies_half_way_has_not_written_is_in_doubt() {
    for history in [false, true] {
        let schema = Schema::with(|builder| if history { builder.history(true) } else { builder }).await;
        let mut session = Session::start(&schema.outbox).await;
        schema.send(&[message("a", "0"), message("b", "1")]).await;
        let claimed = session.claim(10).await;
        let batch = batch(&claimed);
        begin(&session, &batch).await;
        schema.execute(MOVE_B).await;
        let mut holder = schema.pool.begin().await.unwrap();
        let hold = "SELECT FROM outbox_messages WHERE message_key = 'b' FOR UPDATE";
        sqlx::query(hold).execute(&mut *holder).await.unwrap();
        let (outbox, epoch) = (schema.outbox.clone(), session.owned.epoch);
        let settles = tokio::spawn(async move {
            let (verdicts, ended) = (delivered(&claimed), [BatchNo(1)]);
            let settlement = Settlement { verdicts: &verdicts, ended: &ended, begin: None };
            outbox.settle(epoch, &settlement).await
        });
        one_waits(&schema).await;
        settles.abort();
        assert!(settles.await.unwrap_err().is_cancelled());
        holder.rollback().await.unwrap();

        session.renew_for(Duration::ZERO).await;
        let mut successor = Session::start(&schema.elsewhere().await).await;
        for claimed in successor.claim(10).await {
            assert!(claimed.tally.in_doubt, "it was delivered: {claimed:?}");
        }
    }
}

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn what_an_earlier_try_began_while_this_one_waited_is_open_no_more_after_an_act() {
    let schema = Schema::new().await;
    let mut session = Session::start(&schema.outbox).await;
    schema.send(&[message("a", "0")]).await;
    session.try_claim(10, true).await.unwrap();
    session.held.clear();
    let claimed = session.try_claim(10, true).await.unwrap().messages;
    let epoch = session.owned.epoch;
    // The server goes on with an earlier try whose answer nobody waits for any more; then a person acts.
    let mut earlier = schema.pool.begin().await.unwrap();
    let begins = format!(
        "SELECT FROM outbox_sessions WHERE epoch = {0} FOR UPDATE;
         INSERT INTO outbox_journal (epoch, batch_no, alone, places) VALUES ({0}, 1, false, '{{{1}}}');",
        epoch.0, claimed[0].place.seq
    );
    sqlx::raw_sql(AssertSqlSafe(begins)).execute(&mut *earlier).await.unwrap();
    let outbox = schema.outbox.clone();
    let settles = tokio::spawn(async move {
        let batch = batch(&claimed);
        outbox.settle(epoch, &Settlement { begin: Some(&batch), ..Settlement::default() }).await
    });
    one_waits(&schema).await;
    sqlx::query("UPDATE outbox_sessions SET changes = changes + 1").execute(&mut *earlier).await.unwrap();
    earlier.commit().await.unwrap();
    assert_eq!(settles.await.unwrap().unwrap(), Fence::Changed);
    assert_eq!(schema.number("SELECT count(*) FROM outbox_journal").await, 0, "nothing is in flight");
}

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn a_settlement_that_is_carried_out_late_begins_nothing_that_is_over() {
    for reads_first in [false, true] {
        let schema = Schema::new().await;
        let (proxy, url) = Proxy::before(&std::env::var("TEST_POSTGRES_URL").unwrap()).await;
        let options: PgConnectOptions = url.parse().unwrap();
        let options = options.options([("search_path", &schema.name)]).application_name(&schema.name);
        let pool = PgPoolOptions::new().connect_with(options).await.unwrap();
        schema.send(&[message("a", "1"), message("b", "2")]).await;
        let connections = async || {
            let all = "SELECT pid::bigint FROM pg_stat_activity WHERE application_name = $1";
            let pids = sqlx::query_scalar(all).bind(&schema.name).fetch_all(&schema.pool).await.unwrap();
            pids.into_iter().collect::<HashSet<i64>>()
        };
        let open =
            async || schema.number("SELECT coalesce(sum(batch_no), 0)::bigint FROM outbox_journal").await;
        settlement::begins_nothing_that_is_over(
            &PostgresOutbox::builder(pool).notifications(false).build().unwrap(),
            &schema.outbox,
            &proxy,
            connections,
            open,
            reads_first,
        )
        .await;
    }
}
