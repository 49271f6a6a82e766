//! A transaction that stays open for the whole run.

use std::time::Duration;

use outbox_core::MessageId;

use crate::home::Database;
use crate::load::{KEYS, Load};
use crate::on;
use crate::outbox::Made;
use crate::process::Process;
use crate::run::{Run, times, until};

const SECONDS: usize = 60;

async fn a_reader_that_stays_open_slows_nobody(database: Database) {
    let (mut run, crew) = start(database).await;
    let held = run.outbox.hold(database.reader(), Vec::new()).await;
    beside(&mut run).await;
    held.commit().await;
    run.settle(crew, 0).await.spent_no_attempt();
}

async fn a_writer_of_other_tables_that_stays_open_slows_nobody(database: Database) {
    let (mut run, crew) = start(database).await;
    run.outbox.execute("CREATE TABLE elsewhere (number bigint)").await.unwrap();
    let held = run.outbox.hold("INSERT INTO elsewhere VALUES (1)", Vec::new()).await;
    beside(&mut run).await;
    held.commit().await;
    run.settle(crew, 0).await.spent_no_attempt();
}

async fn a_writer_of_the_outbox_that_stays_open_holds_up_nobody_and_keeps_its_order(database: Database) {
    let (mut run, crew) = start(database).await;
    // Its place is earlier than that of every other message of the run.
    let of_key = |number| Made { key: KEYS, number, id: MessageId::generate() };
    let held = run.outbox.hold("SELECT 1", vec![of_key(1)]).await;
    run.outbox.make(&[of_key(0)]).await.unwrap();
    beside(&mut run).await;
    held.commit().await;
    run.outbox.make(&[of_key(2)]).await.unwrap();
    run.settle(crew, 0).await.spent_no_attempt();
}

async fn start(database: Database) -> (Run, Vec<Process>) {
    let mut run = Run::on(database).await;
    let crew = run.crew(3).await;
    (run, crew)
}

/// Enqueues for a while; everything that is committed arrives while the transaction is still open.
async fn beside(run: &mut Run) {
    let load = Load::start(&run.outbox);
    for _ in 0..times(SECONDS) {
        let before = run.receiver.accepted();
        tokio::time::sleep(Duration::from_secs(1)).await;
        println!("{} messages a second", run.receiver.accepted() - before);
    }
    load.stop().await;
    let made = run.outbox.made().await.unwrap().len();
    until("what was committed arrives", async || run.receiver.accepted() == made).await;
}

on!(a_reader_that_stays_open_slows_nobody: mariadb, postgres, sqlite);
on!(a_writer_of_other_tables_that_stays_open_slows_nobody: mariadb, postgres);
on!(a_writer_of_the_outbox_that_stays_open_holds_up_nobody_and_keeps_its_order: mariadb, postgres);
