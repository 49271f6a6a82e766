//! The dispatcher's side: what this binary is when it is run again by a test.

use std::io::Read;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use outbox_core::{
    Claim, ClaimRequest, Delivery, Dispatcher, DispatcherId, Epoch, Fence, FixedDelays, LeasedDispatcher,
    OnDead, OutboxStore, Outcome, Ownership, PerMessage, Route, SendOne, Settings, Settlement, Slot,
    StoreError, WakeUp, async_trait,
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::outbox::{Outbox, TOPIC};
use crate::receiver::{Answer, Said};

/// In this variable a dispatcher finds its [`Role`].
pub(crate) const ROLE: &str = "OUTBOX_FAULTS_ROLE";

/// Messages in flight per dispatcher, at most.
pub(crate) const IN_FLIGHT: usize = 40;

/// What a dispatcher is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Role {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) receiver: SocketAddr,
    pub(crate) lease: Duration,
    /// Between the attempts of a message; after the last one it is a dead letter.
    pub(crate) delays: Vec<Duration>,
    /// A dead letter holds its key.
    pub(crate) park: bool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a process that the other tests start"]
async fn a_process_of_another_test() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let role: Role = serde_json::from_str(&role).unwrap();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();

    let (says, said) = mpsc::unbounded_channel();
    tokio::spawn(speak(role.receiver, role.name.clone(), said));
    let epoch = Arc::new(AtomicI64::new(0));
    let store = Watched {
        store: Outbox::at(&role.url).store(),
        lease: role.lease,
        epoch: Arc::clone(&epoch),
        renewed: Mutex::new(None),
        says,
    };
    let sender =
        Wire { receiver: role.receiver, name: role.name.clone(), epoch, idle: Mutex::new(Vec::new()) };
    let route = Route::topic(TOPIC, PerMessage::new(10, sender))
        .batch(20)
        .max_in_flight(IN_FLIGHT, 1 << 20)
        .retry(FixedDelays::new(role.delays))
        .on_dead(if role.park { OnDead::Park } else { OnDead::Skip })
        .pause(Duration::from_millis(50), Duration::from_millis(500));
    let settings = Settings {
        lease: role.lease,
        batch: 40,
        max_held: 200,
        poll_min: Duration::from_millis(5),
        poll_max: Duration::from_millis(100),
        shutdown_within: Duration::from_secs(10),
        ..Settings::default()
    };
    let dispatcher =
        LeasedDispatcher::builder(store).name(role.name).settings(settings).route(route).build().unwrap();
    dispatcher.run(Box::pin(told_to_stop())).await.unwrap();
}

/// Resolves at the end of the standard input: the test closes it, or is gone.
async fn told_to_stop() {
    let (stop, stopped) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = stop.send(());
    });
    let _ = stopped.await;
}

/// Says what the store answers to the receiving side.
async fn speak(receiver: SocketAddr, name: String, mut said: mpsc::UnboundedReceiver<Said>) {
    let mut stream = connect(receiver, &name).await.unwrap();
    while let Some(said) = said.recv().await {
        stream.write_all(&line(&said)).await.unwrap();
    }
}

async fn connect(receiver: SocketAddr, name: &str) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(receiver).await?;
    stream.set_nodelay(true)?;
    stream.write_all(&line(&Said::Iam(name.to_owned()))).await?;
    Ok(stream)
}

fn line(said: &Said) -> Vec<u8> {
    let mut line = serde_json::to_vec(said).unwrap();
    line.push(b'\n');
    line
}

/// Sends to the receiving side, over connections that are used for one message at a time.
struct Wire {
    receiver: SocketAddr,
    name: String,
    /// The session of this process, as far as it knows.
    epoch: Arc<AtomicI64>,
    idle: Mutex<Vec<BufReader<TcpStream>>>,
}

impl Wire {
    async fn ask(&self, stream: &mut BufReader<TcpStream>, said: &Said) -> std::io::Result<Answer> {
        stream.get_mut().write_all(&line(said)).await?;
        let mut answer = String::new();
        stream.read_line(&mut answer).await?;
        Ok(serde_json::from_str(&answer)?)
    }
}

#[async_trait]
impl SendOne for Wire {
    async fn send(&self, delivery: &Delivery) -> Outcome {
        let message = &delivery.message;
        let said = Said::Delivery {
            id: *message.id.as_uuid(),
            key: message.key.as_deref().unwrap().parse().unwrap(),
            number: std::str::from_utf8(&message.payload).unwrap().parse().unwrap(),
            attempt: delivery.attempt,
            in_doubt: delivery.in_doubt,
            epoch: self.epoch.load(Ordering::SeqCst),
        };
        let idle = self.idle.lock().unwrap().pop();
        let mut stream = match idle {
            Some(stream) => stream,
            None => match connect(self.receiver, &self.name).await {
                Ok(stream) => BufReader::new(stream),
                Err(error) => return Outcome::unavailable(error.to_string()),
            },
        };
        // Dropped half-way, the connection is closed: an answer can never be taken for another message's.
        let answer = match self.ask(&mut stream, &said).await {
            Ok(answer) => answer,
            Err(error) => return Outcome::ambiguous(error.to_string()),
        };
        self.idle.lock().unwrap().push(stream);
        match answer {
            Answer::Accept => Outcome::delivered(),
            Answer::Fail => Outcome::transient("refused"),
            Answer::Down => Outcome::unavailable("down"),
            Answer::Die => std::process::abort(),
        }
    }
}

/// The store, which also says to the receiving side what it answered.
struct Watched {
    store: Arc<dyn OutboxStore>,
    lease: Duration,
    epoch: Arc<AtomicI64>,
    /// The last renewal that was answered: when it was asked for, and the session.
    renewed: Mutex<Option<(Instant, Epoch)>>,
    says: mpsc::UnboundedSender<Said>,
}

impl Watched {
    fn say(&self, said: Said) {
        let _ = self.says.send(said);
    }
}

#[async_trait]
impl OutboxStore for Watched {
    async fn renew(
        &self,
        me: &DispatcherId,
        epoch: Option<Epoch>,
        lease_for: Duration,
    ) -> Result<Ownership, StoreError> {
        let asked = Instant::now();
        let owned = self.store.renew(me, epoch, lease_for).await?;
        let before = self.renewed.lock().unwrap().replace((asked, owned.epoch));
        // The dispatcher itself trusts its lease for nine tenths of it.
        let lapsed =
            before.is_some_and(|(at, epoch)| epoch != owned.epoch || at.elapsed() > self.lease * 9 / 10);
        self.epoch.store(owned.epoch.0, Ordering::SeqCst);
        self.say(Said::Renewed { epoch: owned.epoch.0, slots: owned.slots.len(), lapsed });
        Ok(owned)
    }

    async fn claim(&self, request: &ClaimRequest<'_>) -> Result<Claim, StoreError> {
        self.store.claim(request).await
    }

    async fn settle(&self, epoch: Epoch, settlement: &Settlement<'_>) -> Result<Fence, StoreError> {
        let asked = SystemTime::now();
        let fence = self.store.settle(epoch, settlement).await?;
        if fence != Fence::Lost {
            self.say(Said::Settled { epoch: epoch.0, asked });
        }
        Ok(fence)
    }

    async fn release(&self, epoch: Epoch, slots: &[Slot]) -> Result<(), StoreError> {
        self.store.release(epoch, slots).await
    }

    async fn tidy(&self, limit: u32) -> Result<u64, StoreError> {
        self.store.tidy(limit).await
    }

    fn wake_up(&self) -> WakeUp {
        self.store.wake_up()
    }
}
