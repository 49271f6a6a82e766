//! A transport of one's own in twenty lines: `cargo run --example custom_transport`.
//!
//! The destination is a made-up one: it takes a line over TCP and answers `ok` or `no`.

use std::net::SocketAddr;

use anyhow::Result;
use outbox::{
    Delivery, Dispatcher, Enqueue, LeasedDispatcher, MemoryOutbox, NeverRetry, NewMessage, Outcome,
    PerMessage, Route, SendOne, async_trait,
};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};

/// Sends each message as one line.
#[derive(Debug)]
struct Lines {
    receiver: SocketAddr,
}

#[async_trait]
impl SendOne for Lines {
    async fn send(&self, delivery: &Delivery) -> Outcome {
        // Nobody has seen anything yet: that is the destination's fault, and costs the message no attempt.
        let Ok(stream) = TcpStream::connect(self.receiver).await else {
            return Outcome::unavailable("the receiver takes no connection");
        };
        // The id goes along, so that the receiver can tell a message that comes twice.
        let line =
            format!("{} {}\n", delivery.message.id, String::from_utf8_lossy(&delivery.message.payload));
        let mut stream = BufStream::new(stream);
        let mut answer = String::new();
        let exchange = async {
            stream.write_all(line.as_bytes()).await?;
            stream.flush().await?;
            stream.read_line(&mut answer).await
        };
        match (exchange.await, answer.as_str()) {
            (Ok(_), "ok\n") => Outcome::delivered(),
            (Ok(_), "no\n") => Outcome::permanent("the receiver refused the message"),
            // The line may have arrived before the connection broke. Saying so marks the redelivery.
            _ => Outcome::ambiguous("the receiver did not answer"),
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let receiver = listener.local_addr()?;
    tokio::spawn(receive(listener));

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
    println!("{} delivered, {} dead letter", summary.delivered, summary.dead);
    Ok(())
}

/// The destination.
async fn receive(listener: TcpListener) -> Result<()> {
    loop {
        let mut stream = BufStream::new(listener.accept().await?.0);
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let answer = if line.contains("bad:") { "no\n" } else { "ok\n" };
        print!("received {line}");
        stream.write_all(answer.as_bytes()).await?;
        stream.flush().await?;
    }
}
