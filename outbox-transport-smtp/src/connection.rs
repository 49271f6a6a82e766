//! [`Connection`]: one conversation with the relay, from the greeting to many mails.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::commands::{Auth, Data, Ehlo, Mail, Quit, Rcpt, Rset, Starttls};
use lettre::transport::smtp::extension::{ClientId, MailBodyParameter, MailParameter};
use tokio::time::Instant;

use crate::StoredMail;
use crate::classify::{Cause, Failure, Stage};
use crate::config::{Config, Encryption, Timeouts};
use crate::data::dot_stuffed;
use crate::offers::Offers;
use crate::reply::Reply;
use crate::wire::Wire;

/// A greeted, encrypted and logged-in connection, ready for a mail.
///
/// Drop it unless its last conversation was complete: after a dropped future or a failure that is not
/// [`in_step`](Self::in_step), replies no longer match commands.
pub(crate) struct Connection {
    wire: Wire,
    offers: Offers,
    timeouts: Timeouts,
    /// Mails tried on it.
    pub(crate) mails: u32,
    /// The last mail was refused: the relay still has its envelope.
    needs_reset: bool,
}

impl Connection {
    /// Connects, encrypts and logs in as `config` says, before `until`.
    pub(crate) async fn open(config: &Config, until: Instant) -> Result<Self, Failure> {
        let timeouts = config.timeouts;
        let mut wire = Wire::connect(&config.host, config.port, timeouts.connect, until)
            .await
            .map_err(at(Stage::Connect))?;
        if let (Encryption::Tls, Some(tls)) = (config.encryption, &config.tls) {
            wire = wire.secure(tls, timeouts.command).await.map_err(at(Stage::TlsHandshake))?;
        }
        let greeting = wire.reply(timeouts.greeting).await.map_err(at(Stage::Greeting))?;
        expect(greeting, |code| code == 220).map_err(at(Stage::Greeting))?;

        let hello = Ehlo::new(config.hello.clone().unwrap_or_else(|| address_literal(wire.local())));
        let mut offers = say_hello(&mut wire, &hello, timeouts.command).await?;
        if !wire.is_encrypted()
            && let Some(tls) = &config.tls
        {
            if offers.starttls {
                ask(&mut wire, Stage::StartTls, &Starttls, timeouts.command, |code| code == 220).await?;
                wire = wire.secure(tls, timeouts.command).await.map_err(at(Stage::TlsHandshake))?;
                // What was offered in the clear may have been tampered with (RFC 3207 section 4.2).
                offers = say_hello(&mut wire, &hello, timeouts.command).await?;
            } else if config.encryption != Encryption::OpportunisticStartTls {
                return Err(at(Stage::StartTls)(Cause::Lacks(
                    "the relay does not offer STARTTLS, which the settings require",
                )));
            }
        }
        if let Some(credentials) = &config.credentials {
            if !wire.is_encrypted() && !config.allow_unencrypted_login {
                return Err(at(Stage::Login)(Cause::Lacks(
                    "the relay offers no encryption, and the login is not sent in the clear",
                )));
            }
            log_in(&mut wire, &offers, credentials, timeouts.command).await?;
        }
        tracing::debug!(relay = %config.host, port = config.port, encrypted = wire.is_encrypted(), "connected");
        Ok(Self { wire, offers, timeouts, mails: 0, needs_reset: false })
    }

    /// A ready connection over a stream of the test's.
    #[cfg(test)]
    pub(crate) fn over(stream: tokio::io::DuplexStream) -> Self {
        let wire = Wire::over(stream, Instant::now() + Duration::from_secs(3_600));
        let (offers, timeouts) = (Offers::default(), Timeouts::default());
        Self { wire, offers, timeouts, mails: 0, needs_reset: false }
    }

    /// Lets no step up to the final dot of the next mail go beyond `until`.
    pub(crate) fn set_until(&mut self, until: Instant) {
        self.wire.until = until;
    }

