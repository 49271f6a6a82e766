//! Dispatchers that are stopped for longer than their lease, and wake up.

use std::time::{Duration, Instant, SystemTime};

use crate::account::Account;
use crate::dispatcher::IN_FLIGHT;
use crate::home::Database;
use crate::load::{Load, random};
use crate::on;
use crate::process::Process;
use crate::receiver::Arrival;
use crate::run::{Run, times, until};

const STOPS: usize = 20;

/// A sleep of one dispatcher, and the session that it slept through.
struct Sleep {
    epoch: i64,
    woken: Instant,
    woken_at: SystemTime,
}

async fn a_dispatcher_that_slept_past_its_lease_writes_nothing_and_starts_no_send(database: Database) {
    let mut run = Run::on(database).await;
    let crew = run.crew(3).await;
    let load = Load::start(&run.outbox);
    let mut sleeps = Vec::new();
    for _ in 0..times(STOPS) {
        sleeps.push(sleep(&run, &crew, database).await);
    }
    load.stop().await;
    run.drained().await;
    for process in crew {
        process.stop().await;
    }

    for settled in run.receiver.settled() {
        let asleep = |sleep: &Sleep| sleep.epoch == settled.epoch && settled.asked > sleep.woken_at;
        assert!(!sleeps.iter().any(asleep), "a session that was taken over wrote {settled:?}");
    }
    // What had passed the look at the lease when the process was stopped may arrive late; the other copy is marked.
    let asleep = |arrival: &Arrival| {
        sleeps.iter().any(|sleep| sleep.epoch == arrival.epoch && arrival.at > sleep.woken)
    };
    let (late, in_time): (Vec<_>, Vec<_>) = run.receiver.arrivals().into_iter().partition(asleep);
    println!("{} sleeps, {} messages arrived late", sleeps.len(), late.len());
    assert!(late.len() <= sleeps.len() * IN_FLIGHT, "{} messages arrived late", late.len());
    for arrival in &late {
        let marked = in_time.iter().any(|other| other.id == arrival.id && other.in_doubt);
        assert!(marked, "a send of a session that was taken over: {arrival:?}");
    }
    let account = Account::of(&run.outbox.made().await.unwrap(), &in_time);
    account.spent_no_attempt();
    run.bounded(&account, 0);
}

/// Stops a dispatcher that owns something until the others own everything, and wakes it.
async fn sleep(run: &Run, crew: &[Process], database: Database) -> Sleep {
    let slots = |process: &Process| run.receiver.standing(&process.name).map_or(0, |standing| standing.slots);
    let sleeper = loop {
        until("a dispatcher owns something and delivers", async || {
            let all: usize = crew.iter().map(slots).sum();
            all == database.slots() && run.receiver.accepted() > 0
        })
        .await;
        let mut sleeper = &crew[random(crew.len())];
        if slots(sleeper) == 0 {
            sleeper = crew.iter().max_by_key(|process| slots(process)).unwrap();
        }
        sleeper.freeze();
        if run.outbox.accepts_writes().await {
            break sleeper;
        }
        // Stopped in the middle of a write to a file, it keeps every other writer waiting, and nobody can take over. In
        // the moment after it wakes somebody may: then it is another's turn to be stopped.
        sleeper.thaw();
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let epoch = run.receiver.standing(&sleeper.name).unwrap().epoch;
    until("the others own everything", async || {
        let others = crew.iter().filter(|process| process.name != sleeper.name);
        others.map(slots).sum::<usize>() == database.slots()
    })
    .await;
    let (woken, woken_at) = (Instant::now(), SystemTime::now());
    sleeper.thaw();
    until("the sleeper starts over", async || {
        run.receiver.standing(&sleeper.name).is_some_and(|standing| standing.epoch != epoch)
    })
    .await;
    Sleep { epoch, woken, woken_at }
}

on!(a_dispatcher_that_slept_past_its_lease_writes_nothing_and_starts_no_send: mariadb, postgres, sqlite);
