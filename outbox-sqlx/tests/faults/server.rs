//! [`Server`]: a database server of a test's own, which it may stop and start.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::home::Database;

/// A PostgreSQL server with a data folder of its own; stopped when dropped.
pub(crate) struct Server {
    binaries: PathBuf,
    folder: TempDir,
    port: u16,
}

impl Server {
    /// Creates a server and starts it. Its binaries lie beside the client that `PSQL` names.
    pub(crate) fn new(database: Database, settings: &str) -> Self {
        assert_eq!(database, Database::Postgres, "there is no server of {database:?} that a test can start");
        let client = std::env::var("PSQL").expect("PSQL names PostgreSQL's client; see scripts/services");
        let client = Path::new(&client).canonicalize().unwrap();
        let folder = tempfile::tempdir().unwrap();
        if let Some(user) = user() {
            assert!(Command::new("chown").arg(user).arg(folder.path()).status().unwrap().success());
        }
        let server = Self { binaries: client.parent().unwrap().to_owned(), folder, port: free_port() };
        let data = server.data();
        server.call(
            "initdb",
            &["-D", &data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"],
        );
        let own = format!(
            "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = ''\nmax_connections = 200\n",
            server.port
        );
        std::fs::write(server.folder.path().join("data/postgresql.auto.conf"), own + settings).unwrap();
        server.start();
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    pub(crate) fn start(&self) {
        self.call("pg_ctl", &["-D", &self.data(), "-l", &format!("{}/log", self.data()), "-w", "start"]);
    }

    /// Stops it in good order; connections are closed.
    pub(crate) fn stop(&self) {
        self.stop_by("fast");
    }

    /// Stops it as a crash does: what was not written is gone.
    pub(crate) fn crash(&self) {
        self.stop_by("immediate");
    }

    fn stop_by(&self, how: &str) {
        self.call("pg_ctl", &["-D", &self.data(), "-m", how, "-w", "stop"]);
    }

    fn data(&self) -> String {
        self.folder.path().join("data").display().to_string()
    }

    fn call(&self, program: &str, arguments: &[&str]) {
        let program = self.binaries.join(program);
        let mut command = match user() {
            Some(user) => {
                let mut command = Command::new("runuser");
                command.args(["-u", user, "--"]).arg(&program);
                command
            }
            None => Command::new(&program),
        };
        // The server outlives the call: it must not hold on to a pipe.
        let log = tempfile::tempfile().unwrap();
        command.args(arguments).current_dir("/").stdout(log.try_clone().unwrap()).stderr(log);
        let ended = tokio::task::block_in_place(|| command.status()).unwrap();
        assert!(ended.success(), "{} {arguments:?}: {ended}", program.display());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::fs::exists(self.folder.path().join("data/postmaster.pid")).unwrap_or(false) {
            self.crash();
        }
    }
}

/// A server refuses to run as root; under root it gets the user of the package.
fn user() -> Option<&'static str> {
    rustix::process::geteuid().is_root().then_some("postgres")
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
