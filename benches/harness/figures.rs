//! Collects the rounds of each scenario and prints medians.

use std::collections::BTreeMap;

/// Figures by scenario; every round adds one.
#[derive(Debug, Default)]
pub struct Figures {
    order: Vec<String>,
    rounds: BTreeMap<String, Vec<f64>>,
}

impl Figures {
    /// Adds the figure of one round.
    pub fn add(&mut self, scenario: impl Into<String>, figure: f64) {
        let scenario = scenario.into();
        if !self.order.contains(&scenario) {
            self.order.push(scenario.clone());
        }
        self.rounds.entry(scenario).or_default().push(figure);
    }

    /// The median of a scenario's rounds; 0 when there is none.
    #[must_use]
    pub fn median(&self, scenario: &str) -> f64 {
        let mut rounds = self.rounds.get(scenario).cloned().unwrap_or_default();
        rounds.sort_by(f64::total_cmp);
        match rounds.len() {
            0 => 0.0,
            n if n % 2 == 1 => rounds[n / 2],
            n => f64::midpoint(rounds[n / 2 - 1], rounds[n / 2]),
        }
    }

    /// The scenarios, in the order in which they first came.
    #[must_use]
    pub fn scenarios(&self) -> &[String] {
        &self.order
    }

    /// Prints a table with the median, the range, and the ratio to `base`.
    pub fn print(&self, title: &str, unit: &str, base: &str) {
        println!("\n{title}\n");
        println!("| scenario | median {unit} | range | ÷ {base} |\n| --- | ---: | --- | ---: |");
        for scenario in &self.order {
            let rounds = &self.rounds[scenario];
            let low = rounds.iter().copied().fold(f64::INFINITY, f64::min);
            let high = rounds.iter().copied().fold(0.0, f64::max);
            let (median, base) = (self.median(scenario), self.median(base));
            // Small figures need their decimals.
            let digits = usize::from(median < 100.0);
            println!(
                "| {scenario} | {median:.digits$} | {low:.digits$}–{high:.digits$} | {:.2} |",
                median / base
            );
        }
    }
}

/// The most memory the process ever had resident, in MiB; 0 where the system does not tell.
#[must_use]
pub fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
    kib.unwrap_or_default() / 1024
}

/// The processor time that this process has used so far, all threads, in seconds; 0 where the system does not tell.
#[must_use]
pub fn processor_time() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in the second field may hold spaces; user and system time are the 12th and 13th field after it.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    // The kernel counts in hundredths of a second here, whatever its own tick is.
    fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}
