//! [`SmtpTransportBuilder`]: how the relay is reached, checked once.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::extension::ClientId;

use crate::SmtpTransport;
use crate::config_error::ConfigError;
use crate::tls::Tls;
use crate::url::read_url;

/// Whether and how the connection to the relay is encrypted. Certificates are always verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Encryption {
    /// TLS from the first byte (`smtps://`, usually port 465).
    Tls,
    /// `STARTTLS` before anything else is said; a relay that does not offer it counts as unavailable.
    StartTls,
    /// `STARTTLS` where the relay offers it. Whoever sits in between can strip the offer: for test set-ups.
    OpportunisticStartTls,
    /// No encryption: for a relay on the same machine.
    None,
}

/// How long each step may take. The defaults are those of RFC 5321 section 4.5.3.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Finding and connecting to the relay, all its addresses together: 30 s.
    pub connect: Duration,
    /// Its greeting: 5 min.
    pub greeting: Duration,
    /// The reply to any other command, and the TLS handshake: 5 min.
    pub command: Duration,
    /// The reply to `DATA`: 2 min.
    pub data: Duration,
    /// Each block of 64 KiB of the mail: 3 min.
    pub block: Duration,
    /// The reply to the final dot: 10 min. Giving up early there makes duplicates.
    pub final_dot: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            greeting: Duration::from_secs(5 * 60),
            command: Duration::from_secs(5 * 60),
            data: Duration::from_secs(2 * 60),
            block: Duration::from_secs(3 * 60),
            final_dot: Duration::from_secs(10 * 60),
        }
    }
}

impl Timeouts {
    /// How long one mail may take up to its final dot: a slow connect, greeting, TLS, login, envelope and mail,
    /// but not each command of them at its limit.
    pub(crate) fn until_the_dot(&self) -> Duration {
        self.connect + self.greeting + self.command * 3 + self.data + self.block * 2
    }
}

/// Builds an [`SmtpTransport`]. The first mistake is kept and answered by [`build`](Self::build).
#[must_use = "nothing is sent until the transport is built and routed to"]
pub struct SmtpTransportBuilder {
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    pub(crate) encryption: Option<Encryption>,
    pub(crate) login: Option<(String, String)>,
    allow_unencrypted_login: bool,
    hello_name: Option<String>,
    connections: usize,
    rate_limit: Option<u32>,
    starts_for: Duration,
    root_certificates: Vec<Vec<u8>>,
    timeouts: Timeouts,
    pub(crate) invalid: Option<ConfigError>,
}

/// How the relay is reached, checked.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) encryption: Encryption,
    pub(crate) tls: Option<Tls>,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) allow_unencrypted_login: bool,
    pub(crate) hello: Option<ClientId>,
    pub(crate) connections: usize,
    pub(crate) rate_limit: Option<u32>,
    pub(crate) starts_for: Duration,
    pub(crate) timeouts: Timeouts,
}

impl SmtpTransportBuilder {
    pub(crate) fn new() -> Self {
        Self {
            host: String::new(),
            port: None,
            encryption: None,
            login: None,
            allow_unencrypted_login: false,
            hello_name: None,
            connections: 4,
            rate_limit: None,
            starts_for: Duration::from_secs(60),
            root_certificates: Vec::new(),
            timeouts: Timeouts::default(),
            invalid: None,
        }
    }

    /// Takes host, port, encryption, login and options from a URL, as [`SmtpTransport::from_url`] describes.
    pub fn url(self, url: &str) -> Self {
        read_url(self, url)
    }

