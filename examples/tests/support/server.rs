//! The tests of the appointment example once more, with its data on a database server: each test, by its data folder,
//! gets a database of its own there.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use sqlx::{AnyConnection, AssertSqlSafe, Connection, Row};
use uuid::Uuid;

/// Tells a run of the tests which server to use: the URL of a database there, up to the start of its name.
const ON: &str = "APPOINTMENT_TESTS_ON";

/// Runs the tests of `target`, all or those named, on the server of `url` (a database there that exists).
pub async fn run_again(url: &str, target: &str, tests: &[&str]) {
    let (server, _) = url.rsplit_once('/').expect("the URL names a database");
    let prefix = format!("appointment_{}", Uuid::now_v7().simple());
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["test", "--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    cargo.args(["--test", target, "--", "--exact"]).args(tests).env(ON, format!("{server}/{prefix}"));
    let run = tokio::task::spawn_blocking(move || cargo.output()).await.expect("no panic").expect("it runs");
    remove(url, &prefix).await;
    let printed = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{printed}{}", String::from_utf8_lossy(&run.stderr));
    let passed = printed.lines().filter(|line| line.ends_with("... ok")).count();
    assert!(passed > 0 && passed >= tests.len(), "only {passed} ran:\n{printed}");
}

/// The database of a test; `None` where it is an SQLite file.
pub fn database(data_dir: &Path) -> Option<String> {
    static CREATED: Mutex<Option<HashSet<String>>> = Mutex::new(None);
    let start = std::env::var(ON).ok()?;
    let mut hash = DefaultHasher::new();
    data_dir.hash(&mut hash);
    let url = format!("{start}_{:016x}", hash.finish());
    let mut created = CREATED.lock().expect("no test panicked here");
    if created.get_or_insert_default().insert(url.clone()) {
        // On a thread of its own, since the caller cannot wait.
        let url = url.clone();
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(create(&url));
        })
        .join()
        .expect("the database is created");
    }
    Some(url)
}

/// Creates the database of `url`.
pub async fn create(url: &str) {
    let (server, name) = url.rsplit_once('/').expect("the URL names a database");
    execute(&entry(server), format!("create database {name}")).await;
}

/// Removes the databases whose names start with `prefix` from the server of `url`.
pub async fn remove(url: &str, prefix: &str) {
    let (server, _) = url.rsplit_once('/').expect("the URL names a database");
    let entry = entry(server);
    let (sql, force) = if entry.starts_with("mysql") {
        ("select cast(schema_name as char) from information_schema.schemata", "")
    } else {
        ("select datname::text from pg_database", " with (force)")
    };
    let mut connection = connect(&entry).await;
    let rows = sqlx::query(sql).fetch_all(&mut connection).await.expect("the databases can be listed");
    for name in rows.iter().map(|row| row.get::<String, _>(0)).filter(|name| name.starts_with(prefix)) {
        execute(&entry, format!("drop database {name}{force}")).await;
    }
}

/// The database that every server has.
fn entry(server: &str) -> String {
    let database = if server.starts_with("mysql") { "mysql" } else { "postgres" };
    format!("{server}/{database}")
}

async fn execute(url: &str, sql: String) {
    let mut connection = connect(url).await;
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.expect("the server obeys");
}

async fn connect(url: &str) -> AnyConnection {
    sqlx::any::install_default_drivers();
    AnyConnection::connect(url).await.expect("the server can be reached")
}
