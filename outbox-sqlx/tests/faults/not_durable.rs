//! Producers that do not wait for their commits to be durable, and a server that loses some.

use std::collections::HashSet;
use std::time::Duration;

use outbox_core::MessageId;

use crate::home::{Database, Home};
use crate::load::{Load, random};
use crate::on;
use crate::run::{Run, times, until};
use crate::server::Server;

const CRASHES: usize = 30;

async fn nothing_is_delivered_that_a_crash_of_the_server_took_back(database: Database) {
    // The server writes what is not durable as late as it can.
    let mut server = Server::new(
        database,
        &["-c", "wal_writer_delay=10s", "-c", "commit_delay=20000", "-c", "commit_siblings=0"],
    )
    .await;
    let mut home = Home::at(database, &server.url()).await;
    home.url.push_str("&options[synchronous_commit]=off");
    let mut run = Run::at(home).await;
    // Longer than a restart takes: the sessions go on, with what they hold in memory.
    run.role.lease = Duration::from_secs(5);
    // Slow enough that much waits in memory.
    run.receiver.answer_after(Duration::from_millis(50));
    let crew = run.crew(3).await;
    let load = Load::start(&run.outbox);
    for _ in 0..times(CRASHES) {
        let before = run.receiver.accepted();
        until("deliveries go on", async || run.receiver.accepted() > before + 100).await;
        tokio::time::sleep(Duration::from_millis(random(200) as u64)).await;
        server.crash();
        server.start().await;
    }
    let committed = load.stop().await;
    let still: HashSet<MessageId> = run.outbox.made().await.unwrap().iter().map(|made| made.id).collect();
    let gone: HashSet<_> = committed.into_iter().filter(|id| !still.contains(id)).collect();
    let delivered = run.receiver.arrivals().iter().filter(|arrival| gone.contains(&arrival.id)).count();
    println!("{} commits were taken back, {delivered} of them delivered", gone.len());
    // Among others: every delivery is of a message that is still there.
    run.settle(crew, 0).await.spent_no_attempt();
}

on!(nothing_is_delivered_that_a_crash_of_the_server_took_back: postgres);
