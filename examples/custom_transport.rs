//! A transport of one's own in some twenty lines: `cargo run --example custom_transport`.
//!
//! The destination is a made-up one: it takes a line over TCP and answers `ok` or `no`. With an address behind `--`, the
//! messages go to a receiver of yours.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use outbox::{
    Delivery, Dispatcher, Enqueue, LeasedDispatcher, MemoryOutbox, NeverRetry, NewMessage, Outcome,
    PerMessage, Route, SendOne, async_trait,
};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// How long either side waits for the other. A wait without an end would hold up the message for ever.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends each message as one line.
#[derive(Debug)]
struct Lines {
    receiver: SocketAddr,
}

#[async_trait]
impl SendOne for Lines {
    async fn send(&self, delivery: &Delivery) -> Outcome {
        // Nobody has seen anything yet: that is the destination's fault, and costs the message no attempt.
        let Ok(Ok(mut stream)) = timeout(PATIENCE, TcpStream::connect(self.receiver)).await else {
            return Outcome::unavailable("the receiver takes no connection");
        };
        // The id goes along, so that the receiver can tell a message that comes twice.
        let line =
            format!("{} {}\n", delivery.message.id, String::from_utf8_lossy(&delivery.message.payload));
        let mut answer = String::new();
        let exchange = async {
            stream.write_all(line.as_bytes()).await?;
            // Three bytes are a whole answer; whoever sends more than that does not fill our memory.
            stream.take(3).read_to_string(&mut answer).await
        };
        match (timeout(PATIENCE, exchange).await, answer.as_str()) {
            (Ok(Ok(_)), "ok\n") => Outcome::delivered(),
            (Ok(Ok(_)), "no\n") => Outcome::permanent("the receiver refused the message"),
            // The line may have arrived before the connection broke. Saying so marks the redelivery.
            _ => Outcome::ambiguous("the receiver did not answer as it should"),
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    // The dispatcher logs through `tracing`: why it waits or tries again is seen by who listens.
    tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_writer(std::io::stderr).init();
    let receiver = match std::env::args().nth(1) {
        Some(address) => address.parse().context("the address is not one like 127.0.0.1:7000")?,
        None => {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let receiver = listener.local_addr()?;
            tokio::spawn(receive(listener));
            receiver
        }
    };

    // A store in memory, to keep this short; with a database, enqueue in the transaction of the business change.
    let outbox = MemoryOutbox::new();
    let mut tx = outbox.begin();
    for payload in ["the first order", "the second order", "bad: an order that is refused"] {
        let message = NewMessage::builder("orders").payload(payload, "text/plain").build()?;
        outbox.enqueue(&mut tx, &[message]).await?;
    }
    outbox.commit(tx);

    // Four messages under way at a time; those of one key would still go one after another.
    let transport = PerMessage::new(4, Lines { receiver });
    let dispatcher = LeasedDispatcher::builder(outbox)
        .route(Route::topic("orders", transport).retry(NeverRetry))
        .build()?;
    let summary = dispatcher.drain().await?;
    println!("delivered: {}, dead letters: {}", summary.delivered, summary.dead);
    Ok(())
}

/// The destination.
async fn receive(listener: TcpListener) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        // One client that breaks off is no reason to turn the others away.
        tokio::spawn(timeout(PATIENCE, answer(stream)));
    }
}

async fn answer(mut stream: TcpStream) -> Result<()> {
    let mut line = String::new();
    BufReader::new((&mut stream).take(64 * 1024)).read_line(&mut line).await?;
    print!("received {line}");
    stream.write_all(if line.contains("bad:") { b"no\n" } else { b"ok\n" }).await?;
    Ok(())
}
