//! A transport that works, except for one flaw, and its destination: a server with one reply per request.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use outbox_core::conformance::TransportFixture;
use outbox_core::{Delivery, DeliveryReport, Message, MessageId, Outcome, Transport, async_trait};
use tokio::sync::Semaphore;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    DeliversWithoutSending,
    SendsTwice,
    SendsANewId,
    SkipsTheInDoubt,
    ForgetsTheLast,
    OneFailsAll,
    RetriesTheRefused,
    GivesUpTheFailing,
    BlamesTheMessage,
    SaysNothingOfAnOutage,
    StaysDown,
    MixesUpPositions,
    ReadsALateReply,
    LosesPermits,
    RecordsTooEarly,
    Overtakes,
    GoesOnAfterAFailure,
    SendsForAnEmptyBatch,
}

/// Where messages go.
#[derive(Default)]
struct Server {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    arrived: Vec<MessageId>,
    refused: HashSet<MessageId>,
    failing: HashSet<MessageId>,
    down: bool,
    /// Replies that a dropped call did not read.
    unread: VecDeque<Reply>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reply {
    Accepted,
    Refused,
    Failed,
    Down,
}

impl Server {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds the state")
    }

    fn request(&self, id: MessageId) -> Reply {
        let mut state = self.state();
        if state.down {
            return Reply::Down;
        }
        if state.refused.contains(&id) {
            return Reply::Refused;
        }
        if state.failing.contains(&id) {
            return Reply::Failed;
        }
        state.arrived.push(id);
        Reply::Accepted
    }
}

/// Sends one message after another over one connection.
#[derive(Clone)]
pub(crate) struct Sender {
    flaw: Flaw,
    server: Arc<Server>,
    connection: Arc<Semaphore>,
    seen_down: Arc<Mutex<bool>>,
}

/// Puts the reply back when the call is dropped before it was read: the connection is out of step from then on.
struct InStep<'s> {
    server: &'s Server,
    reply: Option<Reply>,
}

impl Drop for InStep<'_> {
    fn drop(&mut self) {
        if let Some(reply) = self.reply.take() {
            self.server.state().unread.push_back(reply);
        }
    }
}

impl Sender {
    async fn send(&self, delivery: &Delivery) -> Reply {
        let id = delivery.message.id;
        match self.flaw {
            Flaw::DeliversWithoutSending => return Reply::Accepted,
            Flaw::SkipsTheInDoubt if delivery.in_doubt => return Reply::Accepted,
            Flaw::SendsTwice => {
                self.server.request(id);
            }
            Flaw::StaysDown if *self.seen_down.lock().expect("not poisoned") => return Reply::Down,
            _ => {}
        }
        let id = if self.flaw == Flaw::SendsANewId { MessageId::generate() } else { id };
        tokio::task::yield_now().await;
        let reply = self.server.request(id);
        *self.seen_down.lock().expect("not poisoned") |= reply == Reply::Down;
        if self.flaw != Flaw::ReadsALateReply {
            tokio::task::yield_now().await;
            return reply;
        }
        let mut in_step = InStep { server: &self.server, reply: Some(reply) };
        tokio::task::yield_now().await;
        let own = in_step.reply.take().unwrap_or(reply);
        let mut state = self.server.state();
        state.unread.push_back(own);
        state.unread.pop_front().unwrap_or(own)
    }

    fn outcome(&self, reply: Reply) -> Outcome {
        match (reply, self.flaw) {
            (Reply::Accepted, _) => Outcome::delivered(),
            (Reply::Refused, Flaw::RetriesTheRefused) => Outcome::transient("refused for good"),
            (Reply::Refused, _) => Outcome::permanent("refused for good"),
            (Reply::Failed, Flaw::GivesUpTheFailing) => Outcome::permanent("refused for now"),
            (Reply::Failed, _) => Outcome::transient("refused for now"),
            (Reply::Down, Flaw::BlamesTheMessage) => Outcome::transient("no connection"),
            (Reply::Down, Flaw::SaysNothingOfAnOutage) => Outcome::NotSent,
            (Reply::Down, _) => Outcome::unavailable("no connection"),
        }
    }
}

