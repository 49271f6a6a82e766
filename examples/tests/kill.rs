//! The process is killed again and again while it books and delivers. Afterwards every committed appointment has its
//! invitation, and nothing else has.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use serde_json::json;
use sqlx::Row;
use sqlx::any::AnyRow;
use support::{App, JSON, PATIENCE, command, count, mails, query, server};
use tokio::sync::Notify;
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn killed_during_20_bookings_no_invitation_is_lost() {
    book_and_kill(20, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute; scripts/test runs it"]
async fn killed_during_200_bookings_no_invitation_is_lost() {
    book_and_kill(200, 30).await;
}

/// After a death, the next process delivers this much later.
const LEASE_MS: u64 = 1_000;

/// Who books, over all lives of the process.
#[derive(Default)]
struct Guests {
    asked: AtomicUsize,
    /// The messages of the bookings that were answered.
    answered: Mutex<BTreeSet<String>>,
    answer: Notify,
}

/// Books until `bookings` were answered, in `lives` processes of which all but the last are killed.
async fn book_and_kill(bookings: usize, lives: usize) {
    let data = tempfile::tempdir().expect("a folder");
    let guests = Arc::new(Guests::default());
    let mut in_flight = BTreeMap::new();

    for life in 1..lives {
        let app = start(data.path()).await;
        // Each life gets its share of the bookings, from four clients.
        let share = bookings * life / lives;
        let book = |pause| tokio::spawn(Arc::clone(&guests).book(app.api, share, pause));
        let clients = if life % 2 == 0 {
            // Anywhere from start-up through the dead session's lease into the middle of deliveries.
            let clients = [(); 4].map(|()| book(400));
            tokio::time::sleep(random_moment(LEASE_MS + 700)).await;
            clients
        } else {
            // In the middle of a burst, with bookings half committed and invitations half delivered.
            tokio::time::sleep(random_moment(LEASE_MS + 700)).await;
            let clients = [(); 4].map(|()| book(1));
            let _ = tokio::time::timeout(Duration::from_secs(1), guests.answer.notified()).await;
            tokio::time::sleep(random_moment(40)).await;
            clients
        };
        app.kill().await;
        for client in clients {
            client.await.expect("each booking was accepted or got no answer");
        }
        in_flight.extend(batches_in_flight(data.path()).await);
    }

    let app = start(data.path()).await;
    Arc::clone(&guests).book(app.api, bookings, 1).await;
    let drained = async {
        while unsettled(data.path()).await > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, drained).await.expect("everything is delivered");
    assert!(app.stop().await.success());

    // The database judges: a POST that got no answer may have been committed or not.
    let rows = query(
        data.path(),
        "select lower(cast(a.id as char(36))), lower(cast(m.message_id as char(36)))
         from appointment a left join appointment_message m on m.appointment_id = a.id",
    )
    .await;
    let message_of =
        |row: &AnyRow| row.get::<Option<String>, _>(1).expect("no appointment without a message");
    let committed: BTreeMap<String, String> = rows.iter().map(|row| (message_of(row), row.get(0))).collect();
    assert_eq!(committed.len(), rows.len(), "one message for each appointment");
    let mails = mails(data.path());
    let mut copies: BTreeMap<&str, usize> = BTreeMap::new();
    for mail in &mails {
        let about = committed.get(&mail.message_id);
        let about =
            about.unwrap_or_else(|| panic!("{} belongs to no committed appointment", mail.message_id));
        assert!(mail.ics["UID"].starts_with(about), "the mail of another appointment");
        *copies.entry(&mail.message_id).or_default() += 1;
    }
    let missing: Vec<_> = committed.keys().filter(|id| !copies.contains_key(id.as_str())).collect();
    assert!(missing.is_empty(), "{} invitations are missing: {missing:?}", missing.len());
    let answered = guests.answered.lock().expect("no client panicked").clone();
    assert!(answered.iter().all(|message| committed.contains_key(message)), "an answered booking is gone");
    assert!(answered.len() >= bookings, "only {} bookings were answered", answered.len());

    // Beside the deaths, a lease that a busy machine lost puts what was in flight in doubt, and may send it twice.
    let in_doubt = in_doubt(data.path()).await;
    let unmarked = copies.iter().find(|(id, copies)| **copies > 1 && !in_doubt.contains(**id));
    assert_eq!(unmarked, None, "a duplicate of what was never in doubt");
    let duplicates = mails.len() - committed.len();
    let in_flight: Vec<String> = in_flight.into_values().flatten().collect();
    let lapsed = in_doubt.iter().filter(|id| !in_flight.contains(id)).count();
    println!(
        "{} kills, {} bookings asked for, {} appointments committed ({} answered), {} mails: {duplicates} duplicates, \
         {} were in flight, {lapsed} while a lease was lost",
        lives - 1,
        guests.asked.load(Ordering::SeqCst),
        committed.len(),
        answered.len(),
        mails.len(),
        in_flight.len(),
    );
    assert!(duplicates <= in_flight.len() + lapsed, "more duplicates than messages in flight");
}

async fn start(data_dir: &Path) -> App {
    let mut command = command(data_dir);
    command.env("OUTBOX_LEASE_MS", LEASE_MS.to_string());
    App::spawn(command).await
}

impl Guests {
    /// Books one after another until the clients together have `share` answers or the process is dead, with pauses
    /// of up to `pause` milliseconds.
    async fn book(self: Arc<Self>, api: SocketAddr, share: usize, pause: u64) {
        while self.answered.lock().expect("no client panicked").len() < share {
            let number = self.asked.fetch_add(1, Ordering::SeqCst);
            let body = json!({
                "name": format!("Guest {number}"),
                "email": format!("guest{number}@example.org"),
                "startsAtUtc": "2030-05-01T09:30:00Z",
                "endsAtUtc": "2030-05-01T10:00:00Z",
            });
            let answer =
                support::send(api, Method::POST, "/appointment", &[JSON], body.to_string().into()).await;
            // The process died under the request; whether it was committed, the database knows.
            let Ok(answer) = answer else { return };
            if answer.status == StatusCode::SERVICE_UNAVAILABLE {
                // The database is busy. The next guest tries.
                tokio::time::sleep(random_moment(100)).await;
                continue;
            }
            assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
            let message = answer.body["messageId"].as_str().expect("a message id").to_owned();
            self.answered.lock().expect("no client panicked").insert(message);
            self.answer.notify_one();
            tokio::time::sleep(random_moment(pause)).await;
        }
    }
}

/// What the dead process had in flight: for each batch in the journal, its messages that were not settled. A process
/// that was killed before it took over leaves the batches of the one before as they were. On a server the journal is no
/// JSON: there, each dead process counts for as many as it may have in flight.
async fn batches_in_flight(data_dir: &Path) -> BTreeMap<(i64, i64), Vec<String>> {
    if server::database(data_dir).is_some() {
        return BTreeMap::from([(
            (Uuid::now_v7().as_u64_pair().1 as i64, 0),
            vec!["of a server".to_owned(); 32],
        )]);
    }
    let rows = query(
        data_dir,
        "select epoch, batch_no, m.id from outbox_journal, json_each(places) as place
         join (select seq, id from outbox_messages union all select seq, id from outbox_deferred) as m
            on m.seq = place.value",
    )
    .await;
    let mut batches = BTreeMap::<_, Vec<String>>::new();
    for row in rows {
        batches.entry((row.get(0), row.get(1))).or_default().push(row.get(2));
    }
    batches
}

/// The delivered messages that were sent at least once without an answer, as the outbox knows it.
async fn in_doubt(data_dir: &Path) -> BTreeSet<String> {
    let sql =
        "select lower(cast(id as char(36))) from outbox_overview where state = 'delivered' and in_doubt";
    query(data_dir, sql).await.iter().map(|row| row.get(0)).collect()
}

/// Committed messages that are not settled yet.
async fn unsettled(data_dir: &Path) -> i64 {
    count(data_dir, "select (select count(*) from outbox_messages) + (select count(*) from outbox_deferred)")
        .await
}

fn random_moment(below_ms: u64) -> Duration {
    let random = Uuid::now_v7().as_u64_pair().1;
    Duration::from_millis(random % below_ms)
}
