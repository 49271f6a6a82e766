//! Every figure of every round.

use serde_json::{Value, json};

use super::{Goal, Report};
use crate::figures::Spread;

pub(super) fn of(report: &Report) -> String {
    let spread = |spread: &Spread| json!({ "median": spread.median, "low": spread.low, "high": spread.high });
    let tables = report.tables.iter().map(|table| {
        let variants = table.variants.iter().map(|(name, rounds)| {
            let over = table.bases.iter().filter_map(|base| {
                table.ratio(name, base).map(|ratio| json!({ "base": base, "ratio": spread(&ratio) }))
            });
            let figure = table.spread(name).map(|figure| spread(&figure));
            json!({ "name": name, "figure": figure, "rounds": rounds, "over": over.collect::<Value>() })
        });
        json!({ "title": table.title, "unit": table.unit, "variants": variants.collect::<Value>() })
    });
    let aims = report.aims.iter().map(|aim| {
        let (at_least, at_most) = match aim.goal {
            Goal::AtLeast(goal) => (Some(goal), None),
            Goal::AtMost(goal) => (None, Some(goal)),
            Goal::None => (None, None),
        };
        let measured = spread(&aim.measured);
        json!({ "what": aim.what, "at_least": at_least, "at_most": at_most, "measured": measured, "met": aim.is_met() })
    });
    let charts = report.charts.iter().map(|chart| {
        let lines = chart.lines.iter().map(|(name, points)| json!({ "name": name, "points": points }));
        json!({ "title": chart.title, "x": chart.x, "y": chart.y, "lines": lines.collect::<Value>() })
    });
    let settings: serde_json::Map<String, Value> =
        report.settings.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    let whole = json!({
        "scenario": report.scenario,
        "database": report.database,
        "settings": settings,
        "tables": tables.collect::<Value>(),
        "aims": aims.collect::<Value>(),
        "charts": charts.collect::<Value>(),
        "remarks": report.remarks,
    });
    format!("{whole:#}\n")
}
