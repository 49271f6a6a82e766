//! Tables that can be pasted into a document.

use std::fmt::Write as _;

use super::{Goal, Report};
use crate::figures::{Spread, digits};

pub(super) fn of(report: &Report) -> String {
    let mut text = format!("\n## {}, {}\n", report.scenario, report.database);
    let settings: Vec<String> =
        report.settings.iter().map(|(name, value)| format!("{name} {value}")).collect();
    if !settings.is_empty() {
        let _ = writeln!(text, "\n{}.", settings.join("; "));
    }
    for remark in &report.remarks {
        let _ = write!(text, "\n{remark}");
    }
    for table in &report.tables {
        let _ = writeln!(text, "\n**{}, {}**\n", table.title, table.unit);
        let over: String = table.bases.iter().map(|base| format!(" ÷ {base} |")).collect();
        let _ = writeln!(text, "| variant | median | range |{over}");
        let _ = writeln!(text, "| --- | ---: | --- |{}", " --- |".repeat(table.bases.len()));
        for (name, _) in &table.variants {
            let Some(figure) = table.spread(name) else { continue };
            let _ = write!(text, "| {name} | {} | {} |", short(figure.median), range(figure));
            for base in &table.bases {
                let ratio = table.ratio(name, base).map_or("–".to_owned(), ratio);
                let _ = write!(text, " {ratio} |");
            }
            text.push('\n');
        }
    }
    if !report.aims.is_empty() {
        text.push_str("\n| what | aim | measured | |\n| --- | --- | --- | --- |\n");
        for aim in &report.aims {
            let goal = match aim.goal {
                Goal::AtLeast(goal) => format!("≥ {goal}"),
                Goal::AtMost(goal) => format!("≤ {goal}"),
                Goal::None => "stated".to_owned(),
            };
            let met = aim.is_met().map_or("", |met| if met { "met" } else { "**missed**" });
            let _ = writeln!(text, "| {} | {goal} | {} | {met} |", aim.what, ratio(aim.measured));
        }
    }
    text
}

/// A median, and its range where there is one.
fn ratio(spread: Spread) -> String {
    let median = short(spread.median);
    if spread.low < spread.high { format!("{median} ({})", range(spread)) } else { median }
}

fn range(Spread { median, low, high }: Spread) -> String {
    let digits = digits(median);
    format!("{low:.digits$}–{high:.digits$}")
}

fn short(figure: f64) -> String {
    format!("{figure:.*}", digits(figure))
}
