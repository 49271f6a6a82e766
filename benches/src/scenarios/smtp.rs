//! How fast mail goes to a relay on this machine: an SQLite outbox with invitations, the SMTP transport with 1, 4 and
//! 16 connections, and a sink that accepts everything at once: what is left is what the library costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use outbox::smtp::{CalendarInvite, EmailMessage, Mailbox, SmtpTransport};
use outbox::{DispatcherExt, Enqueue, LeasedDispatcher, NewMessage, Route, SqliteOutbox};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::Context;
use crate::figures::Table;

pub(super) async fn run(context: &mut Context<'_>) {
    let (rounds, mails) = (context.rounds(3), context.messages(5_000));
    let mut rendering = Table::new("Rendering an invitation, one thread", "mails/s");
    let mut figures = Table::new("Delivery over SMTP on loopback", "mails/s").over("1 connections");
    for round in 0..rounds {
        eprintln!("  round {} of {rounds}", round + 1);
        for connections in [1, 4, 16] {
            let started = Instant::now();
            let messages: Vec<NewMessage> = (0..mails).map(invitation).collect();
            rendering.add("an invitation", mails as f64 / started.elapsed().as_secs_f64());
            figures.add(format!("{connections} connections"), deliver(&messages, connections).await);
        }
    }
    context.report.setting("mails", mails);
    context.report.tables = vec![rendering, figures];
}

fn invitation(number: usize) -> NewMessage {
    let render = || {
        let starts = SystemTime::now() + Duration::from_secs(86_400);
        let invite = CalendarInvite::request(format!("appointment-{number}@example.org"))
            .organizer(Mailbox::new("studio@example.org")?.named("The studio")?)
            .attendee(Mailbox::new("guest@example.com")?.named("A guest")?)
            .time(starts, starts + Duration::from_secs(1_800))
            .summary("First lesson")
            .build()?;
        EmailMessage::invitation(invite).text("Your first lesson is booked.").build()?.to_message("mail")
    };
    render().expect("a valid invitation").build().expect("a valid message")
}

async fn deliver(messages: &[NewMessage], connections: usize) -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let options =
        SqliteConnectOptions::new().filename(folder.path().join("mail.sqlite")).create_if_missing(true);
    let outbox = SqliteOutbox::new(SqlitePool::connect_lazy_with(options));
    outbox.migrate().await.expect("the tables");
    for batch in messages.chunks(1_000) {
        let mut tx = outbox.begin().await.expect("begin");
        outbox.enqueue(&mut tx, batch).await.expect("enqueue");
        tx.commit().await.expect("commit");
    }
    let sink = Sink::start(messages.len()).await;
    let smtp =
        SmtpTransport::builder().url(&format!("smtp://{}", sink.address)).connections(connections).build();
    let route = Route::topic("mail", smtp.expect("a transport")).parallel(2);
    let dispatcher = LeasedDispatcher::builder(outbox).route(route).build().expect("a dispatcher");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let started = Instant::now();
    let running = tokio::spawn(async move { dispatcher.run_until(stopped).await });
    sink.full.notified().await;
    let rate = messages.len() as f64 / started.elapsed().as_secs_f64();
    drop(stop);
    running.await.expect("no panic").expect("a clean end");
    rate
}

/// Accepts every mail at once.
struct Sink {
    address: std::net::SocketAddr,
    full: Arc<Notify>,
}

impl Sink {
    async fn start(target: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (full, count) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        let rings = Arc::clone(&full);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (count, rings) = (Arc::clone(&count), Arc::clone(&rings));
                tokio::spawn(async move {
                    let accepted = || {
                        if count.fetch_add(1, Ordering::SeqCst) + 1 == target {
                            rings.notify_one();
                        }
                    };
                    // A client that hangs up ends its conversation.
                    let _ = converse(stream, accepted).await;
                });
            }
        });
        Self { address, full }
    }
}

async fn converse(stream: TcpStream, accepted: impl Fn()) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 sink ESMTP\r\n").await?;
    let (mut line, mut in_data) = (Vec::new(), false);
    loop {
        line.clear();
        if stream.read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        if in_data {
            if line == b".\r\n" {
                in_data = false;
                accepted();
                stream.write_all(b"250 2.0.0 queued\r\n").await?;
            }
            continue;
        }
        let reply: &[u8] = match line.get(..4).unwrap_or_default().to_ascii_uppercase().as_slice() {
            b"EHLO" => b"250-sink\r\n250 8BITMIME\r\n",
            b"DATA" => b"354 go on\r\n",
            b"QUIT" => b"221 bye\r\n",
            _ => b"250 ok\r\n",
        };
        in_data = reply.starts_with(b"354");
        stream.write_all(reply).await?;
    }
}
