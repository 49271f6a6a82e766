//! One key that always fails, with a long line behind it.

use std::time::Duration;

use outbox_core::{Act, MessageId, MessageState, Selection};

use crate::home::Database;
use crate::load::{KEYS, Load};
use crate::on;
use crate::outbox::{Made, TOPIC};
use crate::process::Process;
use crate::receiver::Answer;
use crate::run::{Run, times, until};

/// Messages behind the one that fails.
const BEHIND: usize = 100_000;

/// The key that fails.
const KEY: i64 = KEYS;

async fn a_key_goes_on_without_the_message_that_always_fails(database: Database) {
    let (mut run, crew) = start(database, false).await;
    fails_beside_the_others(&mut run, MessageState::Dead).await;
    until("the key goes on", async || run.receiver.arrivals().iter().any(|a| a.key == KEY && a.number == 1))
        .await;
    redrive(&run, MessageState::Dead).await;
    run.settle_in(crew, 0, |made| {
        // What the key went on without joins at its end.
        let head = made.iter().position(|made| made.key == KEY && made.number == 0).unwrap();
        let head = made.remove(head);
        made.push(head);
    })
    .await;
    only_the_head_spent_attempts(&run);
}

async fn a_parked_key_waits_and_follows_in_order_once_its_head_is_redriven(database: Database) {
    let (mut run, crew) = start(database, true).await;
    fails_beside_the_others(&mut run, MessageState::Parked).await;
    let behind = run.receiver.arrivals().iter().filter(|a| a.key == KEY && a.number > 0).count();
    assert_eq!(behind, 0, "what is behind a parked dead letter waits");
    redrive(&run, MessageState::Parked).await;
    run.settle(crew, 0).await;
    only_the_head_spent_attempts(&run);
}

async fn start(database: Database, park: bool) -> (Run, Vec<Process>) {
    let mut run = Run::on(database).await;
    run.role.delays = vec![Duration::from_millis(200); 5];
    run.role.park = park;
    run.receiver.answer(|arrival| {
        if arrival.key == KEY && arrival.number == 0 { Answer::Fail } else { Answer::Accept }
    });
    run.receiver.answer_after(Duration::ZERO);
    let crew = run.crew(3).await;
    (run, crew)
}

/// Messages of the others flow while the key's head fails, until it is a dead letter.
async fn fails_beside_the_others(run: &mut Run, ends: MessageState) {
    let load = Load::start(&run.outbox);
    rate(run, "without the key").await;
    let line: Vec<Made> = (0..=times(BEHIND) as i64)
        .map(|number| Made { key: KEY, number, id: MessageId::generate() })
        .collect();
    for part in line.chunks(1_000) {
        run.outbox.make(part).await.unwrap();
    }
    until("the head is a dead letter", async || count(run, ends).await == 1).await;
    rate(run, "beside the key").await;
    load.stop().await;
    let others = run.outbox.made().await.unwrap().len() - line.len();
    until("the others arrive", async || run.receiver.accepted() >= others).await;
}

async fn redrive(run: &Run, state: MessageState) {
    run.receiver.answer(|_| Answer::Accept);
    let all = Selection::All { topic: Some(TOPIC.to_owned()), state: Some(state) };
    let act = Act::new("the person on call", "the destination takes it now");
    assert_eq!(run.outbox.admin().redrive(&all, &act).await.unwrap(), 1);
}

async fn rate(run: &Run, what: &str) {
    let before = run.receiver.accepted();
    tokio::time::sleep(Duration::from_secs(1)).await;
    println!("{} messages a second {what}", run.receiver.accepted() - before);
}

async fn count(run: &Run, state: MessageState) -> u64 {
    run.outbox.admin().counts().await.unwrap().iter().map(|topic| topic.of(state)).sum()
}

fn only_the_head_spent_attempts(run: &Run) {
    for arrival in run.receiver.arrivals() {
        let head = arrival.key == KEY && arrival.number == 0;
        assert!(head || arrival.attempt == 1, "an attempt was spent on {arrival:?}");
    }
}

on!(a_key_goes_on_without_the_message_that_always_fails: mariadb, postgres, sqlite);
on!(a_parked_key_waits_and_follows_in_order_once_its_head_is_redriven: mariadb, postgres, sqlite);