#[async_trait]
impl Transport for Sender {
    async fn deliver(&self, batch: &[Delivery], report: &DeliveryReport) {
        if batch.is_empty() && self.flaw == Flaw::SendsForAnEmptyBatch {
            self.server.request(MessageId::generate());
        }
        if self.flaw == Flaw::LosesPermits {
            match self.connection.try_acquire() {
                Ok(permit) => permit.forget(),
                Err(_) => return report.record_rest(batch, &Outcome::unavailable("no connection is free")),
            }
        }
        let _permit = match self.flaw {
            Flaw::LosesPermits => None,
            _ => self.connection.acquire().await.ok(),
        };
        let order: Vec<usize> = match self.flaw {
            Flaw::Overtakes => (0..batch.len()).rev().collect(),
            Flaw::ForgetsTheLast => (0..batch.len().saturating_sub(1)).collect(),
            _ => (0..batch.len()).collect(),
        };
        let mut stopped: HashSet<&str> = HashSet::new();
        let mut failed = false;
        for n in order {
            let delivery = &batch[n];
            let key = delivery.message.key.as_deref();
            let after_failure =
                key.is_some_and(|key| stopped.contains(key)) && self.flaw != Flaw::GoesOnAfterAFailure;
            if after_failure || (failed && self.flaw == Flaw::OneFailsAll) {
                report.record(delivery, Outcome::NotSent);
                continue;
            }
            if self.flaw == Flaw::RecordsTooEarly {
                report.record(delivery, Outcome::delivered());
            }
            let reply = self.send(delivery).await;
            if reply != Reply::Accepted {
                failed = true;
                stopped.extend(key);
            }
            let recorded =
                if self.flaw == Flaw::MixesUpPositions { &batch[batch.len() - 1 - n] } else { delivery };
            report.record(recorded, self.outcome(reply));
        }
        if self.flaw == Flaw::LosesPermits {
            // Given back at the end, which a dropped call never reaches.
            self.connection.add_permits(1);
        }
    }

    fn keeps_order(&self) -> bool {
        true
    }
}

pub(crate) struct Flawed {
    sender: Sender,
}

impl Flawed {
    pub(crate) fn new(flaw: Flaw) -> Self {
        let connection = Arc::new(Semaphore::new(1));
        Self { sender: Sender { flaw, server: Arc::default(), connection, seen_down: Arc::default() } }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.sender.server.state()
    }
}

#[async_trait]
impl TransportFixture for Flawed {
    type Transport = Sender;

    async fn fresh() -> Self {
        Self::new(Flaw::None)
    }
    fn transport(&self) -> &Sender {
        &self.sender
    }
    fn message(&self, key: Option<&str>) -> Message {
        let mut message = Message::new(MessageId::generate(), "orders", &b"payload"[..]);
        message.key = key.map(str::to_owned);
        message
    }
    async fn refuse(&self, message: &Message) {
        self.state().refused.insert(message.id);
    }
    async fn fail(&self, message: &Message) {
        self.state().failing.insert(message.id);
    }
    async fn stop(&self) {
        self.state().down = true;
    }
    async fn resume(&self) {
        self.state().down = false;
    }
    async fn arrived(&self) -> Vec<MessageId> {
        self.state().arrived.clone()
    }
}

/// The intact transport, which claims nothing about order.
pub(crate) struct OneByOne {
    destination: Flawed,
    transport: Unordered,
}

pub(crate) struct Unordered(Sender);

#[async_trait]
impl Transport for Unordered {
    async fn deliver(&self, batch: &[Delivery], report: &DeliveryReport) {
        self.0.deliver(batch, report).await;
    }
}

#[async_trait]
impl TransportFixture for OneByOne {
    type Transport = Unordered;

    async fn fresh() -> Self {
        let destination = Flawed::new(Flaw::None);
        let transport = Unordered(destination.sender.clone());
        Self { destination, transport }
    }
    fn transport(&self) -> &Unordered {
        &self.transport
    }
    fn message(&self, key: Option<&str>) -> Message {
        self.destination.message(key)
    }
    async fn refuse(&self, message: &Message) {
        self.destination.refuse(message).await;
    }
    async fn fail(&self, message: &Message) {
        self.destination.fail(message).await;
    }
    async fn stop(&self) {
        self.destination.stop().await;
    }
    async fn resume(&self) {
        self.destination.resume().await;
    }
    async fn arrived(&self) -> Vec<MessageId> {
        self.destination.arrived().await
    }
}
