//! A server that knows as much of HTTP/1.1 as one client needs.

use anyhow::{Context, Result};
use outbox_race::{Body, Receiver, Tuning};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};

/// Where it listens. The address is stored with each message, so it is the same in every process; and it differs by
/// the settings, since both may run at the same time.
pub(crate) fn url(tuning: Tuning) -> &'static str {
    match tuning {
        Tuning::Default => "http://127.0.0.1:38719/",
        Tuning::Tuned => "http://127.0.0.1:38720/",
    }
}

/// Answers 200 to what the receiver takes and 503 to what it refuses.
pub(crate) async fn serve(url: &'static str, receiver: Receiver) -> Result<()> {
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let listener = TcpListener::bind(address).await?;
    loop {
        let (connection, _) = listener.accept().await?;
        tokio::spawn(answer(connection, receiver.clone()));
    }
}

async fn answer(connection: TcpStream, receiver: Receiver) -> Result<()> {
    connection.set_nodelay(true)?;
    let mut connection = BufStream::new(connection);
    loop {
        let mut length = None;
        loop {
            let mut line = String::new();
            if connection.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = Some(value.trim().parse::<usize>()?);
            }
        }
        let mut bytes = vec![0; length.context("a request without a length")?];
        connection.read_exact(&mut bytes).await?;
        let taken = receiver.takes(Body::from_json(&bytes)?.number);
        let status = if taken { "200 OK" } else { "503 Service Unavailable" };
        connection.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await?;
        connection.flush().await?;
    }
}
