//! [`Settings`]: what the command line and the environment say.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use outbox::smtp::Mailbox;

/// Printed by `--help`.
pub const HELP: &str = "\
A booking becomes a calendar invitation: a small service that uses the outbox library.

Usage: cargo run --example appointment [-- OPTIONS]

Options:
  --data-dir DIR     where everything is written: database, mails, invitations [default: ./appointment-data]
  --once             end after the sample invitation was delivered; fails if that takes over 30 s
  --sample-to EMAIL  who gets the sample invitation [default: ada@example.org]
  --help             this text

Environment:
  DATABASE_URL   postgres://user:password@host/database, mysql://user:password@host/database
                 or sqlite:path/to/file.db;
                 an SQLite file in the data folder unless set
  SMTP_URL       smtp://user:password@relay.example.org:587 (STARTTLS) or smtps://… (TLS);
                 a development mailbox inside this process unless set
  MAIL_FROM      sender and organizer [default: bookings@example.org]
  BIND           address of the HTTP API [default: 127.0.0.1:5000, or a free port if that is taken]
  RUST_LOG       what is logged to standard error, such as info or outbox_core=debug [default: warn]
  OUTBOX_LEASE_MS  after a crash, the next start delivers at most this much later [default: 3000]
";

/// What the program was asked to do.
#[derive(Debug)]
pub enum Command {
    Help,
    Serve(Settings),
}

/// How the program was set up.
pub struct Settings {
    pub data_dir: PathBuf,
    pub once: bool,
    pub sample_to: String,
    pub database_url: Option<String>,
    pub smtp_url: Option<String>,
    pub mail_from: String,
    /// `None` means: port 5000, or any other when that is taken.
    pub bind: Option<String>,
    pub lease: Duration,
}

impl Command {
    /// Reads the arguments (without the program's name) and the environment.
    pub fn read(
        args: impl IntoIterator<Item = OsString>,
        env: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self> {
        let mut data_dir = PathBuf::from("appointment-data");
        let mut once = false;
        let mut sample_to = "ada@example.org".to_owned();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            match arg.to_str() {
                Some("--help" | "-h") => return Ok(Self::Help),
                Some("--once") => once = true,
                Some("--data-dir") => data_dir = args.next().context("--data-dir needs a folder")?.into(),
                Some("--sample-to") => {
                    let address = args.next().context("--sample-to needs an address")?;
                    sample_to = address.into_string().ok().context("--sample-to is not UTF-8")?;
                }
                _ => bail!("unknown argument {}; --help lists the known ones", arg.display()),
            }
        }
        let sample_to = address("--sample-to", &sample_to)?;
        let variable = |name: &str| match env(name) {
            Some(value) if value.is_empty() => Ok(None),
            Some(value) => value.into_string().map(Some).ok().with_context(|| format!("{name} is not UTF-8")),
            None => Ok(None),
        };
        let mail_from = variable("MAIL_FROM")?.unwrap_or_else(|| "bookings@example.org".to_owned());
        let mail_from = address("MAIL_FROM", &mail_from)?;
        let lease = match variable("OUTBOX_LEASE_MS")? {
            Some(text) => {
                text.parse().ok().with_context(|| format!("OUTBOX_LEASE_MS is not a number: {text}"))?
            }
            None => 3_000,
        };
        Ok(Self::Serve(Settings {
            data_dir,
            once,
            sample_to,
            database_url: variable("DATABASE_URL")?,
            smtp_url: variable("SMTP_URL")?,
            mail_from,
            bind: variable("BIND")?,
            lease: Duration::from_millis(lease),
        }))
    }
}

/// The address in plain ASCII. Refused here, it cannot fail each booking later.
fn address(setting: &str, address: &str) -> Result<String> {
    let mailbox = Mailbox::new(address).with_context(|| format!("{setting} cannot be used"))?;
    Ok(mailbox.address().to_string())
}

/// Without the URLs, which may hold passwords.
impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("data_dir", &self.data_dir)
            .field("bind", &self.bind)
            .finish_non_exhaustive()
    }
}
