//! Dispatchers that are told to stop under load, one after another.

use std::time::{Duration, Instant};

use crate::home::Database;
use crate::load::Load;
use crate::on;
use crate::run::{Run, times, until};

const SHUTDOWNS: usize = 50;

async fn a_shutdown_under_load_settles_what_is_in_flight_and_gives_the_lease_back(database: Database) {
    let mut run = Run::on(database).await;
    // Longer than the test waits for anything: what is not given back is missed.
    run.role.lease = Duration::from_secs(600);
    let load = Load::start(&run.outbox);
    let mut working = run.start();
    for _ in 0..times(SHUTDOWNS) {
        let before = run.receiver.accepted();
        until("deliveries go on", async || run.receiver.accepted() > before + 50).await;
        let took = working.stop().await;
        let (asked, before) = (Instant::now(), run.receiver.accepted());
        working = run.start();
        until("a successor delivers", async || run.receiver.accepted() > before).await;
        println!("stopped within {took:?}, a successor delivers {:?} after it was started", asked.elapsed());
    }
    load.stop().await;
    run.settle(vec![working], 0).await.spent_no_attempt();
}

on!(a_shutdown_under_load_settles_what_is_in_flight_and_gives_the_lease_back: mariadb, postgres, sqlite);
