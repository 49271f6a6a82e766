//! A relay that speaks SMTP as its script says, for one test each.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Where in the conversation the script is asked what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Point {
    Connect,
    Ehlo,
    StartTls,
    Auth,
    Mail,
    Rcpt,
    Data,
    /// The first line of the mail has come.
    Body,
    /// The final dot has come.
    Dot,
    Rset,
    Quit,
    /// The second reply of [`Act::SayTwice`] has been sent.
    Stray,
}

/// What the relay is about to answer.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) point: Point,
    /// Which connection, from 0.
    pub(crate) connection: usize,
    /// How often this point was reached before, over all connections.
    pub(crate) nth: usize,
    /// The command, where there is one.
    pub(crate) line: String,
}

/// What the relay does.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// What a good relay does here.
    Go,
    /// Says this line, or these.
    Say(&'static str),
    /// Says this, without a line end, and closes.
    Half(&'static str),
    /// Says this and closes.
    SayAndClose(&'static str),
    /// Closes without a word.
    Close,
    /// Breaks the connection with a TCP reset.
    Reset,
    /// Does not answer.
    Never,
    /// Says this once the gate opens.
    Hold(Arc<Semaphore>, &'static str),
    /// Says this, and a little later something that nobody asked for.
    SayTwice(&'static str, &'static str),
    /// Says this a byte at a time.
    Drip(&'static str, Duration),
}

/// A mail whose final dot came.
#[derive(Debug, Clone)]
pub(crate) struct Arrived {
    pub(crate) connection: usize,
    pub(crate) envelope: Vec<String>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) encrypted: bool,
}

/// What the relay can do beside plain SMTP.
#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) offers: Vec<&'static str>,
    pub(crate) tls: Option<TlsAcceptor>,
    /// TLS from the first byte.
    pub(crate) implicit: bool,
}

pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
    listener: JoinHandle<()>,
}

struct Seen {
    script: Box<dyn Fn(&Event) -> Act + Send + Sync>,
    setup: Setup,
    points: Mutex<Vec<Point>>,
    lines: Mutex<Vec<String>>,
    arrived: Mutex<Vec<Arrived>>,
    connections: AtomicUsize,
    changed: watch::Sender<()>,
}

impl Relay {
    /// A relay that does what `script` says at each point.
    pub(crate) async fn start(script: impl Fn(&Event) -> Act + Send + Sync + 'static) -> Self {
        Self::with(Setup::default(), script).await
    }

    /// A relay that accepts everything.
    pub(crate) async fn good() -> Self {
        Self::start(|_| Act::Go).await
    }

    pub(crate) async fn with(setup: Setup, script: impl Fn(&Event) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let seen = Arc::new(Seen {
            script: Box::new(script),
            setup,
            points: Mutex::default(),
            lines: Mutex::default(),
            arrived: Mutex::default(),
            connections: AtomicUsize::new(0),
            changed: watch::Sender::new(()),
        });
        let shared = Arc::clone(&seen);
        let listener = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let connection = shared.connections.fetch_add(1, Ordering::SeqCst);
                let seen = Arc::clone(&shared);
                tokio::spawn(async move {
                    let _ = Talk { seen, connection, line: String::new(), envelope: Vec::new() }
                        .run(stream)
                        .await;
                });
            }
        });
        Self { address, seen, listener }
    }

    /// The mails whose final dot came, in order.
    pub(crate) fn arrived(&self) -> Vec<Arrived> {
        self.seen.arrived.lock().expect("no panic").clone()
    }

    /// How often `point` was reached.
    pub(crate) fn count(&self, point: Point) -> usize {
        self.seen.count(point)
    }

    /// The commands heard, over all connections.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen.lines.lock().expect("no panic").clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Waits until `point` was reached `times` times.
    pub(crate) async fn reached(&self, point: Point, times: usize) {
        let mut changed = self.seen.changed.subscribe();
        let reached = async {
            while self.count(point) < times {
                changed.changed().await.expect("the relay lives");
            }
        };
        tokio::time::timeout(Duration::from_secs(20), reached).await.expect("the point is reached");
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Seen {
    fn note(&self, point: Point) {
        self.points.lock().expect("no panic").push(point);
        self.changed.send_replace(());
    }

    fn count(&self, point: Point) -> usize {
        self.points.lock().expect("no panic").iter().filter(|&&seen| seen == point).count()
    }
}

struct Talk {
    seen: Arc<Seen>,
    connection: usize,
    line: String,
    envelope: Vec<String>,
}

/// The conversation ended as the script wants, or the client is gone.
struct Over;

impl From<io::Error> for Over {
    fn from(_: io::Error) -> Self {
        Self
    }
}

impl Talk {
    async fn run(mut self, stream: TcpStream) -> Result<(), Over> {
        let mut stream = BufReader::new(Stream::Plain(stream));
        if self.seen.setup.implicit {
            stream = self.encrypt(stream).await?;
        }
        self.answer(&mut stream, Point::Connect, "220 relay.example.org ESMTP").await?;
        loop {
            let Some(line) = read_line(&mut stream).await? else { return Ok(()) };
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            self.seen.lines.lock().expect("no panic").push(line.clone());
            self.line.clone_from(&line);
            match line.split(' ').next().unwrap_or_default() {
                "EHLO" => {
                    let offers = self.offers(stream.get_ref().is_encrypted());
                    self.answer(&mut stream, Point::Ehlo, &offers).await?;
                }
                "STARTTLS" => {
                    self.answer(&mut stream, Point::StartTls, "220 go ahead").await?;
                    stream = self.encrypt(stream).await?;
                }
                "AUTH" => self.log_in(&mut stream, &line).await?,
                "MAIL" => {
                    self.envelope = vec![line];
                    self.answer(&mut stream, Point::Mail, "250 2.1.0 ok").await?;
                }
                "RCPT" => {
                    self.envelope.push(line);
                    self.answer(&mut stream, Point::Rcpt, "250 2.1.5 ok").await?;
                }
                "DATA" => {
                    let said = self.answer(&mut stream, Point::Data, "354 go ahead").await?;
                    if said.starts_with("354") {
                        self.read_mail(&mut stream).await?;
                    }
                }
                "RSET" => {
                    self.answer(&mut stream, Point::Rset, "250 2.0.0 ok").await?;
                }
                "QUIT" => {
                    self.answer(&mut stream, Point::Quit, "221 2.0.0 bye").await?;
                    return Ok(());
                }
                _ => say(&mut stream, "502 5.5.2 what?").await?,
            }
        }
    }

    async fn read_mail(&mut self, stream: &mut BufReader<Stream>) -> Result<(), Over> {
        let mut bytes = Vec::new();
        let mut first = true;
        loop {
            let Some(line) = read_line(stream).await? else { return Err(Over) };
            if std::mem::take(&mut first) {
                self.answer(stream, Point::Body, "").await?;
            }
            if line == b".\r\n" {
                break;
            }
            bytes.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        }
        self.seen.arrived.lock().expect("no panic").push(Arrived {
            connection: self.connection,
            envelope: std::mem::take(&mut self.envelope),
            bytes,
            encrypted: stream.get_ref().is_encrypted(),
        });
        self.answer(stream, Point::Dot, "250 2.0.0 queued as 42").await?;
        Ok(())
    }

    async fn log_in(&mut self, stream: &mut BufReader<Stream>, line: &str) -> Result<(), Over> {
        if line == "AUTH LOGIN" {
            for challenge in ["334 VXNlciBOYW1lAA==", "334 UGFzc3dvcmQA"] {
                say(stream, challenge).await?;
                let Some(answer) = read_line(stream).await? else { return Err(Over) };
                let answer = String::from_utf8_lossy(&answer).trim_end().to_owned();
                self.seen.lines.lock().expect("no panic").push(answer);
            }
        }
        self.answer(stream, Point::Auth, "235 2.7.0 welcome").await?;
        Ok(())
    }

    fn offers(&self, encrypted: bool) -> String {
        let mut lines = vec!["relay.example.org greets you".to_owned()];
        lines.extend(self.seen.setup.offers.iter().map(|&offer| offer.to_owned()));
        if self.seen.setup.tls.is_some() && !encrypted {
            lines.push("STARTTLS".to_owned());
        }
        let last = lines.pop().unwrap_or_default();
        let head: String = lines.iter().map(|line| format!("250-{line}\r\n")).collect();
        format!("{head}250 {last}")
    }

    async fn encrypt(&self, stream: BufReader<Stream>) -> Result<BufReader<Stream>, Over> {
        let (Stream::Plain(tcp), Some(tls)) = (stream.into_inner(), &self.seen.setup.tls) else {
            return Err(Over);
        };
        Ok(BufReader::new(Stream::Tls(Box::new(tls.accept(tcp).await?))))
    }

    /// Does what the script wants at `point`; answers what was said.
    async fn answer<'a>(
        &self,
        stream: &mut BufReader<Stream>,
        point: Point,
        good: &'a str,
    ) -> Result<&'a str, Over> {
        let nth = self.seen.count(point);
        let line = self.line.clone();
        let act = (self.seen.script)(&Event { point, connection: self.connection, nth, line });
        self.seen.note(point);
        match act {
            Act::Go => {
                if !good.is_empty() {
                    say(stream, good).await?;
                }
                Ok(good)
            }
            Act::Say(line) => {
                say(stream, line).await?;
                Ok(line)
            }
            Act::Hold(gate, line) => {
                let _open = gate.acquire().await;
                say(stream, line).await?;
                Ok(line)
            }
            Act::SayTwice(first, second) => {
                say(stream, first).await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
                say(stream, second).await?;
                self.seen.note(Point::Stray);
                Ok(first)
            }
            Act::Drip(line, every) => {
                for byte in format!("{line}\r\n").bytes() {
                    stream.write_all(&[byte]).await?;
                    stream.flush().await?;
                    tokio::time::sleep(every).await;
                }
                Ok(line)
            }
            Act::Half(text) => {
                stream.write_all(text.as_bytes()).await?;
                stream.shutdown().await?;
                Err(Over)
            }
            Act::SayAndClose(line) => {
                say(stream, line).await?;
                stream.shutdown().await?;
                Err(Over)
            }
            Act::Close => Err(Over),
            Act::Reset => {
                stream.get_ref().tcp().set_zero_linger()?;
                Err(Over)
            }
            Act::Never => {
                // Until the client gives up.
                while read_line(stream).await?.is_some() {}
                Err(Over)
            }
        }
    }
}

async fn say(stream: &mut BufReader<Stream>, line: &str) -> Result<(), Over> {
    stream.write_all(format!("{line}\r\n").as_bytes()).await?;
    stream.flush().await?;
    Ok(())
}

async fn read_line(stream: &mut BufReader<Stream>) -> Result<Option<Vec<u8>>, Over> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line).await?;
    Ok((!line.is_empty()).then_some(line))
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    fn is_encrypted(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
