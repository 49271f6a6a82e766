//! The destination is down for longer than all backoffs together.

use std::time::Duration;

use crate::home::Database;
use crate::load::Load;
use crate::on;
use crate::receiver::Answer;
use crate::run::{Run, times, until};

const SECONDS: usize = 30;

async fn an_outage_longer_than_all_backoffs_spends_no_attempt_and_ends_nothing(database: Database) {
    let mut run = Run::on(database).await;
    run.role.delays = vec![Duration::from_millis(20); 5];
    let crew = run.crew(3).await;
    let load = Load::start(&run.outbox);
    until("deliveries go on", async || run.receiver.accepted() > 100).await;
    run.receiver.answer(|_| Answer::Down);
    tokio::time::sleep(Duration::from_secs(times(SECONDS) as u64)).await;
    load.stop().await;
    let refused = run.receiver.arrivals().iter().filter(|arrival| arrival.answer == Answer::Down).count();
    println!("{refused} deliveries were refused");
    run.receiver.answer(|_| Answer::Accept);
    run.settle(crew, 0).await.spent_no_attempt();
}

on!(an_outage_longer_than_all_backoffs_spends_no_attempt_and_ends_nothing: mariadb, postgres, sqlite);
