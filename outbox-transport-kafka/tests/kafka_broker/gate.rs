//! [`Gate`]: a port in front of a broker that can be closed.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// Passes connections on while it is open. Closed, it ends those it has, and every new one at once.
pub(crate) struct Gate {
    pub(crate) port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    closed: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
}

impl Gate {
    /// A gate before what listens on `port` of this machine. Its threads live as long as the process.
    pub(crate) fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let gate = Self { port: listener.local_addr().expect("its address").port(), state: Arc::default() };
        let state = Arc::clone(&gate.state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let passed =
                    stream.and_then(|stream| state.pass(stream, SocketAddr::from(([127, 0, 0, 1], port))));
                drop(passed);
            }
        });
        gate
    }

    pub(crate) fn close(&self) {
        self.state.closed.store(true, Ordering::SeqCst);
        for stream in self.state.streams.lock().expect("no panic").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub(crate) fn open(&self) {
        self.state.closed.store(false, Ordering::SeqCst);
    }
}

impl State {
    fn pass(&self, stream: TcpStream, to: SocketAddr) -> io::Result<()> {
        let mut streams = self.streams.lock().expect("no panic");
        if self.closed.load(Ordering::SeqCst) {
            return Ok(());
        }
        let broker = TcpStream::connect(to)?;
        for (from, to) in [(&stream, &broker), (&broker, &stream)] {
            from.set_nodelay(true)?;
            streams.push(from.try_clone()?);
            let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
            thread::spawn(move || {
                let _ = io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Both);
            });
        }
        Ok(())
    }
}
