//! Just enough of an HTTP client to book the sample through the front door, as anybody else would.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::body::Body;
use axum::http::{Request, Response, header};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

const DEADLINE: Duration = Duration::from_secs(25);

/// Sends one request on a connection of its own. The body of the answer must be JSON.
pub async fn send(server: SocketAddr, request: Request<Body>) -> Result<Response<Value>> {
    tokio::time::timeout(DEADLINE, exchange(server, request)).await.context("the API does not answer")?
}

async fn exchange(server: SocketAddr, mut request: Request<Body>) -> Result<Response<Value>> {
    request.headers_mut().insert(header::HOST, server.to_string().parse()?);
    let stream = TcpStream::connect(server).await.context("the API takes no connection")?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        // Dropping the sender ends the connection, which is then done as well.
        drop(sender);
        Ok::<_, hyper::Error>((head, body))
    };
    let (answer, _) = tokio::join!(exchange, connection);
    let (head, body) = answer?;
    let body = serde_json::from_slice(&body).context("the API did not answer with JSON")?;
    Ok(Response::from_parts(head, body))
}
