//! A transaction of somebody else that stays open: whether reading slows down and a backlog grows.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::Context;
use crate::database::PostgresBed;
use crate::figures::{Spread, Table};
use crate::flow::{Flow, flow};
use crate::output::Chart;
use crate::output::Goal::{AtLeast, AtMost, None as Stated};

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
    let mut rows = Table::new("Rows and index entries read a claim", "rows");
    let mut alone = None;
    let mut charts =
        [("Median claim", "ms"), ("Backlog", "messages"), ("Rows read a claim", "rows")].map(|(title, y)| {
            Chart {
                title: format!("{title} at {rate} messages a second"),
                x: "seconds",
                y,
                lines: Vec::new(),
            }
        });
    for (name, sql) in HELD {
        if !context.arguments.wants(name) {
            continue;
        }
        eprintln!("    {name}");
        let bed = PostgresBed::new(false).await;
        let mut holder = bed.connect().await;
        sqlx::raw_sql(sql).execute(&mut holder).await.expect("our SQL is right");
        let read = Mutex::new(Vec::new());
        let flow = tokio::select! {
            flow = flow(&bed, rate, lasts) => flow,
            () = count_reads(&bed, &read) => unreachable!("it counts for ever"),
        };
        let read = read.into_inner().expect("nobody panics while counting");
        sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.expect("it was held all the time");
        // The first second prepares statements and opens connections.
        let first = flow.claims_between(1.0, 1.0 + part).unwrap_or(f64::NAN);
        let last = flow.claims_between(seconds - part, seconds).unwrap_or(f64::NAN);
        table.add(format!("{name}, at first"), first);
        table.add(format!("{name}, at last"), last);
        let report = &mut context.report;
        report.aim(format!("{name}: claim at last ÷ at first"), AtMost(1.5), Spread::of(&[last / first]));
        let reads = |from, to| rows_a_claim(&read, &flow, from, to);
        let (first, last) = (reads(1.0, 1.0 + part), reads(seconds - part, seconds));
        rows.add(format!("{name}, at first"), first);
        rows.add(format!("{name}, at last"), last);
        let report = &mut context.report;
        report.aim(
            format!("{name}: rows read a claim, at last ÷ at first"),
            AtMost(1.5),
            Spread::of(&[last / first]),
        );
        let ends = flow.backlog.iter().filter(|(at, _)| *at >= seconds - part).map(|(_, behind)| *behind);
        let ends = Spread::of(&ends.collect::<Vec<_>>());
        report.aim(format!("{name}: backlog at last, messages"), AtMost(rate as f64 / 5.0), ends);
        let delivered = flow.delivered_a_second;
        report.aim(format!("{name}: messages delivered a second"), Stated, Spread::of(&[delivered]));
        if let Some(alone) = alone {
            let ratio = Spread::of(&[delivered / alone]);
            report.aim(format!("{name}: messages delivered ÷ with nothing held"), AtLeast(0.8), ratio);
        } else {
            alone = (name == HELD[0].0).then_some(delivered);
        }
        let by_second = (0..lasts.as_secs()).map(|second| second as f64);
        let by_second = by_second.map(|second| (second, rows_a_claim(&read, &flow, second, second + 1.0)));
        charts[2].lines.push((name.to_owned(), by_second.filter(|(_, rows)| rows.is_finite()).collect()));
        charts[0].lines.push((name.to_owned(), flow.claims_by_second()));
        charts[1].lines.push((name.to_owned(), flow.backlog));
    }
    context.report.setting("messages a second", rate);
    context.report.setting("seconds", lasts.as_secs());
    context.report.tables = vec![table, rows];
    context.report.charts = charts.into();
}

/// When, in seconds, and what had been read of the table by then.
type Reads = Vec<(f64, f64)>;

/// Notes once a second what the server has read of the table where messages wait.
async fn count_reads(bed: &PostgresBed, reads: &Mutex<Reads>) {
    let sql = "SELECT (t.seq_tup_read + (SELECT sum(i.idx_tup_read) FROM pg_stat_user_indexes AS i
            WHERE i.relid = t.relid))::bigint
        FROM pg_stat_user_tables AS t WHERE t.schemaname = current_schema() AND t.relname = 'outbox_messages'";
    let started = Instant::now();
    loop {
        let read = bed.number(sql).await;
        reads
            .lock()
            .expect("nobody panics while counting")
            .push((started.elapsed().as_secs_f64(), read as f64));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Rows and index entries that a claim read between two moments.
fn rows_a_claim(reads: &Reads, flow: &Flow, from: f64, to: f64) -> f64 {
    let begin = reads.iter().rfind(|(at, _)| *at <= from).or(reads.first());
    let end = reads.iter().find(|(at, _)| *at >= to).or(reads.last());
    let (Some((from, before)), Some((to, after))) = (begin, end) else { return f64::NAN };
    let claims = flow.claims.iter().filter(|(at, _)| (*from..*to).contains(at)).count();
    (after - before) / claims as f64
}
