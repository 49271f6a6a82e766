//! A transaction of somebody else that stays open: whether reading slows down and a backlog grows.

use super::Context;
use crate::database::PostgresBed;
use crate::figures::{Spread, Table};
use crate::flow::flow;
use crate::output::Chart;
use crate::output::Goal::{AtMost, None as Stated};

const RATE: usize = 8_000;

/// What is held open, and the SQL that does it.
const HELD: [(&str, &str); 3] = [
    ("nothing held", "SELECT 1"),
    ("a snapshot held", "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM business"),
    ("a writer held", "BEGIN; INSERT INTO business (name) VALUES ('held')"),
];

pub(super) async fn run(context: &mut Context<'_>) {
    context.needs_postgres();
    let rate = context.messages(RATE);
    let lasts = context.seconds(60);
    let seconds = lasts.as_secs_f64();
    let part = (seconds / 6.0).max(1.0);
    let mut table = Table::new("Median claim", "ms");
    let mut charts = [("Median claim", "ms"), ("Backlog", "messages")].map(|(title, y)| Chart {
        title: format!("{title} at {rate} messages a second"),
        x: "seconds",
        y,
        lines: Vec::new(),
    });
    for (name, sql) in HELD {
        if !context.arguments.wants(name) {
            continue;
        }
        eprintln!("    {name}");
        let bed = PostgresBed::new(false).await;
        let mut holder = bed.connect().await;
        sqlx::raw_sql(sql).execute(&mut holder).await.expect("our SQL is right");
        let flow = flow(&bed, rate, lasts).await;
        sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.expect("it was held all the time");
        // The first second prepares statements and opens connections.
        let first = flow.claims_between(1.0, 1.0 + part).unwrap_or(f64::NAN);
        let last = flow.claims_between(seconds - part, seconds).unwrap_or(f64::NAN);
        table.add(format!("{name}, at first"), first);
        table.add(format!("{name}, at last"), last);
        let report = &mut context.report;
        report.aim(format!("{name}: claim at last ÷ at first"), AtMost(1.5), Spread::of(&[last / first]));
        let ends = flow.backlog.iter().filter(|(at, _)| *at >= seconds - part).map(|(_, behind)| *behind);
        let ends = Spread::of(&ends.collect::<Vec<_>>());
        report.aim(format!("{name}: backlog at last, messages"), AtMost(rate as f64 / 5.0), ends);
        let delivered = Spread::of(&[flow.delivered_a_second]);
        report.aim(format!("{name}: messages delivered a second"), Stated, delivered);
        charts[0].lines.push((name.to_owned(), flow.claims_by_second()));
        charts[1].lines.push((name.to_owned(), flow.backlog));
    }
    context.report.setting("messages a second", rate);
    context.report.setting("seconds", lasts.as_secs());
    context.report.tables = vec![table];
    context.report.charts = charts.into();
}
