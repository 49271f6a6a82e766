//! How sessions share the slots.

use std::time::Duration;

use outbox_core::{Enqueue, Fence, OutboxStore, Settlement, Slot, Verdict};

use crate::fixture::{Database, LEASE, Session, message};

fn all() -> Vec<Slot> {
    (0..16).map(Slot).collect()
}

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn a_session_that_joins_gets_its_fair_share_once_it_is_handed_over() {
    let database = Database::new().await;
    let mut first = Session::start(&database.outbox).await;
    assert_eq!(first.owned.slots, all());
    let mut second = Session::start(&database.elsewhere().await).await;
    assert!(second.owned.slots.is_empty(), "nobody takes a slot from a live session");
    first.renew_for(LEASE).await;
    assert_eq!(first.owned.hand_over.len(), 8, "half of the slots are the second one's share");
    first.outbox.release(first.owned.epoch, &first.owned.hand_over).await.unwrap();
    second.renew_for(LEASE).await;
    first.renew_for(LEASE).await;
    assert_eq!((first.owned.slots.len(), second.owned.slots.len()), (8, 8));
    assert!(first.owned.hand_over.is_empty() && second.owned.hand_over.is_empty());
    let mut both = [first.owned.slots.clone(), second.owned.slots.clone()].concat();
    both.sort_unstable();
    assert_eq!(both, all(), "each slot has one owner");
}

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn each_session_reads_its_own_slots_and_a_slot_gained_from_the_beginning() {
    let database = Database::new().await;
    let mut first = Session::start(&database.outbox).await;
    let mut second = Session::start(&database.elsewhere().await).await;
    first.renew_for(LEASE).await;
    first.outbox.release(first.owned.epoch, &first.owned.hand_over).await.unwrap();
    first.renew_for(LEASE).await;
    second.renew_for(LEASE).await;
    let messages: Vec<_> = (0..200).map(|n| message(&format!("key {n}"), &n.to_string())).collect();
    database.send(&messages).await;
    let (mine, theirs) = (first.drain(30).await, second.claim(1_000).await);
    assert_eq!(mine.len() + theirs.len(), 200);
    assert!(
        mine.len() > 40 && theirs.len() > 40,
        "the keys spread over both: {} and {}",
        mine.len(),
        theirs.len()
    );
    // The second dies; the first, which has read on long since, gets its slots.
    second.renew_for(Duration::ZERO).await;
    first.renew_for(LEASE).await;
    assert_eq!(first.owned.slots, all());
    assert_eq!(first.drain(30).await.len(), theirs.len(), "what the other had only claimed is read again");
}

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn many_that_take_over_at_once_share_without_a_slot_twice() {
    let database = Database::new().await;
    let mut dead = Session::start(&database.outbox).await;
    let mut others = Vec::new();
    for _ in 0..6 {
        others.push(Session::start(&database.elsewhere().await).await);
    }
    dead.renew_for(Duration::ZERO).await;
    let renewing = others.into_iter().map(|mut session| {
        tokio::spawn(async move {
            session.renew_for(LEASE).await;
            session
        })
    });
    let mut slots = Vec::new();
    for session in renewing.collect::<Vec<_>>() {
        slots.extend(session.await.unwrap().owned.slots);
    }
    slots.sort_unstable();
    assert_eq!(slots, all(), "every slot is owned, by one session each");
}

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn a_session_that_runs_out_during_a_takeover_keeps_its_slots_unless_it_is_fenced() {
    let database = Database::new().await;
    let mut first = Session::start(&database.outbox).await;
    let mut second = Session::start(&database.elsewhere().await).await;
    first.renew_for(LEASE).await;
    first.outbox.release(first.owned.epoch, &first.owned.hand_over).await.unwrap();
    second.renew_for(LEASE).await;
    // To fence a session takes a while, as it does while it settles.
    database
        .execute(
            "CREATE TRIGGER dawdle BEFORE UPDATE ON outbox_sessions FOR EACH ROW
             SET NEW.name = IF(NEW.fenced_at IS NULL, NEW.name, CONCAT(NEW.name, SLEEP(3)))",
        )
        .await;
    let outbox = database.elsewhere().await;
    second.renew_for(Duration::from_secs(2)).await;
    first.renew_for(Duration::ZERO).await;
    let third = Session::start(&outbox).await;
    assert!(!third.owned.slots.is_empty(), "those of the first");
    let taken_unfenced = "SELECT COUNT(*) FROM outbox_sessions AS s
        WHERE s.fenced_at IS NULL AND NOT EXISTS (SELECT 1 FROM outbox_leases AS l WHERE l.epoch = s.epoch)";
    assert_eq!(database.number(taken_unfenced).await, 0, "what it has in flight would go out twice");
}

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn a_claim_beside_other_slots_and_many_gaps_answers_each_message_once() {
    let database = Database::new().await;
    let mut first = Session::start(&database.outbox).await;
    let second = Session::start(&database.elsewhere().await).await;
    first.renew_for(LEASE).await;
    first.outbox.release(first.owned.epoch, &first.owned.hand_over).await.unwrap();
    first.renew_for(LEASE).await;
    let mut conn = database.pool.acquire().await.unwrap();
    sqlx::raw_sql("SET SESSION auto_increment_increment = 3").execute(&mut *conn).await.unwrap();
    let messages: Vec<_> = (0..400).map(|n| message(&format!("key {n}"), &n.to_string())).collect();
    database.outbox.enqueue(&mut conn, &messages).await.unwrap();
    let mut places: Vec<_> = first.claim(100).await.iter().map(|claimed| claimed.place.seq).collect();
    assert_eq!(places.len(), 100);
    places.dedup();
    assert_eq!(places.len(), 100, "no place comes twice");
    drop(second);
}

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn a_slot_given_back_and_regained_between_two_claims_is_read_from_the_beginning() {
    let database = Database::new().await;
    let mut first = Session::start(&database.outbox).await;
    assert!(first.claim(10).await.is_empty());
    let messages: Vec<_> = (0..50).map(|n| message(&format!("key {n}"), &n.to_string())).collect();
    database.send(&messages).await;
    assert_eq!(first.claim(100).await.len(), 50);
    first.outbox.release(first.owned.epoch, &first.owned.slots[8..]).await.unwrap();
    // What it held of them is another session's affair by now.
    first.held.retain(|place| place.slot.0 < 8);
    let kept = first.held.len();
    assert!((1..50).contains(&kept), "{kept}");
    first.renew_for(LEASE).await;
    assert_eq!(first.owned.slots, all());
    assert_eq!(first.claim(100).await.len(), 50 - kept, "what the slots hold comes again");
}

#[tokio::test]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn a_session_that_the_server_forgot_shares_its_number_with_no_later_one() {
    let database = Database::new().await;
    database.send(&[message("k", "1")]).await;
    let mut first = Session::start(&database.outbox).await;
    let claimed = first.claim(1).await;
    // As on a replica that takes over and has not heard of the last sessions.
    database.execute("TRUNCATE TABLE outbox_sessions; UPDATE outbox_leases SET epoch = NULL").await;
    let mut second = Session::start(&database.elsewhere().await).await;
    assert_eq!(second.owned.slots, all());
    let verdicts = [(claimed[0].place, Verdict::Delivered { receipt: None })];
    let settlement = Settlement { verdicts: &verdicts, ..Settlement::default() };
    assert_eq!(first.outbox.settle(first.owned.epoch, &settlement).await.unwrap(), Fence::Lost);
    let forgotten = first.owned.epoch;
    first.outbox.release(forgotten, &first.owned.slots).await.unwrap();
    first.renew_for(LEASE).await;
    assert_ne!(first.owned.epoch, forgotten);
    assert!(first.owned.slots.is_empty(), "nobody takes a slot from a live session");
    assert_eq!(second.drain(10).await, ["1"]);
}
