//! Dispatchers that join and leave under load.

use std::time::Duration;

use crate::home::Database;
use crate::load::Load;
use crate::on;
use crate::process::Process;
use crate::run::{Run, times, until};

const ROUNDS: usize = 10;

async fn two_dispatchers_join_and_two_leave_without_a_duplicate(database: Database) {
    let mut run = Run::on(database).await;
    let mut crew = run.crew(2).await;
    let load = Load::start(&run.outbox);
    for _ in 0..times(ROUNDS) {
        shared(&run, &crew, database).await;
        crew.push(run.start());
        crew.push(run.start());
        shared(&run, &crew, database).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let (one, other) = (crew.remove(0), crew.remove(0));
        tokio::join!(one.stop(), other.stop());
    }
    shared(&run, &crew, database).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    load.stop().await;
    run.settle(crew, 0).await.spent_no_attempt();
    let arrivals = run.receiver.arrivals();
    let pause = arrivals.windows(2).map(|two| two[1].at - two[0].at).max().unwrap();
    println!("the longest pause between two deliveries: {pause:?}");
}

/// Waits until the slots are shared evenly.
pub(crate) async fn shared(run: &Run, crew: &[Process], database: Database) {
    let share = database.slots().div_ceil(crew.len());
    until("the slots are shared evenly", async || {
        let slots: Vec<usize> = crew
            .iter()
            .filter_map(|process| run.receiver.standing(&process.name))
            .map(|of| of.slots)
            .collect();
        slots.len() == crew.len()
            && slots.iter().sum::<usize>() == database.slots()
            && slots.iter().all(|slots| *slots <= share)
    })
    .await;
}

on!(two_dispatchers_join_and_two_leave_without_a_duplicate: mariadb, postgres, sqlite);
