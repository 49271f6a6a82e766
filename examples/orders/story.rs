//! What the program tells on the terminal: the life of a few orders, and what arrived where.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use uuid::Uuid;

use crate::database::Database;
use crate::orders::Orders;

/// How long everything may take to arrive.
const PATIENCE: Duration = Duration::from_secs(60);

/// Prints a line. Standard output may be a pipe that nobody reads any more, which is no reason to stop.
pub fn say(line: impl AsRef<str>) {
    let _ = writeln!(std::io::stdout(), "{}", line.as_ref());
}

/// Takes `count` orders through their lives, waits until all that was published is worked on, and tells about both.
pub async fn tell(orders: &Orders, database: &dyn Database, count: usize) -> Result<()> {
    say("\n1. Each step of an order is one transaction, with all its messages");
    let mut placed = Vec::with_capacity(count);
    for number in 0..count {
        placed.push(live(orders, number).await?);
    }

    let started = Instant::now();
    loop {
        match database.under_way().await? {
            0 => break,
            missing if started.elapsed() > PATIENCE => bail!(
                "{missing} messages have not arrived within {} s; the warnings above say why (if there is none, the \
                 brokers have not answered yet)",
                PATIENCE.as_secs()
            ),
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }

    say("\n2. What arrived where, and what was done about it");
    for order in &placed {
        say(format!("   order {order}"));
        for work in database.work(*order).await? {
            say(format!("     {:<24} {:<22} {}", work.record, work.message_type, work.what));
        }
    }
    say("\nEverything that was published has arrived, and was worked on once.");
    match database.refused().await? {
        0 => {}
        refused => say(format!("{refused} records were refused, and are kept in the table refused_record.")),
    }
    Ok(())
}

/// Of three orders one is confirmed, one confirmed and then cancelled, and one cancelled.
async fn live(orders: &Orders, number: usize) -> Result<Uuid> {
    let (customer, confirmed, cancelled) =
        [("Ada", true, false), ("Grace", true, true), ("Alan", false, true)][number % 3];
    let order = orders.place(Uuid::now_v7(), customer, 1_999 + 100 * (number % 50) as i64).await?;
    say(format!("   placed     {order} for {customer}"));
    if confirmed {
        orders.confirm(Uuid::now_v7(), order).await?;
        say(format!("   confirmed  {order}"));
    }
    if cancelled {
        orders.cancel(Uuid::now_v7(), order).await?;
        say(format!("   cancelled  {order}"));
    }
    Ok(order)
}
