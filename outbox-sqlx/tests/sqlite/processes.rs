//! Several processes on one file: this test binary runs itself again.

use std::collections::HashSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use outbox_core::{
    Delivery, Dispatcher, LeasedDispatcher, NewMessage, Outcome, PerMessage, Route, SendOne, Settings,
    async_trait,
};
use outbox_sqlx::SqliteOutbox;
use sqlx::SqlitePool;

use crate::fixture::{File, pool};

const KEYS: usize = 7;
const SENT_BY_EACH: usize = 300;
const PATIENCE: Duration = Duration::from_secs(120);

/// Starts this binary again, to run only [`a_process_of_another_test`] in `role`; killed when dropped.
fn start(role: &str, file: &Path) -> Process {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "processes::a_process_of_another_test", "--ignored", "--nocapture"])
        .env("OUTBOX_TEST_ROLE", role)
        .env("OUTBOX_TEST_FILE", file)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    Process(child)
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// Waits for its end, in which it must not have failed.
    async fn end(mut self, role: &str) {
        let ended = tokio::time::timeout(PATIENCE, async {
            loop {
                match self.0.try_wait().unwrap() {
                    Some(status) => break status,
                    None => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        });
        assert!(ended.await.expect("the process should end").success(), "the process {role} failed");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a process that the other tests of this file start"]
async fn a_process_of_another_test() {
    let Ok(role) = std::env::var("OUTBOX_TEST_ROLE") else { return };
    let file = std::env::var("OUTBOX_TEST_FILE").unwrap();
    let pool = pool(Path::new(&file)).await;
    let outbox = SqliteOutbox::new(pool.clone());
    match role.split_once(' ').unwrap_or((&role, "")) {
        ("migrate", _) => outbox.migrate().await.unwrap(),
        ("enqueue", name) => enqueue(&outbox, name).await,
        ("dispatch", _) => dispatch(outbox, pool).await,
        (other, _) => panic!("unknown role {other}"),
    }
}

async fn enqueue(outbox: &SqliteOutbox, name: &str) {
    use outbox_core::Enqueue;
    let mut number = 0;
    while number < SENT_BY_EACH {
        let mut tx = outbox.begin().await.unwrap();
        let count = (1 + number % 5).min(SENT_BY_EACH - number);
        let messages: Vec<_> = (number..number + count)
            .map(|n| NewMessage::builder("t").key(format!("{name}{}", n % KEYS)).json(&n).build().unwrap())
            .collect();
        outbox.enqueue(&mut tx, &messages).await.unwrap();
        // Some transactions do not commit.
        if number % 11 == 3 && count > 1 {
            tx.rollback().await.unwrap();
            let mut tx = outbox.begin().await.unwrap();
            outbox.enqueue(&mut tx, &messages[..1]).await.unwrap();
            outbox.commit(tx).await.unwrap();
            number += 1;
        } else {
            outbox.commit(tx).await.unwrap();
            number += count;
        }
    }
}

/// Delivers into a table of the same file.
struct Table(SqlitePool);

#[async_trait]
impl SendOne for Table {
    async fn send(&self, delivery: &Delivery) -> Outcome {
        let message = &delivery.message;
        let insert = sqlx::query("INSERT INTO arrived (message_key, number) VALUES (?, ?)")
            .bind(message.key.as_deref())
            .bind(std::str::from_utf8(&message.payload).unwrap());
        match insert.execute(&self.0).await {
            Ok(_) => Outcome::delivered(),
            Err(error) => Outcome::unavailable(error.to_string()),
        }
    }
}

async fn dispatch(outbox: SqliteOutbox, pool: SqlitePool) {
    let settings = Settings {
        lease: Duration::from_secs(1),
        poll_max: Duration::from_millis(50),
        ..Settings::default()
    };
    let route = Route::topic("t", PerMessage::new(4, Table(pool.clone())));
    let dispatcher = LeasedDispatcher::builder(outbox).settings(settings).route(route).build().unwrap();
    let done = async move {
        let stop = "SELECT count(*) FROM stop";
        while sqlx::query_scalar::<_, i64>(stop).fetch_one(&pool).await.unwrap() == 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    dispatcher.run(Box::pin(done)).await.unwrap();
}

#[tokio::test]
async fn processes_that_migrate_at_once_do_it_once() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..5 {
        let file = folder.path().join(format!("{round}.db"));
        let processes: Vec<_> = (0..4).map(|_| start("migrate", &file)).collect();
        for process in processes {
            process.end("migrate").await;
        }
        let applied: i64 = sqlx::query_scalar("SELECT count(*) FROM outbox_schema")
            .fetch_one(&pool(&file).await)
            .await
            .unwrap();
        assert_eq!(applied, 1);
    }
}

#[tokio::test]
async fn processes_enqueue_and_dispatch_side_by_side_and_a_killed_one_loses_nothing() {
    let file = File::new().await;
    file.execute("CREATE TABLE arrived (message_key TEXT, number INTEGER); CREATE TABLE stop (now INTEGER)")
        .await;
    let producers = ["a", "b"].map(|name| start(&format!("enqueue {name}"), &file.path()));
    let doomed = start("dispatch", &file.path());
    let arrived = "SELECT count(*) FROM arrived";
    let some = async {
        while file.number(arrived).await < 50 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, some).await.expect("the first dispatcher delivers");
    let successors = [start("dispatch", &file.path()), start("dispatch", &file.path())];
    drop(doomed); // SIGKILL, with messages in flight
    for producer in producers {
        producer.end("enqueue").await;
    }
    let empty = async {
        let left = "SELECT (SELECT count(*) FROM outbox_messages) + (SELECT count(*) FROM outbox_deferred)";
        while file.number(left).await > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, empty).await.expect("the successors deliver the rest");
    file.execute("INSERT INTO stop VALUES (1)").await;
    for successor in successors {
        successor.end("dispatch").await;
    }

    let rows: Vec<(String, i64)> = sqlx::query_as("SELECT message_key, number FROM arrived ORDER BY rowid")
        .fetch_all(&file.pool)
        .await
        .unwrap();
    let mut seen = HashSet::new();
    let mut first: Vec<(String, i64)> = rows.iter().filter(|row| seen.insert(*row)).cloned().collect();
    first.sort_by(|one, other| one.0.cmp(&other.0)); // stable: keeps the order within a key
    let mut sent: Vec<(String, i64)> = Vec::new();
    for name in ["a", "b"] {
        sent.extend((0..SENT_BY_EACH).map(|n| (format!("{name}{}", n % KEYS), n as i64)));
    }
    sent.sort();
    assert_eq!(first, sent, "every committed message arrived, and each key in its order");
}
