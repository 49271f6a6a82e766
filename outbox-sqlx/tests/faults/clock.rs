//! Dispatchers whose clock is an hour off. SQLite is left out: its clock is that of the machine, and processes on one
//! file share that.

use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::home::Database;
use crate::joining::shared;
use crate::load::Load;
use crate::on;
use crate::run::{Run, until};

async fn a_dispatcher_whose_clock_is_an_hour_off_changes_nothing(database: Database) {
    let mut run = Run::on(database).await;
    let mut crew = run.crew(2).await;
    for offset in ["+3600", "-3600"] {
        crew.push(run.start_with(&faketime(offset)));
    }
    run.present(&crew).await;
    let off = |at: SystemTime| {
        let now = SystemTime::now();
        let apart = now.duration_since(at).or_else(|_| at.duration_since(now)).unwrap();
        apart > Duration::from_secs(3_000)
    };
    let load = Load::start(&run.outbox);
    shared(&run, &crew, database).await;
    for process in &crew[2..] {
        let epoch = run.receiver.standing(&process.name).unwrap().epoch;
        until("a dispatcher with a wrong clock settles", async || {
            run.receiver.settled().iter().any(|settled| settled.epoch == epoch && off(settled.asked))
        })
        .await;
    }
    // One of each dies, and the others take over.
    crew.swap_remove(0).kill();
    let faked = crew.pop().unwrap();
    let id = faked.id();
    faked.kill();
    clear_after(id);
    shared(&run, &crew, database).await;
    load.stop().await;
    run.settle(crew, 2).await.spent_no_attempt();
}

/// The variables that put a process's wall clock off by so many seconds. Its monotonic clock is left alone: it never
/// tells the time, and sleeping threads are woken by the true one.
fn faketime(offset: &str) -> Vec<(String, String)> {
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    vec![
        variable("LD_PRELOAD", &library()),
        variable("FAKETIME", offset),
        variable("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ]
}

/// The library that does it, as the command faketime names it. The command makes files that are called by its process's
/// number and fails where another with that number was killed and left its own, so it is asked again.
fn library() -> String {
    let asked = || Command::new("faketime").args(["-f", "+0", "printenv", "LD_PRELOAD"]).output();
    let mut said = String::new();
    for _ in 0..10 {
        let found = asked().expect("libfaketime is installed, with its command faketime; see scripts/faults");
        let library = String::from_utf8_lossy(&found.stdout).trim().to_owned();
        if !library.is_empty() {
            return library;
        }
        said = String::from_utf8_lossy(&found.stderr).into_owned();
    }
    panic!("faketime should name its library, and said: {said}");
}

/// Removes what the library leaves of a process that was killed: its POSIX semaphore and shared memory.
fn clear_after(id: u32) {
    for name in [format!("sem.faketime_sem_{id}"), format!("faketime_shm_{id}")] {
        // It makes none where another's, left behind, had that name.
        let _ = std::fs::remove_file(std::path::Path::new("/dev/shm").join(name));
    }
}

on!(a_dispatcher_whose_clock_is_an_hour_off_changes_nothing: mariadb, postgres);
