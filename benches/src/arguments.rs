//! The command line: `SCENARIO… [--database NAME] [--rounds N] …`.

use std::process::exit;

/// The options; each scenario has its own defaults.
pub(crate) const USAGE: &str = "\
Usage: outbox-benches SCENARIO… [OPTION…]

Options:
  --database NAME  memory, sqlite (unless said), postgres or mysql; the last two at TEST_POSTGRES_URL and TEST_MYSQL_URL
  --rounds N       rounds in which the variants take turns
  --messages N     messages that are timed in a round; 100k and 5M are understood
  --seconds N      how long a steady flow lasts
  --only TEXT      only variants whose name contains this; of `peers`, several with commas
  --parts A,B      only these parts of `peers`";

/// What was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Arguments {
    pub(crate) scenarios: Vec<String>,
    pub(crate) database: String,
    /// Rounds in which the variants take turns; each scenario has its own default.
    pub(crate) rounds: Option<usize>,
    /// Messages that are timed in a round.
    pub(crate) messages: Option<usize>,
    /// How long a scenario with a steady flow lasts.
    pub(crate) seconds: Option<u64>,
    /// Only variants whose name contains this.
    pub(crate) only: Option<String>,
    /// Only these parts of a scenario that has parts.
    pub(crate) parts: Vec<String>,
}

impl Arguments {
    pub(crate) fn read() -> Self {
        let mut answer = Self {
            scenarios: Vec::new(),
            database: "sqlite".to_owned(),
            rounds: None,
            messages: None,
            seconds: None,
            only: None,
            parts: Vec::new(),
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().unwrap_or_else(|| refuse(&format!("{word} wants a value")));
            match word.as_str() {
                "--database" => answer.database = value(),
                "--rounds" => answer.rounds = Some(number(&value())),
                "--messages" => answer.messages = Some(number(&value())),
                "--seconds" => answer.seconds = Some(number(&value()) as u64),
                "--only" => answer.only = Some(value()),
                "--parts" => answer.parts = value().split(',').map(str::to_owned).collect(),
                flag if flag.starts_with('-') => refuse(&format!("there is no {flag}")),
                _ => answer.scenarios.push(word),
            }
        }
        answer
    }

    /// Whether a variant with this name is to run.
    pub(crate) fn wants(&self, variant: &str) -> bool {
        self.only.as_deref().is_none_or(|only| variant.contains(only))
    }
}

/// A positive number; `100k` and `5M` are understood.
fn number(text: &str) -> usize {
    let (digits, unit) = match text.strip_suffix('k') {
        Some(digits) => (digits, 1_000),
        None => text.strip_suffix('M').map_or((text, 1), |digits| (digits, 1_000_000)),
    };
    match digits.replace('_', "").parse::<usize>() {
        Ok(number) if number > 0 => number * unit,
        _ => refuse(&format!("{text:?} is not a number")),
    }
}

/// Ends the program with a sentence.
pub(crate) fn refuse(sentence: &str) -> ! {
    eprintln!("outbox-benches: {sentence}");
    exit(2)
}
