//! A message that kills the process which delivers it, each time.

use outbox_core::{MessageId, MessageState};

use crate::home::Database;
use crate::load::{KEYS, Load};
use crate::on;
use crate::outbox::Made;
use crate::receiver::Answer;
use crate::run::{Run, until};

/// The key of the message that kills.
const KEY: i64 = KEYS;

async fn a_message_that_kills_its_process_ends_as_a_dead_letter_and_spares_its_neighbours(
    database: Database,
) {
    let mut run = Run::on(database).await;
    run.receiver.answer(
        |arrival| {
            if arrival.key == KEY && arrival.number == 0 { Answer::Die } else { Answer::Accept }
        },
    );
    let mut crew = run.crew(3).await;
    let load = Load::start(&run.outbox);
    until("deliveries go on", async || run.receiver.accepted() > 100).await;
    let of_key = |number| Made { key: KEY, number, id: MessageId::generate() };
    run.outbox.make(&[of_key(0), of_key(1)]).await.unwrap();

    let mut deaths = 0;
    let mut dead = 0;
    while dead == 0 {
        for process in &mut crew {
            if process.ended().is_some() {
                deaths += 1;
                assert!(deaths <= 5, "a message that kills is given up after five deaths");
                *process = run.start();
            }
        }
        let counts = run.outbox.admin().counts().await.unwrap();
        dead = counts.iter().map(|topic| topic.of(MessageState::Dead)).sum();
    }
    println!("a dead letter after {deaths} deaths");
    load.stop().await;
    let account =
        run.settle_in(crew, deaths, |made| made.retain(|made| (made.key, made.number) != (KEY, 0))).await;
    account.spent_no_attempt();
}

on!(a_message_that_kills_its_process_ends_as_a_dead_letter_and_spares_its_neighbours: mariadb, postgres, sqlite);
