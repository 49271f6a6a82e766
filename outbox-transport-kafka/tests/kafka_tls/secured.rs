//! [`Secured`]: a broker with TLS and logins, and the certificates for it.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::{Broker, Listener, folder, free_ports};

/// What the tests' logins go by; a test that finds one of them on the wire has found a leak.
pub(crate) const USER: &str = "alice";
pub(crate) const PASSWORD: &str = "open-sesame-4711";

/// One broker with a port for each way to reach it.
pub(crate) struct Secured {
    pub(crate) broker: Broker,
    pub(crate) certificates: Certificates,
    /// TLS, for everybody.
    pub(crate) tls: String,
    /// TLS, for whoever has a certificate of the authority.
    pub(crate) mutual: String,
    /// TLS, with a certificate for another host.
    pub(crate) elsewhere: String,
    /// TLS and a login, SCRAM-SHA-512 or PLAIN.
    pub(crate) login: String,
}

impl Secured {
    pub(crate) fn start() -> Self {
        let certificates = Certificates::make();
        let ports: [u16; 4] = free_ports();
        let [tls, mutual, elsewhere, login] = ports.map(|port| format!("localhost:{port}"));
        let names = [("TLS", "SSL"), ("MUTUAL", "SSL"), ("ELSEWHERE", "SSL"), ("LOGIN", "SASL_SSL")];
        let further = names.into_iter().zip(ports).map(|((name, protocol), port)| Listener {
            name: name.to_owned(),
            protocol,
            port,
            named: format!("localhost:{port}"),
        });
        let further: Vec<Listener> = further.collect();
        let (here, there) = (certificates.path("broker.pem"), certificates.path("elsewhere.pem"));
        let (here, there, authority) = (here.display(), there.display(), certificates.authority());
        let modules = "org.apache.kafka.common.security";
        let needed = format!(
            "ssl.keystore.type=PEM\nssl.keystore.location={here}\n\
             ssl.truststore.type=PEM\nssl.truststore.location={authority}\n\
             listener.name.mutual.ssl.client.auth=required\n\
             listener.name.elsewhere.ssl.keystore.type=PEM\n\
             listener.name.elsewhere.ssl.keystore.location={there}\n\
             listener.name.login.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512\n\
             listener.name.login.plain.sasl.jaas.config=\
             {modules}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";\n\
             listener.name.login.scram-sha-512.sasl.jaas.config=\
             {modules}.scram.ScramLoginModule required;\n"
        );
        let user = format!("SCRAM-SHA-512=[name={USER},password={PASSWORD}]");
        let broker = Broker::start_with(&further, &needed, &["--add-scram", &user]);
        Self { broker, certificates, tls, mutual, elsewhere, login }
    }
}

/// An authority and what it has signed, and another authority, in PEM files of a folder that ends with this value.
pub(crate) struct Certificates {
    folder: TempDir,
}

impl Certificates {
    fn make() -> Self {
        let certificates = Self { folder: folder() };
        certificates.sign("authority", "CN=authority", &["-addext", "basicConstraints=critical,CA:TRUE"]);
        certificates.sign("stranger", "CN=stranger", &["-addext", "basicConstraints=critical,CA:TRUE"]);
        for (name, host) in [("broker", "localhost"), ("elsewhere", "elsewhere.example")] {
            certificates.sign_for(name, "-addext", &format!("subjectAltName=DNS:{host}"));
            // Kafka wants key and certificates in one file.
            let parts = ["key", "crt"].map(|end| std::fs::read(certificates.path(&format!("{name}.{end}"))));
            let parts = parts.map(|part| part.expect("made"));
            std::fs::write(certificates.path(&format!("{name}.pem")), parts.concat()).expect("written");
        }
        certificates.sign_for("client", "-addext", "extendedKeyUsage=clientAuth");
        certificates
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// The authority that signed the brokers' certificates.
    pub(crate) fn authority(&self) -> String {
        self.path("authority.crt").display().to_string()
    }

    /// One that signed nothing.
    pub(crate) fn stranger(&self) -> String {
        self.path("stranger.crt").display().to_string()
    }

    /// A key and a certificate that the authority signs.
    fn sign_for(&self, name: &str, option: &str, value: &str) {
        let [authority, key] = ["authority.crt", "authority.key"].map(|file| text(&self.path(file)));
        let subject = format!("CN={name}");
        self.sign(
            name,
            &subject,
            &["-CA", &authority, "-CAkey", &key, "-addext", "basicConstraints=CA:FALSE", option, value],
        );
    }

    /// A key and its certificate, for a day.
    fn sign(&self, name: &str, subject: &str, further: &[&str]) {
        let [key, certificate] = ["key", "crt"].map(|end| text(&self.path(&format!("{name}.{end}"))));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"])
            .args(["-days", "1", "-subj", &format!("/{subject}"), "-keyout", &key, "-out", &certificate])
            .args(further)
            .output()
            .expect("openssl");
        assert!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
