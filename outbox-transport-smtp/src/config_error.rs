//! [`ConfigError`]: why a transport could not be built.

use thiserror::Error;

/// Why an [`SmtpTransport`](crate::SmtpTransport) could not be built.
///
/// Quotes nothing of a host or URL: in one that is written wrongly, a login can stand anywhere.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The URL is no URL.
    #[error("the SMTP URL cannot be read ({0}); write it as smtp://user:password@host:587")]
    Url(#[source] ::url::ParseError),
    /// The URL's scheme is another one.
    #[error("the SMTP URL must begin with smtp:// (STARTTLS) or smtps:// (TLS)")]
    Scheme,
    /// The URL has a part that means nothing here.
    #[error(
        "the SMTP URL has {part} after the host; remove it (a '/', '?' or '#' in a password is written %2F, %3F, %23)"
    )]
    UrlPart {
        /// Which part.
        part: &'static str,
    },
    /// User or password of the URL are incomplete or not UTF-8 after percent-decoding.
    #[error("the SMTP URL needs user and password, or neither, percent-encoded as UTF-8: user:password@")]
    UrlLogin,
    /// An option of the URL is unknown.
    #[error(
        "the SMTP URL has an unknown option; known are starttls, connections, rate, hello and allow_unencrypted_login (a '?' in a password is written %3F)"
    )]
    UnknownOption,
    /// An option of the URL has a value it cannot have.
    #[error("the option {name} of the SMTP URL must be {expected}")]
    Option {
        /// Its name.
        name: &'static str,
        /// What it can be.
        expected: &'static str,
    },
    /// There is no host.
    #[error("no relay is set; give a `host` or a `url`")]
    NoHost,
    /// The host is neither a DNS name nor an IP address.
    #[error(
        "the relay's host is neither a DNS name nor an IP address; a login goes before it, as user:password@"
    )]
    Host,
    /// The login would go over the network readable by anybody.
    #[error(
        "the login would be sent unencrypted; use smtps:// or starttls=required, or allow it with `allow_unencrypted_login`"
    )]
    UnencryptedLogin,
    /// The extra root certificates cannot be used.
    #[error("the root certificates cannot be used: {reason}; give one or more certificates as PEM")]
    RootCertificates {
        /// What is wrong with them.
        reason: String,
    },
    /// A setting makes no sense.
    #[error("the setting `{setting}` {reason}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
}
