//! Reading a relay from a URL: `smtp://user:password@host:587?starttls=required`.

use percent_encoding::percent_decode_str;
use url::{Host, Url};

use crate::{ConfigError, Encryption, SmtpTransportBuilder};

pub(crate) fn read_url(builder: SmtpTransportBuilder, url: &str) -> SmtpTransportBuilder {
    let mut builder = builder;
    if let Err(error) = read(&mut builder, url) {
        builder.invalid.get_or_insert(error);
    }
    builder
}

fn read(builder: &mut SmtpTransportBuilder, url: &str) -> Result<(), ConfigError> {
    let url = Url::parse(url).map_err(ConfigError::Url)?;
    let implicit_tls = match url.scheme() {
        "smtp" => false,
        "smtps" => true,
        other => return Err(ConfigError::Scheme { found: other.to_owned() }),
    };
    if !matches!(url.path(), "" | "/") {
        return Err(ConfigError::UrlPart { part: "a path" });
    }
    if url.fragment().is_some() {
        return Err(ConfigError::UrlPart { part: "a fragment" });
    }
    builder.host = match url.host() {
        None => return Err(ConfigError::NoHost),
        Some(Host::Domain(name)) => name.to_owned(),
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
    };
    builder.port = url.port();
    builder.encryption = implicit_tls.then_some(Encryption::Tls);
    builder.login = login(&url)?;
    for (name, value) in url.query_pairs() {
        option(builder, &name, &value, implicit_tls)?;
    }
    Ok(())
}

fn login(url: &Url) -> Result<Option<(String, String)>, ConfigError> {
    let decode = |text| match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(ConfigError::UrlLogin),
    };
    match (url.username(), url.password()) {
        ("", None) => Ok(None),
        ("", Some(_)) | (_, None) => Err(ConfigError::UrlLogin),
        (user, Some(password)) => Ok(Some((decode(user)?, decode(password)?))),
    }
}

fn option(
    builder: &mut SmtpTransportBuilder,
    name: &str,
    value: &str,
    implicit_tls: bool,
) -> Result<(), ConfigError> {
    let wrong = |name, expected| Err(ConfigError::Option { name, expected });
    let changed = std::mem::replace(builder, SmtpTransportBuilder::new());
    *builder = match name {
        // `tls` is how other mail libraries spell it.
        "starttls" | "tls" => {
            if implicit_tls {
                return wrong("starttls", "left out with smtps://, which is encrypted from the start");
            }
            changed.encryption(match value {
                "required" => Encryption::StartTls,
                "opportunistic" => Encryption::OpportunisticStartTls,
                "none" => Encryption::None,
                _ => return wrong("starttls", "required, opportunistic or none"),
            })
        }
        "connections" => match value.parse() {
            Ok(connections) => changed.connections(connections),
            Err(_) => return wrong("connections", "a number"),
        },
        "rate" => match value.parse() {
            Ok(per_second) => changed.rate_limit(per_second),
            Err(_) => return wrong("rate", "a number: mails per second"),
        },
        "hello" => changed.hello_name(value),
        "allow_unencrypted_login" => match value {
            "true" => changed.allow_unencrypted_login(true),
            "false" => changed.allow_unencrypted_login(false),
            _ => return wrong("allow_unencrypted_login", "true or false"),
        },
        _ => return Err(ConfigError::UnknownOption { name: name.to_owned() }),
    };
    Ok(())
}