    /// The relay's name or IP address. With TLS, its certificate must be for this name.
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = host.into();
        self
    }

    /// The relay's port; unless set, 465 for [`Encryption::Tls`] and 587 otherwise.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// The encryption; unless set, [`Encryption::StartTls`], and [`Encryption::None`] for a host on this machine.
    pub fn encryption(mut self, encryption: Encryption) -> Self {
        self.encryption = Some(encryption);
        self
    }

    /// Logs in with `AUTH PLAIN`, or `AUTH LOGIN` where the relay offers only that.
    pub fn login(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.login = Some((user.into(), password.into()));
        self
    }

    /// Allows a login over a connection that is not encrypted, where anybody in between can read the password.
    pub fn allow_unencrypted_login(mut self, allow: bool) -> Self {
        self.allow_unencrypted_login = allow;
        self
    }

    /// The name to say in `EHLO`: the public host name of this machine. The IP address of the connection unless set.
    pub fn hello_name(mut self, name: impl Into<String>) -> Self {
        self.hello_name = Some(name.into());
        self
    }

    /// Connections side by side at most, over all batches: 4 unless set.
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// Mails per second at most, evenly spaced: for relays that throttle. No limit unless set.
    ///
    /// What a batch cannot start within [`starts_for`](Self::starts_for) goes out again soon at no cost. Keep
    /// [`Route::batch`](outbox_core::Route::batch) at or below what the limit allows in that time.
    pub fn rate_limit(mut self, per_second: u32) -> Self {
        self.rate_limit = Some(per_second);
        self
    }

    /// How long after it was handed over a batch still starts mails: 1 min unless set. What is not started by then
    /// is not sent and goes out again soon, so that a slow relay does not hold a batch for hours.
    pub fn starts_for(mut self, time: Duration) -> Self {
        self.starts_for = time;
        self
    }

    /// Trusts the certificates in `pem` in addition to the public ones: for a relay with a private authority.
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.root_certificates.push(pem.into());
        self
    }

    /// Replaces the default [`Timeouts`].
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// The transport. Connects to nothing yet; [`SmtpTransport::check`] does.
    ///
    /// # Errors
    /// [`ConfigError`] says which setting is wrong.
    pub fn build(self) -> Result<SmtpTransport, ConfigError> {
        self.check().map(SmtpTransport::new)
    }

    fn check(self) -> Result<Config, ConfigError> {
        if let Some(invalid) = self.invalid {
            return Err(invalid);
        }
        let refuse = |setting, reason| Err(ConfigError::Setting { setting, reason });
        if self.host.is_empty() {
            return Err(ConfigError::NoHost);
        }
        let tls = Tls::new(&self.host, &self.root_certificates)?;
        let default = if is_this_machine(&self.host) { Encryption::None } else { Encryption::StartTls };
        let encryption = self.encryption.unwrap_or(default);
        if encryption == Encryption::None && self.login.is_some() && !self.allow_unencrypted_login {
            return Err(ConfigError::UnencryptedLogin);
        }
        if let Some((user, password)) = &self.login
            && (user.is_empty() || user.contains('\0') || password.contains('\0'))
        {
            return refuse("login", "needs a user, and no NUL character");
        }
        if self.connections == 0 || self.connections > MAX_CONNECTIONS {
            return refuse("connections", "must be between 1 and 1,000");
        }
        if self.rate_limit == Some(0) {
            return refuse("rate_limit", "must be at least 1 per second; leave it out for no limit");
        }
        let Timeouts { connect, greeting, command, data, block, final_dot } = self.timeouts;
        let steps = [connect, greeting, command, data, block, final_dot];
        if steps.iter().any(|step| step.is_zero() || *step > MAX_TIMEOUT) {
            return refuse("timeouts", "must each be more than zero and at most a day");
        }
        if self.starts_for.is_zero() || self.starts_for > MAX_TIMEOUT {
            return refuse("starts_for", "must be more than zero and at most a day");
        }
        Ok(Config {
            port: self.port.unwrap_or(if encryption == Encryption::Tls { 465 } else { 587 }),
            tls: (encryption != Encryption::None).then_some(tls),
            encryption,
            credentials: self.login.map(Credentials::from),
            allow_unencrypted_login: self.allow_unencrypted_login,
            hello: self.hello_name.map(hello).transpose()?,
            connections: self.connections,
            rate_limit: self.rate_limit,
            starts_for: self.starts_for,
            timeouts: self.timeouts,
            host: self.host,
        })
    }
}

const MAX_CONNECTIONS: usize = 1_000;
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// Neither user nor password is shown.
impl fmt::Debug for SmtpTransportBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmtpTransportBuilder")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("encryption", &self.encryption)
            .field("login", &self.login.is_some())
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

fn is_this_machine(host: &str) -> bool {
    let name = host.to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn hello(name: String) -> Result<ClientId, ConfigError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
    if name.is_empty() || name.len() > 255 || !name.chars().all(plain) {
        return Err(ConfigError::Setting {
            setting: "hello_name",
            reason: "must be a host name or an address literal such as [192.0.2.1]",
        });
    }
    Ok(ClientId::Domain(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(builder: SmtpTransportBuilder) -> Config {
        builder.check().expect("a valid configuration")
    }

    #[test]
    fn encryption_is_required_unless_the_host_is_this_machine() {
        for (host, expected) in [
            ("relay.example.org", Encryption::StartTls),
            ("192.0.2.1", Encryption::StartTls),
            ("localhost.example.org", Encryption::StartTls),
            ("localhost", Encryption::None),
            ("127.0.0.1", Encryption::None),
            ("::1", Encryption::None),
            ("mail.localhost", Encryption::None),
        ] {
            let config = checked(SmtpTransportBuilder::new().host(host));
            assert_eq!(config.encryption, expected, "{host}");
            assert_eq!(config.tls.is_some(), expected != Encryption::None, "{host}");
            assert_eq!(config.port, 587, "{host}");
        }
        let implicit = SmtpTransportBuilder::new().host("relay.example.org").encryption(Encryption::Tls);
        assert_eq!(checked(implicit).port, 465);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let builder = || SmtpTransportBuilder::new().host("relay.example.org");
        let zero = Timeouts { data: Duration::ZERO, ..Timeouts::default() };
        let endless = Timeouts { final_dot: Duration::MAX, ..Timeouts::default() };
        let rows = [
            (SmtpTransportBuilder::new(), "no relay"),
            (builder().host("two words"), "neither a DNS name"),
            (builder().host("relay.example.org\r\nQUIT"), "neither a DNS name"),
            (builder().connections(0), "connections"),
            (builder().connections(100_000), "connections"),
            (builder().rate_limit(0), "rate_limit"),
            (builder().login("", "secret"), "login"),
            (builder().login("user", "a\0b"), "login"),
            (builder().hello_name("app\r\nMAIL"), "hello_name"),
            (builder().starts_for(Duration::ZERO), "starts_for"),
            (builder().timeouts(zero), "timeouts"),
            (builder().timeouts(endless), "timeouts"),
            (builder().root_certificates("no certificate"), "root certificates"),
            (builder().login("user", "secret").encryption(Encryption::None), "unencrypted"),
        ];
        for (builder, reason) in rows {
            let error = builder.build().expect_err(reason).to_string();
            assert!(error.contains(reason), "{reason:?} is not in: {error}");
        }
    }

    #[test]
    fn a_debug_print_shows_no_login() {
        let builder = SmtpTransportBuilder::new().host("relay.example.org").login("someone", "secret");
        let shown = format!("{builder:?}");
        assert!(shown.contains("relay.example.org"));
        let transport = builder.build().expect("a valid configuration");
        for shown in [shown, format!("{transport:?}"), format!("{transport:#?}")] {
            assert!(!shown.contains("someone") && !shown.contains("secret"), "{shown}");
        }
    }
}
