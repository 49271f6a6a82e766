//! Dispatchers that are killed, again and again.

use std::time::Duration;

use crate::home::Database;
use crate::load::{Load, random};
use crate::on;
use crate::run::{Run, times};

const KILLS: usize = 200;

async fn dispatchers_killed_at_random_lose_nothing_and_keep_the_order(database: Database) {
    let mut run = Run::on(database).await;
    let mut crew = run.crew(3).await;
    let load = Load::start(&run.outbox);
    let kills = times(KILLS);
    for _ in 0..kills {
        tokio::time::sleep(Duration::from_millis(150 + random(300) as u64)).await;
        let victim = random(crew.len());
        crew.swap_remove(victim).kill();
        crew.push(run.start());
    }
    load.stop().await;
    run.settle(crew, kills).await.spent_no_attempt();
}

on!(dispatchers_killed_at_random_lose_nothing_and_keep_the_order: mariadb, postgres, sqlite);
