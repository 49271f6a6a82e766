//! [`Proxy`]: a way to the database that can go silent, with connections that nobody closes.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub(crate) struct Proxy {
    state: watch::Sender<State>,
}

#[derive(Clone, Copy)]
struct State {
    silent: bool,
    /// Connections of an earlier generation stay silent, until what they hold back comes late.
    generation: u64,
    late: bool,
}

impl Proxy {
    /// A way to the server that the URL names, and the URL that goes this way.
    pub(crate) async fn before(url: &str) -> (Self, String) {
        let (scheme, rest) = url.split_once("://").unwrap();
        let (authority, path) = rest.split_once('/').unwrap();
        let (login, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        let target = host.to_owned();
        assert!(target.contains(':'), "the URL of the server must name its port");

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = watch::Sender::new(State { silent: false, generation: 0, late: false });
        let watching = state.subscribe();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(&target).await else { continue };
                let generation = watching.borrow().generation;
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(carry(from_client, to_server, watching.clone(), generation));
                tokio::spawn(carry(from_server, to_client, watching.clone(), generation));
            }
        });
        let url = format!("{scheme}://{login}@{address}/{path}");
        (Self { state }, url)
    }

    /// Nothing comes through any more, in either direction, and nothing is closed.
    pub(crate) fn silence(&self) {
        self.state.send_modify(|state| {
            *state = State { silent: true, generation: state.generation + 1, late: false };
        });
    }

    /// New connections work again; those from before the silence do not.
    pub(crate) fn heal(&self) {
        self.state.send_modify(|state| state.silent = false);
    }

    /// What the connections from before the silence hold back comes through after all, also of those that are closed.
    #[allow(dead_code, reason = "not every test that has this module wants it")]
    pub(crate) fn comes_late(&self) {
        self.state.send_modify(|state| state.late = true);
    }
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
    generation: u64,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        // Of an earlier generation: until the proxy is gone.
        let flows = state.wait_for(|state| !state.silent && (state.generation == generation || state.late));
        if flows.await.is_err() {
            return;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
