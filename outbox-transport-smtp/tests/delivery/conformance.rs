//! The suite that every transport passes.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};

use outbox_core::conformance::TransportFixture;
use outbox_core::{Message, MessageId, async_trait, transport_conformance};
use outbox_transport_smtp::SmtpTransport;

use crate::relay::{Act, Event, Point, Relay};
use crate::{MAIL, message, to};

transport_conformance!(Smtp);

/// A relay whose recipients are named by message ids, which says what it shall refuse.
struct Smtp {
    relay: Relay,
    transport: SmtpTransport,
    will: Arc<Mutex<Will>>,
}

/// What the relay will do.
#[derive(Default)]
struct Will {
    refuse: HashSet<MessageId>,
    fail: HashSet<MessageId>,
    stopped: bool,
}

impl Will {
    fn act(&self, event: &Event) -> Act {
        if self.stopped {
            return Act::Close;
        }
        match event.point {
            Point::Rcpt if recipient(&event.line).is_some_and(|id| self.refuse.contains(&id)) => {
                Act::Say("550 5.1.1 no such user")
            }
            Point::Rcpt if recipient(&event.line).is_some_and(|id| self.fail.contains(&id)) => {
                Act::Say("450 4.2.1 mailbox busy")
            }
            _ => Act::Go,
        }
    }
}

impl Smtp {
    fn will(&self) -> MutexGuard<'_, Will> {
        self.will.lock().expect("no panic")
    }
}

#[async_trait]
impl TransportFixture for Smtp {
    type Transport = SmtpTransport;

    async fn fresh() -> Self {
        let will = Arc::new(Mutex::new(Will::default()));
        let shared = Arc::clone(&will);
        let relay = Relay::start(move |event| shared.lock().expect("no panic").act(event)).await;
        let transport = to(&relay).connections(3).build().expect("a valid transport");
        Self { relay, transport, will }
    }

    fn transport(&self) -> &SmtpTransport {
        &self.transport
    }

    fn message(&self, key: Option<&str>) -> Message {
        let mut message = message(key, MAIL);
        message.headers.insert("mail-to", format!("{}@example.com", message.id));
        message
    }

    async fn refuse(&self, message: &Message) {
        self.will().refuse.insert(message.id);
    }

    async fn fail(&self, message: &Message) {
        self.will().fail.insert(message.id);
    }

    async fn stop(&self) {
        self.will().stopped = true;
    }

    async fn resume(&self) {
        self.will().stopped = false;
    }

    async fn arrived(&self) -> Vec<MessageId> {
        let arrived = self.relay.arrived();
        arrived.iter().map(|mail| recipient(&mail.envelope[1]).expect("a recipient of ours")).collect()
    }
}

/// The message id in `RCPT TO:<id@example.com>`.
fn recipient(line: &str) -> Option<MessageId> {
    line.strip_prefix("RCPT TO:<")?.split('@').next()?.parse().ok()
}
