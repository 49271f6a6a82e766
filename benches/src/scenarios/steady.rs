//! A steady flow and one dispatcher: how late messages are, and whether a backlog grows.

use super::Context;
use crate::figures::{Spread, Table, percentile};
use crate::flow::flow;
use crate::output::Chart;
use crate::output::Goal::{AtMost, None as Stated};

const RATE: usize = 10_000;

pub(super) async fn run(context: &mut Context<'_>) {
    let rate = context.messages(RATE);
    let lasts = context.seconds(60);
    let bed = context.database.open(false).await;
    let flow = flow(&*bed, rate, lasts).await;
    let one = |figure: f64| Spread::of(&[figure]);
    let report = &mut context.report;
    report.setting("messages a second", rate);
    report.setting("seconds", lasts.as_secs());
    let mut table = Table::new("From the commit to the delivery", "ms");
    for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
        table.add(name, percentile(&flow.latencies, share));
    }
    report.aim("p99 from the commit to the delivery, ms", AtMost(50.0), table.spread("p99"));
    let last = flow.backlog.iter().rev().take(10).map(|(_, behind)| *behind).collect::<Vec<_>>();
    report.aim("backlog in the last ten seconds, messages", AtMost(rate as f64 / 10.0), Spread::of(&last));
    report.aim("messages delivered a second", Stated, one(flow.delivered_a_second));
    report.aim("processor time of enqueueing and delivering, µs a message", Stated, one(flow.own));
    if flow.server > 0.0 {
        report.aim("processor time of the database server, µs a message", Stated, one(flow.server));
    }
    report.tables = vec![table];
    report.charts = vec![Chart {
        title: format!("Backlog at {rate} messages a second"),
        x: "seconds",
        y: "messages committed and not delivered",
        lines: vec![("backlog".to_owned(), flow.backlog)],
    }];
}
