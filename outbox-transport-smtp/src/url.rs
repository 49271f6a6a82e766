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
        _ => return Err(ConfigError::Scheme),
    };
    builder.host = match url.host() {
        None => return Err(ConfigError::NoHost),
        Some(Host::Domain(name)) => name.to_owned(),
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
    };
    if !matches!(url.path(), "" | "/") {
        return Err(ConfigError::UrlPart { part: "a path" });
    }
    if url.fragment().is_some() {
        return Err(ConfigError::UrlPart { part: "a fragment" });
    }
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
        _ => return Err(ConfigError::UnknownOption),
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SmtpTransport;

    fn read(url: &str) -> SmtpTransportBuilder {
        let builder = SmtpTransport::builder().url(url);
        assert_eq!(builder.invalid, None, "{url}");
        builder
    }

    #[test]
    fn a_url_gives_host_port_encryption_and_login() {
        let builder =
            read("smtp://user%40example.org:p%40ss%2Fw%C3%B6rd@relay.example.org:2525?starttls=required");
        assert_eq!((builder.host.as_str(), builder.port), ("relay.example.org", Some(2525)));
        assert_eq!(builder.encryption, Some(Encryption::StartTls));
        assert_eq!(builder.login, Some(("user@example.org".to_owned(), "p@ss/wörd".to_owned())));

        let builder = read("smtps://[2001:db8::1]");
        assert_eq!((builder.host.as_str(), builder.port), ("2001:db8::1", None));
        assert_eq!((builder.encryption, builder.login), (Some(Encryption::Tls), None));
    }

    #[test]
    fn starttls_has_three_values_and_two_spellings() {
        for (value, expected) in [
            ("required", Encryption::StartTls),
            ("opportunistic", Encryption::OpportunisticStartTls),
            ("none", Encryption::None),
        ] {
            for name in ["starttls", "tls"] {
                let url = format!("smtp://relay.example.org?{name}={value}");
                assert_eq!(read(&url).encryption, Some(expected), "{url}");
            }
        }
        assert_eq!(read("smtp://relay.example.org/").encryption, None, "the builder's default");
    }

    #[test]
    fn what_a_url_cannot_say_is_refused_without_quoting_the_login() {
        let rows = [
            ("relay.example.org:587", "must begin with smtp://"),
            ("http://relay.example.org", "must begin with smtp://"),
            // Without a scheme, what stands before the first colon is taken for one.
            ("apikey:SG.secret@relay.example.org:587", "must begin with smtp://"),
            ("secret:587", "must begin with smtp://"),
            ("secret://relay.example.org", "must begin with smtp://"),
            ("u-secret@relay.example.org:587", "cannot be read"),
            ("smtp:u:secret@relay.example.org", "no relay"),
            ("smtp://u:secret@", "cannot be read"),
            ("smtp://", "no relay"),
            ("smtp:relay.example.org", "no relay"),
            ("smtp://u:secret@relay.example.org:99999", "cannot be read"),
            ("smtp://u:secret@relay.example.org/path", "a path"),
            ("smtp://u:secret@relay.example.org#part", "a fragment"),
            ("smtp://u:sec/ret@relay.example.org", "cannot be read"),
            ("smtp://user@relay.example.org", "user and password"),
            ("smtp://:secret@relay.example.org", "user and password"),
            ("smtp://u:%FFsecret@relay.example.org", "UTF-8"),
            // A '#', '?' or '/' in a password that begins with digits ends a host and port.
            ("smtp://u:123#secret@relay.example.org", "a fragment"),
            ("smtp://u:123/secret@relay.example.org", "a path"),
            ("smtp://u:123?secret@relay.example.org", "unknown option"),
            ("smtp://u:123?secret=&more@relay.example.org", "unknown option"),
            ("smtp://relay.example.org?startls=required", "unknown option"),
            ("smtp://u%3Asecret%40relay.example.org", "neither a DNS name"),
            ("smtp://relay.example.org?starttls=yes", "required, opportunistic or none"),
            ("smtps://relay.example.org?starttls=none", "left out with smtps://"),
            ("smtp://relay.example.org?connections=many", "a number"),
            ("smtp://relay.example.org?connections=0", "between 1 and"),
            ("smtp://relay.example.org?rate=0", "at least 1 per second"),
            ("smtp://relay.example.org?hello=two%20words", "host name"),
            ("smtp://u:secret@relay.example.org?allow_unencrypted_login=maybe", "true or false"),
            ("smtp://u:secret@relay.example.org?starttls=none", "sent unencrypted"),
            ("smtp://u:secret@localhost", "sent unencrypted"),
        ];
        for (url, reason) in rows {
            let error = SmtpTransport::from_url(url).expect_err(url);
            assert!(error.to_string().contains(reason), "{url} was refused with: {error}");
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("secret") && !shown.contains("apikey"), "{shown}");
        }
    }

    #[test]
    fn a_good_url_makes_a_transport() {
        for url in [
            "smtp://localhost:1025",
            "smtp://relay.example.org?connections=8&rate=20&hello=app.example.org",
            "smtp://u:p@localhost?allow_unencrypted_login=true",
            "smtp://u:p@relay.example.org",
            "smtps://u:p@192.0.2.1:465",
        ] {
            SmtpTransport::from_url(url).expect(url);
        }
    }
}
