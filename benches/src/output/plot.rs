//! Plots as SVG: bars with ranges for a table, lines for figures over time.

use std::fmt::Write as _;

use super::Chart;
use crate::figures::{Table, digits};

const WIDTH: f64 = 860.0;
const NAMES: f64 = 300.0;
const ROW: f64 = 26.0;
const TOP: f64 = 44.0;
const COLOURS: [&str; 6] = ["#1f6fb4", "#d2691e", "#2e8b57", "#8b3a8b", "#b8860b", "#555555"];

/// A bar per variant, as long as its median; a line shows the range.
pub(super) fn bars(table: &Table) -> String {
    let spreads = table.variants.iter().filter_map(|(name, _)| Some((name, table.spread(name)?)));
    let spreads: Vec<_> = spreads.collect();
    let most = spreads.iter().map(|(_, spread)| spread.high).fold(f64::MIN_POSITIVE, f64::max);
    let scale = |figure: f64| NAMES + figure / most * (WIDTH - NAMES - 110.0);
    let mut svg = begin(&format!("{}, {}", table.title, table.unit), TOP + ROW * spreads.len() as f64 + 12.0);
    for (row, (name, spread)) in spreads.iter().enumerate() {
        let y = TOP + ROW * row as f64;
        let is_base = table.bases.contains(name);
        let colour = if is_base { COLOURS[5] } else { COLOURS[0] };
        let (end, low, high) = (scale(spread.median), scale(spread.low), scale(spread.high));
        let middle = y + 8.0;
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{NAMES}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"16\" fill=\"{colour}\"/>\
             <path d=\"M{low:.1} {middle:.1}H{high:.1}M{low:.1} {y:.1}v16M{high:.1} {y:.1}v16\" stroke=\"#000\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{:.*}</text>",
            NAMES - 8.0,
            y + 13.0,
            escape(name),
            end - NAMES,
            high.max(end) + 8.0,
            y + 13.0,
            digits(spread.median),
            spread.median,
        );
    }
    svg + "</svg>\n"
}

/// A line per series, with a legend.
pub(super) fn lines(chart: &Chart) -> String {
    const HEIGHT: f64 = 320.0;
    let (left, right, bottom) = (70.0, WIDTH - 20.0, TOP + HEIGHT);
    let all = || chart.lines.iter().flat_map(|(_, points)| points);
    let most_x = all().map(|(x, _)| *x).fold(f64::MIN_POSITIVE, f64::max);
    let most_y = all().map(|(_, y)| *y).fold(f64::MIN_POSITIVE, f64::max);
    let legend = ROW * chart.lines.len() as f64;
    let mut svg = begin(&chart.title, bottom + 40.0 + legend);
    let _ = write!(svg, "<path d=\"M{left} {TOP}V{bottom}H{right}\" stroke=\"#000\" fill=\"none\"/>");
    for tick in 0..=4 {
        let share = f64::from(tick) / 4.0;
        let (x, y) = (left + share * (right - left), bottom - share * HEIGHT);
        let (at_x, at_y) = (share * most_x, share * most_y);
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{at_x:.0}</text>\
             <text x=\"{:.1}\" y=\"{y:.1}\" text-anchor=\"end\">{at_y:.*}</text>",
            bottom + 16.0,
            left - 6.0,
            digits(at_y),
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{right}\" y=\"{:.1}\" text-anchor=\"end\">{}</text><text x=\"{left}\" y=\"{:.1}\">{}</text>",
        bottom + 34.0,
        escape(chart.x),
        TOP - 6.0,
        escape(chart.y),
    );
    for (n, (name, points)) in chart.lines.iter().enumerate() {
        let colour = COLOURS[n % COLOURS.len()];
        let at = |(x, y): &(f64, f64)| {
            format!("{:.1},{:.1}", left + x / most_x * (right - left), bottom - y / most_y * HEIGHT)
        };
        let points: Vec<String> = points.iter().map(at).collect();
        let y = bottom + 40.0 + ROW * n as f64;
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
             <rect x=\"{left}\" y=\"{y:.1}\" width=\"14\" height=\"14\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            points.join(" "),
            left + 22.0,
            y + 12.0,
            escape(name),
        );
    }
    svg + "</svg>\n"
}

fn begin(title: &str, height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"13\"><rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\
         <text x=\"12\" y=\"22\" font-size=\"15\">{}</text>\n",
        escape(title),
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