    /// Sends one mail and answers the reply that accepted it. Calls `reached` before `MAIL`, before `RCPT`, and
    /// right before the first byte that can make the relay accept the mail, with the stage that follows.
    pub(crate) async fn send(
        &mut self,
        mail: &StoredMail,
        mut reached: impl FnMut(Stage) + Send,
    ) -> Result<Reply, Failure> {
        self.mails += 1;
        let parameters = self.parameters(mail).map_err(at(Stage::MailFrom))?;
        let body = dot_stuffed(&mail.bytes).map_err(at(Stage::MailFrom))?;

        let Timeouts { command, data, block, final_dot, .. } = self.timeouts;
        let from = Mail::new(Some(mail.from.clone()), parameters);
        let to = Rcpt::new(mail.to.clone(), Vec::new());
        let positive = |code| (200..300).contains(&code);
        reached(Stage::MailFrom);
        self.ask(Stage::MailFrom, &from, command, positive).await?;
        reached(Stage::RcptTo);
        self.ask(Stage::RcptTo, &to, command, positive).await?;
        self.ask(Stage::Data, &Data, data, |code| code == 354).await?;
        for part in body.chunks(BLOCK) {
            if let Err(cause) = self.wire.write(part, block).await {
                return Err(self.what_the_relay_said(cause).await);
            }
        }
        if self.wire.has_unread() {
            let early = Cause::Garbled("it came before the mail was complete");
            return Err(self.what_the_relay_said(early).await);
        }

        reached(Stage::FinalDot);
        // What the batch has left does not shorten this wait: giving up here makes duplicates.
        self.wire.until = Instant::now() + final_dot + block;
        let last = Stage::FinalDot;
        self.wire.write(b".\r\n", block).await.map_err(at(last))?;
        let reply = self.wire.reply(final_dot).await.map_err(at(last))?;
        let accepted = expect(reply, |code| code == 250);
        self.needs_reset = accepted.is_err();
        accepted.map_err(at(last))
    }

    /// Whether, after `failure`, the next mail can go over this connection.
    pub(crate) fn in_step(&self, failure: &Failure) -> bool {
        match &failure.cause {
            Cause::Unfit(_) => true,
            Cause::Reply(reply) => reply.code >= 400 && reply.code != 421 && failure.stage != Stage::Body,
            _ => false,
        }
    }

    /// Makes sure that an idle connection can take a mail: nothing came unasked, and the relay forgot a refused one.
    pub(crate) async fn is_ready(&mut self) -> bool {
        if self.wire.has_unread() {
            return false;
        }
        if std::mem::take(&mut self.needs_reset) {
            let reset = self.wire.ask(&Rset.to_string(), self.timeouts.command).await;
            return reset.is_ok_and(|reply| reply.code == 250);
        }
        true
    }

    /// Says goodbye within `within` and closes.
    pub(crate) async fn quit(mut self, within: Duration) {
        let _ = self.wire.ask(&Quit.to_string(), within).await;
    }

    async fn ask(
        &mut self,
        stage: Stage,
        command: &(dyn Display + Sync),
        within: Duration,
        wanted: fn(u16) -> bool,
    ) -> Result<Reply, Failure> {
        let answer = ask(&mut self.wire, stage, command, within, wanted).await;
        self.needs_reset = answer.is_err();
        answer
    }

