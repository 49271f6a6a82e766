//! Enqueueing in bulk, against the database's own fastest way in.

use std::time::Instant;

use super::Context;
use crate::database::{Bed as _, Database, PostgresBed};
use crate::figures::Table;
use crate::load::{Load, PAYLOAD, TOPIC};
use crate::output::Goal::AtLeast;

const KEYS: usize = 10_000;

pub(super) async fn run(context: &mut Context<'_>) {
    let messages = context.messages(50_000);
    let rounds = context.rounds(7);
    let copy = "COPY, 1000 a transaction";
    let mut table = Table::new("Enqueue in bulk", "messages/s");
    if context.database == Database::Postgres {
        table = table.over(copy);
    }
    for round in 0..rounds {
        eprintln!("  round {} of {rounds}", round + 1);
        for batch in [10, 100, 1_000] {
            let bed = context.database.open(false).await;
            // A tenth of the messages is enough for the small transactions.
            let count = if batch < 100 { messages / 10 } else { messages };
            let parts: Vec<_> = Load::first(count, KEYS).parts(batch).map(|part| part.messages()).collect();
            let started = Instant::now();
            for part in &parts {
                bed.enqueue(part).await;
            }
            table.add(format!("{batch} a transaction"), count as f64 / started.elapsed().as_secs_f64());
            assert_eq!(bed.left().await, count, "every message was stored");
        }
        if context.database == Database::Postgres {
            table.add(copy, copy_in(messages, 1_000).await);
        }
    }
    context.report.setting("messages", messages);
    let ratio = table.ratio("1000 a transaction", copy);
    context.report.aim("bulk enqueue, 1,000 a transaction ÷ COPY of the same rows", AtLeast(0.5), ratio);
    context.report.tables = vec![table];
}

/// The same columns into the same table by `COPY` in its binary form, one transaction per batch.
async fn copy_in(messages: usize, batch: usize) -> f64 {
    let bed = PostgresBed::new(false).await;
    let parts: Vec<Vec<u8>> = Load::first(messages, KEYS).parts(batch).map(binary).collect();
    let mut conn = bed.pool.acquire().await.expect("a connection");
    let started = Instant::now();
    for part in parts {
        let sql = "COPY outbox_messages (id, topic, message_type, message_key, content_type, payload)
            FROM STDIN (FORMAT binary)";
        let mut copy = conn.copy_in_raw(sql).await.expect("COPY begins");
        copy.send(part).await.expect("COPY goes on");
        copy.finish().await.expect("COPY ends");
    }
    let rate = messages as f64 / started.elapsed().as_secs_f64();
    assert_eq!(bed.left().await, messages, "every row was stored");
    rate
}

/// Rows as `COPY` reads them, <https://www.postgresql.org/docs/current/sql-copy.html>.
fn binary(part: Load) -> Vec<u8> {
    let mut rows = b"PGCOPY\n\xff\r\n\0".to_vec();
    rows.extend([0; 8]);
    let field = |rows: &mut Vec<u8>, bytes: &[u8]| {
        rows.extend(u32::try_from(bytes.len()).expect("a short field").to_be_bytes());
        rows.extend(bytes);
    };
    for message in part.messages() {
        assert_eq!(message.payload().len(), PAYLOAD);
        rows.extend(6_i16.to_be_bytes());
        field(&mut rows, message.id().as_uuid().as_bytes());
        field(&mut rows, TOPIC.as_bytes());
        field(&mut rows, message.message_type().as_bytes());
        field(&mut rows, message.key().unwrap_or_default().as_bytes());
        field(&mut rows, message.content_type().as_bytes());
        field(&mut rows, message.payload());
    }
    rows.extend((-1_i16).to_be_bytes());
    rows
}
