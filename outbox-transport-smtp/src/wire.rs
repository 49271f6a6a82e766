//! [`Wire`]: bytes to the relay and replies from it, each wait with a deadline.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};

use crate::classify::Cause;
use crate::reply::{Garbled, Reply};
use crate::tls::Tls;

/// A connection on which replies are matched to commands strictly: bytes that came unasked are an error, never
/// the answer to the next command.
///
/// A future of it that is dropped half-way leaves it out of step: drop the wire too, which closes it.
pub(crate) struct Wire {
    stream: Box<dyn Stream>,
    received: Vec<u8>,
    local: Option<SocketAddr>,
    encrypted: bool,
    /// No wait goes beyond it, whatever its own deadline.
    pub(crate) until: Instant,
}

/// Room for a reply of usual length, so that one read takes it whole.
const RECEIVE: usize = 1_024;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Wire {
    /// Connects within `within`, which the addresses of `host` share.
    pub(crate) async fn connect(
        host: &str,
        port: u16,
        within: Duration,
        until: Instant,
    ) -> Result<Self, Cause> {
        let deadline = until.min(Instant::now() + within);
        let found = match timeout_at(deadline, lookup_host((host, port))).await {
            Err(_) => return Err(Cause::Timeout(within)),
            Ok(Err(error)) => {
                return Err(Cause::Lost(format!("the relay's name cannot be resolved: {error}")));
            }
            Ok(Ok(addresses)) => addresses.collect::<Vec<_>>(),
        };
        let mut failed = Cause::Lost("the relay's name has no address".to_owned());
        for (tried, address) in found.iter().enumerate() {
            let share = (deadline - Instant::now()) / u32::try_from(found.len() - tried).unwrap_or(u32::MAX);
            failed = match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // A command and the mail's last bytes must not wait for an earlier acknowledgement.
                    let _ = stream.set_nodelay(true);
                    let local = stream.local_addr().ok();
                    let stream = Box::new(stream);
                    return Ok(Self {
                        stream,
                        received: Vec::with_capacity(RECEIVE),
                        local,
                        encrypted: false,
                        until,
                    });
                }
                Ok(Err(error)) => lost(error),
                Err(_) => Cause::Timeout(within),
            };
        }
        Err(failed)
    }

    /// Speaks over a stream of the test's.
    #[cfg(test)]
    pub(crate) fn over(stream: tokio::io::DuplexStream, until: Instant) -> Self {
        Self { stream: Box::new(stream), received: Vec::new(), local: None, encrypted: false, until }
    }

    /// The same connection inside TLS. Bytes that were sent before the handshake and not read by then are an
    /// error: they could be an attacker's, to be taken for replies of the relay.
    pub(crate) async fn secure(mut self, tls: &Tls, within: Duration) -> Result<Self, Cause> {
        self.nothing_unread()?;
        let Self { stream, received, local, until, .. } = self;
        let stream = wait(until, within, tls.secure(stream)).await?;
        Ok(Self { stream: Box::new(stream), received, local, encrypted: true, until })
    }

    pub(crate) const fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// Our own end of the connection.
    pub(crate) const fn local(&self) -> Option<SocketAddr> {
        self.local
    }

    /// Writes `bytes` and sees them off within `within`.
    pub(crate) async fn write(&mut self, bytes: &[u8], within: Duration) -> Result<(), Cause> {
        let stream = &mut self.stream;
        let write = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        wait(self.until, within, write).await
    }

    /// Writes one command and reads its reply, both within `within`.
    pub(crate) async fn ask(&mut self, command: &str, within: Duration) -> Result<Reply, Cause> {
        self.nothing_unread()?;
        let deadline = Instant::now() + within;
        self.write(command.as_bytes(), within).await?;
        self.reply_by(deadline, within).await
    }

    /// Reads the next reply within `within`.
    pub(crate) async fn reply(&mut self, within: Duration) -> Result<Reply, Cause> {
        self.reply_by(Instant::now() + within, within).await
    }

    async fn reply_by(&mut self, deadline: Instant, within: Duration) -> Result<Reply, Cause> {
        let Self { stream, received, until, .. } = self;
        let read = async {
            loop {
                if let Some(reply) = Reply::take(received).map_err(|Garbled(why)| Cause::Garbled(why))? {
                    return Ok(reply);
                }
                if stream.read_buf(received).await.map_err(lost)? == 0 {
                    return Err(Cause::Lost("the relay closed it".to_owned()));
                }
            }
        };
        match timeout_at(deadline.min(*until), read).await {
            Ok(reply) => reply,
            Err(_) => Err(Cause::Timeout(within)),
        }
    }

    /// Whether something has arrived that nobody asked for: a reply, or the end of the connection. Does not wait.
    pub(crate) fn has_unread(&mut self) -> bool {
        !self.received.is_empty() || self.stream.read_buf(&mut self.received).now_or_never().is_some()
    }

    fn nothing_unread(&mut self) -> Result<(), Cause> {
        if self.received.is_empty() { Ok(()) } else { Err(Cause::Garbled("it came before it was asked for")) }
    }
}

async fn wait<T>(
    until: Instant,
    within: Duration,
    work: impl Future<Output = io::Result<T>>,
) -> Result<T, Cause> {
    match timeout_at(until.min(Instant::now() + within), work).await {
        Ok(done) => done.map_err(lost),
        Err(_) => Err(Cause::Timeout(within)),
    }
}

fn lost(error: io::Error) -> Cause {
    Cause::Lost(error.to_string())
}