    fn parameters(&self, mail: &StoredMail) -> Result<Vec<MailParameter>, Cause> {
        let mut parameters = Vec::new();
        if self.offers.size {
            parameters.push(MailParameter::Size(mail.bytes.len()));
        }
        if !mail.bytes.is_ascii() {
            if !self.offers.eight_bit {
                return Err(Cause::Unfit("the mail is not 7-bit, and the relay does not offer 8BITMIME"));
            }
            parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        if !AsRef::<str>::as_ref(&mail.from).is_ascii() || !AsRef::<str>::as_ref(&mail.to).is_ascii() {
            if !self.offers.utf8 {
                return Err(Cause::Unfit("an address is not ASCII, and the relay does not offer SMTPUTF8"));
            }
            parameters.push(MailParameter::SmtpUtfEight);
        }
        Ok(parameters)
    }

    /// A relay that breaks off while the mail is under way may have said why: too large, say.
    async fn what_the_relay_said(&mut self, cause: Cause) -> Failure {
        match self.wire.reply(LAST_WORDS).await {
            Ok(reply) if reply.code >= 400 => at(Stage::Body)(Cause::Reply(reply)),
            Err(Cause::Lost(why)) => at(Stage::Body)(Cause::Lost(why)),
            _ => at(Stage::Body)(cause),
        }
    }
}

const BLOCK: usize = 64 * 1024;
const LAST_WORDS: Duration = Duration::from_secs(1);

async fn say_hello(wire: &mut Wire, hello: &Ehlo, within: Duration) -> Result<Offers, Failure> {
    let reply = ask(wire, Stage::Hello, hello, within, |code| code == 250).await?;
    Ok(Offers::read(&reply))
}

async fn log_in(
    wire: &mut Wire,
    offers: &Offers,
    credentials: &Credentials,
    within: Duration,
) -> Result<(), Failure> {
    let stage = Stage::Login;
    let auth = |mechanism, challenge: Option<&str>| {
        Auth::new(mechanism, credentials.clone(), challenge.map(str::to_owned))
            .map_err(|_| at(stage)(Cause::Lacks("the login cannot be put into the relay's mechanism")))
    };
    if offers.plain {
        ask(wire, stage, &auth(Mechanism::Plain, None)?, within, |code| code == 235).await?;
    } else if offers.login {
        // The challenges are fixed in practice and their texts differ: the first asks for the user.
        ask(wire, stage, &auth(Mechanism::Login, None)?, within, |code| code == 334).await?;
        let user = auth(Mechanism::Login, Some("Username:"))?;
        ask(wire, stage, &user, within, |code| code == 334).await?;
        let password = auth(Mechanism::Login, Some("Password:"))?;
        ask(wire, stage, &password, within, |code| code == 235).await?;
    } else {
        return Err(at(stage)(Cause::Lacks("the relay offers neither AUTH PLAIN nor AUTH LOGIN")));
    }
    Ok(())
}

async fn ask(
    wire: &mut Wire,
    stage: Stage,
    command: &(dyn Display + Sync),
    within: Duration,
    wanted: fn(u16) -> bool,
) -> Result<Reply, Failure> {
    let reply = wire.ask(&command.to_string(), within).await.map_err(at(stage))?;
    expect(reply, wanted).map_err(at(stage))
}

fn expect(reply: Reply, wanted: fn(u16) -> bool) -> Result<Reply, Cause> {
    if wanted(reply.code) { Ok(reply) } else { Err(Cause::Reply(reply)) }
}

fn at(stage: Stage) -> impl Fn(Cause) -> Failure {
    move |cause| Failure { stage, cause }
}

/// What a client without a name says (RFC 5321 section 4.1.3).
fn address_literal(local: Option<SocketAddr>) -> ClientId {
    match local.map(|address| address.ip()) {
        Some(IpAddr::V4(ip)) => ClientId::Ipv4(ip),
        Some(IpAddr::V6(ip)) => ClientId::Ipv6(ip),
        None => ClientId::Domain("localhost".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream};

    use super::*;

    /// A connection whose relay end is `relay`, which takes `room` bytes before it must be read.
    fn connection(room: usize) -> (Connection, DuplexStream) {
        let (ours, relay) = tokio::io::duplex(room);
        (Connection::over(ours), relay)
    }

    fn mail(lines: usize) -> StoredMail {
        let address = |text: &str| text.parse().expect("a valid address");
        let bytes = "a line of the mail\r\n".repeat(lines).into();
        StoredMail { from: address("team@example.org"), to: address("guest@example.com"), bytes }
    }

    /// Reads what was written until the replies in `relay` are used up, and answers each with the next.
    async fn talk(relay: &mut DuplexStream, replies: &[&str]) {
        let mut heard = BufReader::new(relay);
        let mut line = String::new();
        for reply in replies {
            heard.read_line(&mut line).await.expect("a command");
            heard.get_mut().write_all(reply.as_bytes()).await.expect("an open connection");
        }
    }

    const UP_TO_DATA: [&str; 3] = ["250 ok\r\n", "250 ok\r\n", "354 go ahead\r\n"];

    #[tokio::test]
    async fn a_relay_that_closes_in_the_middle_of_a_mail_has_not_taken_it() {
        let (mut connection, mut relay) = connection(256);
        let relay = async {
            talk(&mut relay, &UP_TO_DATA).await;
            drop(relay);
        };
        let mut dot = false;
        let mail = mail(1_000);
        let (sent, ()) = tokio::join!(connection.send(&mail, |stage| dot |= stage == Stage::FinalDot), relay);
        let failure = sent.expect_err("the relay is gone");
        assert!(failure.stage == Stage::Body && matches!(failure.cause, Cause::Lost(_)), "{failure:?}");
        assert!(!dot && failure.broke_off_before_the_dot() && !connection.in_step(&failure));
    }

    #[tokio::test]
    async fn a_relay_that_refuses_in_the_middle_of_a_mail_is_believed() {
        let (mut connection, mut relay) = connection(256);
        let relay = async {
            talk(&mut relay, &UP_TO_DATA).await;
            relay.write_all(b"552 5.3.4 too large\r\n").await.expect("an open connection");
            drop(relay);
        };
        let mut dot = false;
        let mail = mail(1_000);
        let (sent, ()) = tokio::join!(connection.send(&mail, |stage| dot |= stage == Stage::FinalDot), relay);
        let failure = sent.expect_err("the relay is gone");
        assert_eq!(failure.error().code(), Some("552 5.3.4"));
        assert!(!dot && !connection.in_step(&failure));
    }

    #[tokio::test(start_paused = true)]
    async fn a_relay_that_stops_reading_a_mail_ends_with_the_deadline_of_a_block() {
        let (mut connection, mut relay) = connection(256);
        let relay = async {
            talk(&mut relay, &UP_TO_DATA).await;
            std::future::pending::<()>().await;
        };
        let mut dot = false;
        let mail = mail(1_000);
        let failure = tokio::select! {
            sent = connection.send(&mail, |stage| dot |= stage == Stage::FinalDot) => sent.expect_err("nobody reads"),
            () = relay => unreachable!("pending"),
        };
        let after = Timeouts::default().block;
        assert_eq!(failure, Failure { stage: Stage::Body, cause: Cause::Timeout(after) });
        assert!(!dot);
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_left_for_the_batch_ends_every_step_before_the_dot_and_not_the_dot() {
        let (mut connection, mut relay) = connection(1_024);
        connection.set_until(Instant::now() + Duration::from_secs(30));
        let started = Instant::now();
        let mail = mail(1);
        let failure = tokio::select! {
            sent = connection.send(&mail, |_| {}) => sent.expect_err("nobody answers"),
            () = std::future::pending() => unreachable!("pending"),
        };
        assert_eq!(failure.stage, Stage::MailFrom);
        assert_eq!(started.elapsed().as_secs(), 30);
        drop(relay);

        (connection, relay) = self::connection(1_024);
        connection.set_until(Instant::now() + Duration::from_secs(30));
        let started = Instant::now();
        let relay = async {
            talk(&mut relay, &UP_TO_DATA).await;
            std::future::pending::<()>().await;
        };
        let failure = tokio::select! {
            sent = connection.send(&mail, |_| {}) => sent.expect_err("nobody answers"),
            () = relay => unreachable!("pending"),
        };
        assert_eq!(failure.stage, Stage::FinalDot);
        assert_eq!(started.elapsed().as_secs(), 600);
    }
}
