//! From the commit to the record that Kafka has acknowledged, on an idle system.

use super::{Context, latency};
use crate::cluster::Topic;
use crate::figures::{Table, percentile};
use crate::output::Goal::AtMost;
use crate::receiver::Receiver;

pub(super) async fn run(context: &mut Context<'_>) {
    let messages = context.messages(500);
    let rounds = context.rounds(3);
    let mut table = Table::new("From the commit to the acknowledged record, 50 messages a second", "ms");
    for round in 0..rounds {
        eprintln!("  round {} of {rounds}", round + 1);
        let topic = Topic::new().await;
        let receiver = Receiver::with_times(messages + 1, 0);
        let transport = topic.transport(receiver.clone());
        let late = latency::here(context.database, messages, &receiver, transport).await;
        topic.check(messages + 1, 0).await;
        for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
            table.add(name, percentile(&late, share));
        }
    }
    context.report.setting("messages a round", messages);
    for (name, goal) in [("p50", 8.0), ("p99", 30.0)] {
        let what = format!("commit to acknowledged record, {name}, ms");
        context.report.aim(what, AtMost(goal), table.spread(name));
    }
    context.report.tables = vec![table];
}
