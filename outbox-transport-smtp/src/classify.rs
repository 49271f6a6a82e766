//! [`classify`]: what a failed mail transaction means for the message, as a pure function.

use std::fmt;
use std::time::Duration;

use outbox_core::{DeliveryError, Outcome};

use crate::reply::{Reply, without_addresses};

/// How far the conversation had come. The order is that of the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Connect,
    TlsHandshake,
    Greeting,
    Hello,
    StartTls,
    Login,
    MailFrom,
    RcptTo,
    Data,
    /// The mail is under way, its final dot is not.
    Body,
    /// The final dot was written, or may have been: the relay may have taken the mail.
    FinalDot,
}

/// Why the conversation could not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The relay answered, and not what the stage needs.
    Reply(Reply),
    /// The connection could not be made, or broke.
    Lost(String),
    /// Nothing came within the deadline.
    Timeout(Duration),
    /// What came is no reply, or came unasked.
    Garbled(&'static str),
    /// The relay lacks what the settings ask of every connection.
    Lacks(&'static str),
    /// The mail cannot go through this relay.
    Unfit(&'static str),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) stage: Stage,
    pub(crate) cause: Cause,
}

impl Failure {
    /// The conversation broke or fell out of step after the relay had taken the sender and before the final dot:
    /// nothing was accepted, and whether message or relay is to blame cannot be told from this alone.
    pub(crate) fn broke_off_before_the_dot(&self) -> bool {
        let broke = match &self.cause {
            Cause::Lost(_) | Cause::Timeout(_) | Cause::Garbled(_) => true,
            Cause::Reply(reply) => reply.code < 400,
            Cause::Lacks(_) | Cause::Unfit(_) => false,
        };
        broke && (Stage::RcptTo..Stage::FinalDot).contains(&self.stage)
    }

    fn advice(&self) -> &'static str {
        match (self.stage, &self.cause) {
            (Stage::Login, Cause::Reply(reply)) if reply.code == 535 => "; check user and password",
            (Stage::TlsHandshake, Cause::Lost(why)) if why.contains("UnknownIssuer") => {
                "; if the relay has a private authority, add its certificate with `root_certificates`"
            }
            (Stage::Connect, Cause::Lost(_) | Cause::Timeout(_)) => "; check host, port and firewall",
            _ => "",
        }
    }

    /// For a person; holds no address.
    pub(crate) fn error(&self) -> DeliveryError {
        let text = format!("{}: {}{}", self.stage, self.cause, self.advice());
        match &self.cause {
            Cause::Reply(reply) => DeliveryError::new(text).with_code(match reply.enhanced() {
                Some(enhanced) => format!("{} {enhanced}", reply.code),
                None => reply.code.to_string(),
            }),
            _ => DeliveryError::new(text),
        }
    }
}

/// What `failure` means, by how far the conversation had come.
///
/// Up to `MAIL` everything is the relay's matter; from `RCPT` on a refusal is about this message; and once the
/// final dot may have been written, only a clear refusal says that the mail was not taken.
pub(crate) fn classify(failure: &Failure) -> Outcome {
    let error = failure.error();
    match (&failure.cause, failure.stage) {
        (Cause::Reply(reply), stage) => refused(stage, reply, error),
        (Cause::Unfit(_), _) => Outcome::Permanent { error },
        (Cause::Lacks(_), _) => Outcome::Unavailable { retry_after: None, error },
        (_, Stage::FinalDot) => Outcome::Ambiguous { error },
        // An attempt is spent, or a mail at which the relay breaks off each time would hold up its route for ever.
        (_, Stage::RcptTo | Stage::Data | Stage::Body) => Outcome::Transient { retry_after: None, error },
        (_, _up_to_mail) => Outcome::Unavailable { retry_after: None, error },
    }
}

fn refused(stage: Stage, reply: &Reply, error: DeliveryError) -> Outcome {
    let relay_says_no_to_all = match reply.code {
        // The relay closes the connection (RFC 5321 section 3.8), or wants another login (RFC 4954 section 6).
        421 | 530 | 534 | 535 | 538 => true,
        500..600 => stage < Stage::MailFrom,
        _ => stage <= Stage::MailFrom,
    };
    match reply.code {
        _ if relay_says_no_to_all => Outcome::Unavailable { retry_after: None, error },
        500..600 => Outcome::Permanent { error },
        400..500 => Outcome::Transient { retry_after: None, error },
        // Neither a refusal nor the one reply that accepts: the conversation is out of step.
        _ if stage == Stage::FinalDot => Outcome::Ambiguous { error },
        _ => Outcome::Transient { retry_after: None, error },
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connecting to the relay",
            Self::TlsHandshake => "setting up TLS with the relay",
            Self::Greeting => "waiting for the relay's greeting",
            Self::Hello => "saying EHLO",
            Self::StartTls => "asking for STARTTLS",
            Self::Login => "logging in",
            Self::MailFrom => "naming the sender",
            Self::RcptTo => "naming the recipient",
            Self::Data => "asking to send the mail",
            Self::Body => "sending the mail",
            Self::FinalDot => "waiting for the relay to accept the mail",
        })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply(reply) => {
                write!(f, "the relay answered {} {}", reply.code, without_addresses(&reply.text()))
            }
            Self::Lost(why) => write!(f, "the connection failed: {}", without_addresses(why)),
            Self::Timeout(after) => write!(f, "no answer within {after:?}"),
            Self::Garbled(why) => write!(f, "the relay's reply cannot be used: {why}"),
            Self::Lacks(what) | Self::Unfit(what) => f.write_str(what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Class {
        Transient,
        Permanent,
        Unavailable,
        Ambiguous,
    }
    use Class::{Ambiguous, Permanent, Transient, Unavailable};
    use Stage::{
        Body, Connect, Data, FinalDot, Greeting, Hello, Login, MailFrom, RcptTo, StartTls, TlsHandshake,
    };

    fn class(stage: Stage, cause: Cause) -> Class {
        match classify(&Failure { stage, cause }) {
            Outcome::Transient { .. } => Transient,
            Outcome::Permanent { .. } => Permanent,
            Outcome::Unavailable { .. } => Unavailable,
            Outcome::Ambiguous { .. } => Ambiguous,
            other => panic!("a failure became {other:?}"),
        }
    }

    fn reply(code: u16) -> Cause {
        Cause::Reply(Reply { code, lines: vec!["text".into()] })
    }

    #[test]
    fn each_reply_means_what_its_stage_says() {
        let rows: &[(Stage, u16, Class, &str)] = &[
            (Greeting, 421, Unavailable, "the relay is too busy for a connection"),
            (Greeting, 450, Unavailable, "nobody gets through"),
            (Greeting, 554, Unavailable, "no SMTP service here: no mail is to blame"),
            (Greeting, 354, Unavailable, "not an SMTP greeting"),
            (Hello, 502, Unavailable, "EHLO refused hits every mail"),
            (Hello, 550, Unavailable, "our name or address is refused, not the mail"),
            (StartTls, 454, Unavailable, "TLS is down for all"),
            (StartTls, 501, Unavailable, "a setting is wrong, not the mail"),
            (Login, 454, Unavailable, "the relay's login is down"),
            (Login, 535, Unavailable, "a wrong password must not end mails"),
            (Login, 534, Unavailable, "the relay wants another mechanism"),
            (Login, 500, Unavailable, "AUTH is not understood"),
            (MailFrom, 421, Unavailable, "the relay closes"),
            (MailFrom, 450, Unavailable, "throttled: it would be so for the next mail too"),
            (MailFrom, 452, Unavailable, "the relay's disk is full"),
            (MailFrom, 530, Unavailable, "a login is missing"),
            (MailFrom, 534, Unavailable, "a stronger login is wanted"),
            (MailFrom, 535, Unavailable, "the login is refused late"),
            (MailFrom, 538, Unavailable, "TLS is wanted first"),
            (MailFrom, 550, Permanent, "this sender is refused"),
            (MailFrom, 552, Permanent, "the announced size is too large"),
            (MailFrom, 555, Permanent, "a parameter that this mail needs is refused"),
            (MailFrom, 354, Unavailable, "out of step, and nothing was accepted"),
            (RcptTo, 421, Unavailable, "the relay closes"),
            (RcptTo, 450, Transient, "greylisted, or the mailbox is busy"),
            (RcptTo, 452, Transient, "the mailbox is full now"),
            (RcptTo, 550, Permanent, "no such mailbox"),
            (RcptTo, 553, Permanent, "the name is not allowed"),
            (RcptTo, 530, Unavailable, "a relay that checks the login late says so here"),
            (RcptTo, 354, Transient, "out of step; a mail that always causes it must end"),
            (Data, 421, Unavailable, "the relay closes"),
            (Data, 451, Transient, "a local error with this mail"),
            (Data, 554, Permanent, "no valid recipient"),
            (Data, 250, Transient, "only 354 asks for the mail, which was not sent"),
            (Body, 421, Unavailable, "the relay closes while it reads"),
            (Body, 451, Transient, "refused while under way"),
            (Body, 552, Permanent, "too large, said while under way"),
            (Body, 250, Transient, "nothing is accepted before the dot"),
            (FinalDot, 421, Unavailable, "a refusal: the mail was not taken"),
            (FinalDot, 451, Transient, "not taken now"),
            (FinalDot, 452, Transient, "no room now"),
            (FinalDot, 550, Permanent, "the content is refused"),
            (FinalDot, 554, Permanent, "the transaction failed for good"),
            (FinalDot, 251, Ambiguous, "positive, and not the reply that accepts a mail"),
            (FinalDot, 220, Ambiguous, "belongs to another command: out of step"),
            (FinalDot, 354, Ambiguous, "an earlier reply that came late: out of step"),
        ];
        for &(stage, code, expected, why) in rows {
            assert_eq!(class(stage, reply(code)), expected, "{code} at {stage:?}: {why}");
        }
    }

    #[test]
    fn a_broken_conversation_means_what_its_stage_says() {
        let broken = [
            Cause::Lost("reset".into()),
            Cause::Timeout(Duration::from_secs(1)),
            Cause::Garbled("a line has no reply code"),
        ];
        let rows: &[(&[Stage], Class, &str)] = &[
            (&[Connect, TlsHandshake, Greeting, Hello, StartTls, Login], Unavailable, "before any mail"),
            (&[MailFrom], Unavailable, "the recipient is not even named"),
            (&[RcptTo, Data, Body], Transient, "nothing accepted, and it may be this mail's doing"),
            (&[FinalDot], Ambiguous, "the relay may have taken it"),
        ];
        for &(stages, expected, why) in rows {
            for &stage in stages {
                for cause in &broken {
                    assert_eq!(class(stage, cause.clone()), expected, "{cause:?} at {stage:?}: {why}");
                }
            }
        }
    }

    #[test]
    fn what_a_relay_lacks_pauses_the_route_and_what_a_mail_needs_ends_the_mail() {
        for stage in [StartTls, Login] {
            assert_eq!(class(stage, Cause::Lacks("no STARTTLS")), Unavailable);
        }
        assert_eq!(class(MailFrom, Cause::Unfit("needs SMTPUTF8")), Permanent);
    }

    #[test]
    fn only_a_break_between_recipient_and_dot_leaves_open_who_is_to_blame() {
        let lost = Cause::Lost("reset".into());
        for stage in [RcptTo, Data, Body] {
            assert!(Failure { stage, cause: lost.clone() }.broke_off_before_the_dot(), "{stage:?}");
            assert!(Failure { stage, cause: reply(250) }.broke_off_before_the_dot(), "{stage:?}");
            assert!(!Failure { stage, cause: reply(451) }.broke_off_before_the_dot(), "{stage:?}");
        }
        for stage in [Connect, Login, MailFrom, FinalDot] {
            assert!(!Failure { stage, cause: lost.clone() }.broke_off_before_the_dot(), "{stage:?}");
        }
    }

    #[test]
    fn the_error_keeps_both_codes_and_drops_the_address() {
        let lines = vec!["5.1.1 <guest@example.com>:".into(), "5.1.1 no such user".into()];
        let error = Failure { stage: RcptTo, cause: Cause::Reply(Reply { code: 550, lines }) }.error();
        assert_eq!(error.code(), Some("550 5.1.1"));
        assert!(error.text().contains("no such user"), "{error}");
        assert!(error.text().contains("naming the recipient"), "{error}");
        assert!(!error.text().contains("guest"), "{error}");
    }
}
