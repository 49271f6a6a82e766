//! The database is restarted, closes connections, or can be reached no more although nothing was closed.

use std::time::{Duration, Instant};

use crate::home::{Database, Home};
use crate::load::Load;
use crate::on;
use crate::proxy::Proxy;
use crate::run::{Run, times, until};
use crate::server::Server;

const RESTARTS: usize = 20;
const CUTS: usize = 100;
const SILENCES: usize = 20;

async fn a_restarted_database_gets_its_messages_delivered_afterwards(database: Database) {
    let mut server = Server::new(database, &[]).await;
    let mut run = Run::at(Home::at(database, &server.url()).await).await;
    let crew = run.crew(3).await;
    let load = Load::start(&run.outbox);
    for restart in 0..times(RESTARTS) {
        delivers(&run).await;
        if restart % 2 == 0 {
            server.crash()
        } else {
            server.stop()
        }
        server.start().await;
        recovers(&run, "a restart").await;
    }
    load.stop().await;
    run.settle(crew, 0).await.spent_no_attempt();
}

async fn connections_that_the_server_closes_are_opened_again(database: Database) {
    let mut run = Run::on(database).await;
    let crew = run.crew(3).await;
    let load = Load::start(&run.outbox);
    for _ in 0..times(CUTS) {
        tokio::time::sleep(Duration::from_millis(200)).await;
        run.home.cut_connections().await;
    }
    recovers(&run, "the last cut").await;
    load.stop().await;
    run.settle(crew, 0).await.spent_no_attempt();
}

async fn connections_that_go_silent_are_given_up(database: Database) {
    let mut run = Run::on(database).await;
    let (proxy, url) = Proxy::before(&run.home.url).await;
    run.role.url = url;
    let crew = run.crew(3).await;
    let load = Load::start(&run.outbox);
    for _ in 0..times(SILENCES) {
        delivers(&run).await;
        proxy.silence();
        tokio::time::sleep(Duration::from_secs(2)).await;
        proxy.heal();
        recovers(&run, "a silence").await;
    }
    load.stop().await;
    run.settle(crew, 0).await.spent_no_attempt();
}

async fn one_dispatcher_that_hears_nothing_from_the_database_is_replaced_by_the_others(database: Database) {
    let mut run = Run::on(database).await;
    let (proxy, url) = Proxy::before(&run.home.url).await;
    let mut crew = run.crew(2).await;
    run.role.url = url;
    let deaf = run.crew(1).await.remove(0);
    until("it has its share", async || run.receiver.standing(&deaf.name).is_some_and(|of| of.slots > 0))
        .await;
    let load = Load::start(&run.outbox);
    delivers(&run).await;
    proxy.silence();
    until("the others own everything", async || {
        let slots = crew.iter().filter_map(|process| run.receiver.standing(&process.name));
        slots.map(|standing| standing.slots).sum::<usize>() == database.slots()
    })
    .await;
    recovers(&run, "the silence of one").await;
    proxy.heal();
    crew.push(deaf);
    load.stop().await;
    run.settle(crew, 0).await.spent_no_attempt();
}

/// Waits until something new is delivered.
async fn delivers(run: &Run) {
    let before = run.receiver.accepted();
    until("deliveries go on", async || run.receiver.accepted() > before + 100).await;
}

async fn recovers(run: &Run, from: &str) {
    let (started, before) = (Instant::now(), run.receiver.accepted());
    until("deliveries resume", async || run.receiver.accepted() > before).await;
    println!("first delivery {:?} after {from}", started.elapsed());
}

on!(a_restarted_database_gets_its_messages_delivered_afterwards: mariadb, postgres);
on!(connections_that_the_server_closes_are_opened_again: mariadb, postgres);
on!(connections_that_go_silent_are_given_up: mariadb, postgres);
on!(one_dispatcher_that_hears_nothing_from_the_database_is_replaced_by_the_others: mariadb, postgres);
