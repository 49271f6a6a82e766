//! Serves the API over HTTP. `axum::serve` would do it in a line, but waits for ever for a request that was begun.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Connections served at a time; a client beyond that waits in the listener's queue.
const MAX_CONNECTIONS: usize = 256;
/// How long a connection may take to send the head of its next request. (The API has a deadline for the rest.)
const REQUEST_HEAD: Duration = Duration::from_secs(5);

/// Serves until `stopped`; then takes no more requests, and returns when those under way are answered.
pub async fn serve(listener: TcpListener, api: Router, stopped: impl Future<Output = ()>) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(REQUEST_HEAD);
    let api = TowerToHyperService::new(api);
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let connections = GracefulShutdown::new();

    let take = async {
        while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
            let connection = http.serve_connection(TokioIo::new(accept(&listener).await), api.clone());
            let connection = connections.watch(connection);
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection to the API broke");
                }
                drop(permit);
            });
        }
    };
    tokio::select! {
        () = take => {}
        () = stopped => {}
    }
    drop(listener);
    connections.shutdown().await;
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            // Out of file handles, most likely: it passes.
            Err(error) => {
                tracing::warn!(%error, "the API cannot take a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
