//! [`Server`]: a database server of a test's own, which it may stop and start.

use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

use crate::home::{Database, call};
use crate::run::until;

/// A server with a data folder of its own; ended when dropped.
pub(crate) struct Server {
    database: Database,
    settings: Vec<&'static str>,
    folder: TempDir,
    port: u16,
    running: Option<Child>,
}

impl Server {
    /// Creates a server and starts it, with `settings` as options of its command line.
    pub(crate) async fn new(database: Database, settings: &[&'static str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        if let Some(user) = user(database) {
            assert!(Command::new("chown").arg(user).arg(folder.path()).status().unwrap().success());
        }
        let mut server =
            Self { database, settings: settings.to_vec(), folder, port: free_port(), running: None };
        let data = server.data();
        let mut fill = match database {
            Database::MariaDb => {
                let mut fill = server.command(Path::new("mariadb-install-db"));
                fill.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
                fill.arg(format!("--datadir={data}"));
                fill
            }
            _ => {
                let mut fill = server.command(&postgres("initdb"));
                fill.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N", "-D", &data]);
                fill
            }
        };
        let filled = tokio::task::block_in_place(|| fill.status()).unwrap();
        assert!(filled.success(), "{fill:?}: {filled}");
        server.start().await;
        server
    }

    pub(crate) fn url(&self) -> String {
        match self.database {
            Database::MariaDb => format!("mysql://root@127.0.0.1:{}/mysql", self.port),
            _ => format!("postgres://postgres@127.0.0.1:{}/postgres", self.port),
        }
    }

    /// Starts it, and waits until it answers.
    pub(crate) async fn start(&mut self) {
        let (data, port) = (self.data(), self.port);
        let mut server = match self.database {
            Database::MariaDb => {
                let mut server = self.command(Path::new("mariadbd"));
                server.args(["--no-defaults", "--bind-address=127.0.0.1", "--socket=socket"]);
                server.args([format!("--datadir={data}"), format!("--port={port}")]);
                server
            }
            _ => {
                let mut server = self.command(&postgres("postgres"));
                server.args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]);
                server.args(["-D", &data, "-p", &port.to_string(), "-c", "max_connections=200"]);
                server
            }
        };
        server.args(&self.settings);
        self.running = Some(server.spawn().unwrap());
        let (database, url) = (self.database, self.url());
        until("the server answers", async || call(database, &url, "SELECT 1").await.is_ok()).await;
    }

    /// Stops it in good order; connections are closed.
    pub(crate) fn stop(&mut self) {
        self.end(if self.database == Database::MariaDb { Signal::TERM } else { Signal::INT });
    }

    /// Stops it as a crash does: what was not written is gone.
    pub(crate) fn crash(&mut self) {
        // PostgreSQL is more than one process, and this is how all of them end at once.
        self.end(if self.database == Database::MariaDb { Signal::KILL } else { Signal::QUIT });
    }

    fn end(&mut self, signal: Signal) {
        let Some(mut server) = self.running.take() else { return };
        kill_process(Pid::from_child(&server), signal).unwrap();
        tokio::task::block_in_place(|| server.wait()).unwrap();
    }

    fn data(&self) -> String {
        self.folder.path().join("data").display().to_string()
    }

    /// A call of a program, as the user that the server runs as; what it says goes to a file.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some(user) = user(self.database) {
            command = Command::new("setpriv");
            command.args([format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".to_owned()]);
            command.arg(program);
        }
        let log = std::fs::File::options().create(true).append(true).open(self.folder.path().join("log"));
        let log = log.unwrap();
        command.current_dir("/").stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin:/usr/local/sbin"));
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.crash();
    }
}

/// A program of PostgreSQL's, which lies beside the client that `PSQL` names.
fn postgres(program: &str) -> PathBuf {
    let client = std::env::var("PSQL").expect("PSQL names PostgreSQL's client; see scripts/services");
    let program = Path::new(&client).canonicalize().unwrap().with_file_name(program);
    assert!(
        program.exists(),
        "PostgreSQL's server must be installed on this machine: no {}",
        program.display()
    );
    program
}

/// A server refuses to run as root; under root it gets the user of its package.
fn user(database: Database) -> Option<&'static str> {
    geteuid().is_root().then_some(if database == Database::MariaDb { "mysql" } else { "postgres" })
}

/// One below those that the system hands out itself, so that nobody gets it while the server is down.
fn free_port() -> u16 {
    let mut any = std::iter::repeat_with(|| 20_000 + (RandomState::new().hash_one(()) % 12_000) as u16);
    any.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}
