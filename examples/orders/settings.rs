//! [`Settings`]: what the command line and the environment say.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::crash::Die;

/// Printed by `--help`.
pub const HELP: &str = "\
Orders become messages on Kafka: a shop that uses the outbox library.

Usage: cargo run --example orders --features kafka [-- OPTIONS]

Options:
  --orders N      how many orders are placed, confirmed and cancelled [default: 3]
  --data-dir DIR  where the database file lies [default: ./orders-data]
  --die MOMENT    die on purpose: `sending` (records sent, not settled) or `receiving` (work done, not committed);
                  needs KAFKA_BROKERS, since the broker inside this process would die as well
  --help          this text

Environment:
  KAFKA_BROKERS  host:port,…; a broker inside this process unless set
  KAFKA_TOPIC_PREFIX  put before the topics shop.orders, shop.notifications, shop.fulfillment and shop.refunds
  DATABASE_URL   postgres://user:password@host/database, mysql://user:password@host/database
                 or sqlite:path/to/file.db;
                 an SQLite file in the data folder unless set
  RUST_LOG       what is logged to standard error, such as info or outbox_core=debug [default: warn]
";

/// What the program was asked to do.
#[derive(Debug)]
pub enum Command {
    Help,
    Run(Settings),
}

/// How the program was set up.
pub struct Settings {
    pub orders: usize,
    pub data_dir: PathBuf,
    pub die: Option<Die>,
    pub kafka_brokers: Option<String>,
    /// Empty unless set.
    pub topic_prefix: String,
    pub database_url: Option<String>,
}

impl Command {
    /// Reads the arguments (without the program's name) and the environment.
    pub fn read(
        args: impl IntoIterator<Item = OsString>,
        env: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self> {
        let variable = |name: &str| match env(name) {
            Some(value) if value.is_empty() => Ok(None),
            Some(value) => value.into_string().map(Some).ok().with_context(|| format!("{name} is not UTF-8")),
            None => Ok(None),
        };
        let mut settings = Settings {
            orders: 3,
            data_dir: PathBuf::from("orders-data"),
            die: None,
            kafka_brokers: variable("KAFKA_BROKERS")?,
            topic_prefix: variable("KAFKA_TOPIC_PREFIX")?.unwrap_or_default(),
            database_url: variable("DATABASE_URL")?,
        };
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{} needs a value", arg.display()));
            match arg.to_str() {
                Some("--help" | "-h") => return Ok(Self::Help),
                Some("--data-dir") => settings.data_dir = value()?.into(),
                Some("--orders") => {
                    let number = value()?;
                    let number = number.to_str().and_then(|number| number.parse().ok());
                    settings.orders = number.context("--orders needs a number")?;
                }
                Some("--die") => {
                    settings.die = Some(match value()?.to_str() {
                        Some("sending") => Die::Sending,
                        Some("receiving") => Die::Receiving,
                        _ => bail!("--die needs `sending` or `receiving`"),
                    });
                }
                _ => bail!("unknown argument {}; --help lists the known ones", arg.display()),
            }
        }
        if settings.die.is_some() && settings.kafka_brokers.is_none() {
            bail!("--die needs KAFKA_BROKERS: the broker inside this process would die as well");
        }
        Ok(Self::Run(settings))
    }
}

/// Without the URL, which may hold a password.
impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").field("data_dir", &self.data_dir).finish_non_exhaustive()
    }
}
