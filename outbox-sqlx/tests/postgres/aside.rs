//! What is set aside: what it costs, and which keys it blocks.

use std::collections::BTreeSet;
use std::time::Duration;

use outbox_core::{
    Claimed, DeliveryError, FailureNote, Fence, NewMessage, OutboxStore, Place, Settlement, Tally, Verdict,
};

use crate::fixture::{Schema, Session, message};

const HOUR: Duration = Duration::from_secs(3600);

fn fails(claimed: &Claimed) -> (Place, Verdict) {
    let failure = FailureNote::new(1, "transient", &DeliveryError::new("refused"));
    let tally = Tally { attempts: 1, ..Tally::default() };
    (claimed.place, Verdict::Retry { delay: HOUR, tally, failure })
}

/// As a message that was set aside is named.
fn place_aside(claimed: &Claimed) -> Place {
    Place { hint: u64::MAX, ..claimed.place }
}

fn fails_again(claimed: &Claimed) -> (Place, Verdict) {
    (place_aside(claimed), fails(claimed).1)
}

fn delivered_at_last(claimed: &Claimed) -> (Place, Verdict) {
    (place_aside(claimed), Verdict::Delivered { receipt: None })
}

fn waits(claimed: &Claimed) -> (Place, Verdict) {
    (claimed.place, Verdict::Wait { tally: Tally::default() })
}

async fn settle(session: &mut Session, verdicts: &[(Place, Verdict)]) {
    let settlement = Settlement { verdicts, ..Settlement::default() };
    assert_eq!(session.outbox.settle(session.owned.epoch, &settlement).await.unwrap(), Fence::Held);
    session.held.clear();
}

/// From the beginning, so that what was claimed and not settled comes again.
async fn claim_anew(session: &mut Session) -> Vec<Claimed> {
    session.held.clear();
    session.try_claim(50, true).await.unwrap().messages
}

/// Those that have a time, in their order.
async fn due(schema: &Schema) -> String {
    let due = "SELECT string_agg(message_key || convert_from(payload, 'UTF8'), ' ' ORDER BY seq)
               FROM outbox_deferred WHERE due_at IS NOT NULL";
    sqlx::query_scalar(due).fetch_one(&schema.pool).await.unwrap()
}

/// Entries of the indexes of what is set aside that have been read so far.
async fn entries_read(schema: &Schema, session: &mut Session) -> i64 {
    // A backend tells what it counted at most once a second, when a transaction ends.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    claim_anew(session).await;
    settle(session, &[]).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    schema
        .number(
            "SELECT sum(idx_tup_read)::bigint FROM pg_stat_user_indexes
             WHERE schemaname = current_schema() AND relname = 'outbox_deferred'",
        )
        .await
}

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn the_many_behind_a_key_are_not_read_again_when_more_join_or_the_head_leaves() {
    let schema = Schema::new().await;
    let mut session = Session::start(&schema.outbox).await;
    // Every statement is planned while next to nothing is set aside.
    schema.send(&[message("first", "0"), message("first", "1")]).await;
    let claimed = claim_anew(&mut session).await;
    settle(&mut session, &[fails(&claimed[0]), waits(&claimed[1])]).await;
    for claimed in claimed {
        settle(&mut session, &[fails_again(&claimed)]).await;
        settle(&mut session, &[delivered_at_last(&claimed)]).await;
    }
    let messages: Vec<_> = (0..2_000).map(|n| message("a", &n.to_string())).collect();
    schema.send(&messages).await;
    let start = entries_read(&schema, &mut session).await;
    let claimed = claim_anew(&mut session).await;
    let head = &claimed[0];
    let verdicts: Vec<_> = claimed[1..].iter().map(waits).collect();
    settle(&mut session, &[&[fails(&claimed[0])], &verdicts[..]].concat()).await;
    while schema.number("SELECT count(*) FROM outbox_messages").await > 0 {
        let claimed = claim_anew(&mut session).await;
        assert!(claimed.iter().all(|claimed| claimed.behind), "the head is set aside");
        settle(&mut session, &claimed.iter().map(waits).collect::<Vec<_>>()).await;
    }
    let set_aside = entries_read(&schema, &mut session).await - start;
    assert!(set_aside >= 2_000, "it was counted: {set_aside}");
    assert!(set_aside <= 16_000, "{set_aside} entries were read to set 2,000 messages aside");

    let start = entries_read(&schema, &mut session).await;
    settle(&mut session, &[fails_again(head)]).await;
    settle(&mut session, &[delivered_at_last(head)]).await;
    let promoted = entries_read(&schema, &mut session).await - start;
    assert!(promoted <= 1_000, "{promoted} entries were read to make a hundred messages due");
    assert_eq!(
        schema.number("SELECT count(*) FROM outbox_deferred WHERE due_at <= clock_timestamp()").await,
        100
    );
}

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn a_fresh_message_is_told_to_be_behind_however_many_keys_are_blocked() {
    let schema = Schema::new().await;
    let mut session = Session::start(&schema.outbox).await;
    let other_topic =
        |key: &str| NewMessage::builder("other").key(key).payload("x", "text/plain").build().unwrap();
    // The claim names a few blocked keys by itself and asks for more.
    for blocked in [1, 2, 15, 16, 17, 18, 40] {
        let name = |n: usize| format!("key {n}");
        let heads: Vec<_> = (0..blocked).map(|n| message(&name(n), "head")).collect();
        schema.send(&heads).await;
        let claimed = session.claim(100).await;
        settle(&mut session, &claimed.iter().map(fails).collect::<Vec<_>>()).await;

        let next = (0..60).flat_map(|n| [message(&name(n), "next"), other_topic(&name(n))]);
        schema.send(&next.collect::<Vec<_>>()).await;
        let claimed = session.claim(200).await;
        assert_eq!(claimed.len(), 120);
        let key = |claimed: &Claimed| {
            let message = claimed.message.as_ref().unwrap();
            (message.topic.clone(), message.key.clone().unwrap())
        };
        let behind: BTreeSet<_> = claimed.iter().filter(|claimed| claimed.behind).map(key).collect();
        let expected: BTreeSet<_> = (0..blocked).map(|n| ("t".to_owned(), name(n))).collect();
        assert_eq!(behind, expected, "{blocked} keys are blocked");

        settle(&mut session, &[]).await;
        schema.execute("DELETE FROM outbox_messages; DELETE FROM outbox_deferred").await;
    }
}

#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn of_several_of_a_key_in_one_settlement_only_the_first_has_a_time() {
    let schema = Schema::new().await;
    let mut session = Session::start(&schema.outbox).await;
    let of = |key: &str| (0..3).map(|n| message(key, &n.to_string())).collect::<Vec<_>>();
    schema.send(&[of("a"), of("b"), of("c")].concat()).await;
    let claimed = session.claim(100).await;
    // Those of b are set aside from the last to the first, and what was due loses its time to an earlier one.
    settle(&mut session, &[fails(&claimed[5])]).await;
    assert_eq!(due(&schema).await, "b2");
    let rest = [0, 1, 2, 4, 3, 8].map(|n| fails(&claimed[n]));
    settle(&mut session, &rest).await;
    assert_eq!(due(&schema).await, "a0 b0 c2");
    settle(&mut session, &[waits(&claimed[7]), waits(&claimed[6])]).await;
    assert_eq!(due(&schema).await, "a0 b0 c0");
    // As after an answer that was lost.
    settle(&mut session, &[waits(&claimed[7]), waits(&claimed[6])]).await;
    assert_eq!(due(&schema).await, "a0 b0 c0");
}
