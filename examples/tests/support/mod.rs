//! Runs the `appointment` example as a process, and talks to it as its users do.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this")]

pub mod server;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command as StdCommand, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Connection, Row};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// Against hanging only; nothing is measured by it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The appointment example.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| built("appointment"))
}

/// An example, freshly built: `cargo test --test …` alone builds no examples, and a stale one would be tested.
pub fn built(example: &str) -> PathBuf {
    built_with(example, "")
}

/// An example that needs features.
pub fn built_with(example: &str, features: &str) -> PathBuf {
    let mut cargo = StdCommand::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--message-format=json", "--example", example, "--features", features]);
    // From the root, as a user does; it also shares its features with a `cargo test` there, so nothing is built twice.
    cargo.args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let output = cargo.stderr(Stdio::inherit()).output().expect("cargo runs");
    let reports = String::from_utf8_lossy(&output.stdout);
    let executable = reports.lines().find_map(|line| {
        let report: Value = serde_json::from_str(line).ok()?;
        let ours = report["target"]["name"] == example;
        ours.then(|| report["executable"].as_str().map(PathBuf::from)).flatten()
    });
    executable.expect("the example builds; cargo has printed why it does not")
}

/// A command that starts the example in `data_dir`, on a free port, untouched by this process's environment. It owns the
/// outbox for half a minute, so that no lease is lost to a machine that is busy; what takes over from a process that was
/// killed sets less.
pub fn command(data_dir: &Path) -> Command {
    let mut command = Command::new(program());
    for variable in ["DATABASE_URL", "SMTP_URL", "MAIL_FROM", "RUST_LOG"] {
        command.env_remove(variable);
    }
    if let Some(url) = server::database(data_dir) {
        command.env("DATABASE_URL", url);
    }
    command.env("OUTBOX_LEASE_MS", "30000");
    command.env("BIND", "127.0.0.1:0").arg("--data-dir").arg(data_dir);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs a command to its end; answers its status and what it printed to both outputs.
pub async fn run(mut command: Command) -> (ExitStatus, String, String) {
    let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("it ends").expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it prints UTF-8");
    (output.status, text(output.stdout), text(output.stderr))
}

/// The running example.
pub struct App {
    child: Child,
    printed: watch::Receiver<Vec<String>>,
    pub api: SocketAddr,
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl App {
    pub async fn start(data_dir: &Path) -> Self {
        Self::spawn(command(data_dir)).await
    }

    /// Starts the command and waits until the API listens.
    pub async fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the example starts");
        let stdout = child.stdout.take().expect("its output is piped");
        let (printer, printed) = watch::channel(Vec::new());
        tokio::spawn(async move {
            let mut lines = BufReader::new(stdout).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                printer.send_modify(|printed: &mut Vec<String>| printed.push(line));
            }
        });
        let mut app = Self { child, printed, api: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let line = app.line("HTTP API").await;
        let address = line.split("http://").nth(1).expect("the line holds the address");
        app.api = address.trim().parse().expect("it is an address");
        app
    }

    /// Waits until the program prints a line that holds `part`.
    pub async fn line(&mut self, part: &str) -> String {
        let find = |lines: &[String]| lines.iter().find(|line| line.contains(part)).cloned();
        let search = self.printed.wait_for(|lines| find(lines).is_some());
        let found = match tokio::time::timeout(PATIENCE, search).await {
            Ok(Ok(lines)) => find(&lines),
            _ => None,
        };
        found.unwrap_or_else(|| panic!("no line with {part:?} came: {:?}", *self.printed.borrow()))
    }

    /// What it has printed so far, line by line.
    pub fn printed(&self) -> Vec<String> {
        self.printed.borrow().clone()
    }

    /// The address of the development mailbox.
    pub async fn mailbox(&mut self) -> SocketAddr {
        let line = self.line("smtp://").await;
        let address = line.split("smtp://").nth(1).and_then(|rest| rest.split(' ').next());
        address.and_then(|address| address.parse().ok()).expect("the line holds the address")
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], "").await
    }

    pub async fn post(&self, body: &Value) -> Answer {
        self.send(Method::POST, "/appointment", &[JSON], body.to_string()).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PUT, path, &[JSON], body.to_string()).await
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        send(self.api, method, path, headers, body.into()).await.expect("the API answers")
    }

    /// Waits until every message of the appointment is delivered; answers what `GET` shows then.
    pub async fn delivered(&self, id: &str) -> Value {
        let wait = async {
            loop {
                let shown = self.get(&format!("/appointment/{id}")).await.body;
                let messages = shown["messages"].as_array().expect("it has messages");
                if messages.iter().all(|message| message["state"] == "delivered") {
                    return shown;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("it is delivered")
    }

    /// Kills the process as a power cut would.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("it can be killed");
    }

    /// Asks it to stop, as a process manager does, and waits until it has.
    pub async fn stop(mut self) -> ExitStatus {
        let pid = self.child.id().expect("it runs").to_string();
        let asked = StdCommand::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
        assert!(asked.success(), "the process is gone already");
        tokio::time::timeout(PATIENCE, self.child.wait())
            .await
            .expect("it ends")
            .expect("it can be waited for")
    }
}

pub const JSON: (&str, &str) = ("content-type", "application/json");

/// One request on a connection of its own. Fails when the process dies meanwhile.
pub async fn send(
    api: SocketAddr,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Body,
) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, api.to_string());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(body)?;
    let exchange = async {
        let stream = TcpStream::connect(api).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        connection.abort();
        let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body)? };
        Ok(Answer { status: head.status, headers: head.headers, body })
    };
    tokio::time::timeout(PATIENCE, exchange).await?
}

/// A mail in the mailbox of `data_dir`, with what its invitation says.
#[derive(Debug)]
pub struct Mail {
    pub path: PathBuf,
    pub text: String,
    pub message_id: String,
    /// Property name to value, of the calendar and its event; parameters are left out.
    pub ics: HashMap<String, String>,
}

/// All mails, in the order in which they came.
pub fn mails(data_dir: &Path) -> Vec<Mail> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(data_dir.join("mailbox"))
        .expect("there is a mailbox")
        .map(|entry| entry.expect("it can be listed").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "eml"))
        .collect();
    paths.sort();
    paths.into_iter().map(read_mail).collect()
}

/// The mails about one appointment.
pub fn mails_about(data_dir: &Path, id: &str) -> Vec<Mail> {
    mails(data_dir).into_iter().filter(|mail| mail.ics["UID"].starts_with(id)).collect()
}

fn read_mail(path: PathBuf) -> Mail {
    let text = std::fs::read_to_string(&path).expect("a mail is 7-bit text");
    let message_id = text
        .lines()
        .find_map(|line| line.strip_prefix("Outbox-Message-Id: "))
        .expect("the mail carries the message id")
        .to_owned();
    let ics = std::fs::read_to_string(path.with_extension("ics")).unwrap_or_default();
    let mut properties = HashMap::new();
    for (name, value) in ics.replace("\r\n ", "").lines().filter_map(|line| line.split_once(':')) {
        let name = name.split(';').next().unwrap_or_default();
        // The first one: an alarm, which comes later, has a description and a uid of its own.
        properties.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }
    Mail { path, text, message_id, ics: properties }
}

/// Reads the database of `data_dir`, as anybody could.
pub async fn query(data_dir: &Path, sql: &'static str) -> Vec<AnyRow> {
    sqlx::any::install_default_drivers();
    let file = || format!("sqlite:{}", data_dir.join("appointments.db").display());
    let url = server::database(data_dir).unwrap_or_else(file);
    let mut connection = AnyConnection::connect(&url).await.expect("the database opens");
    let rows = sqlx::query(sql).fetch_all(&mut connection).await.expect("the query runs");
    connection.close().await.expect("the database closes");
    rows
}

/// The number that `sql` answers.
pub async fn count(data_dir: &Path, sql: &'static str) -> i64 {
    query(data_dir, sql).await[0].get(0)
}

/// A good booking.
pub fn booking(name: &str) -> Value {
    json!({
        "name": name,
        "email": "guest@example.org",
        "startsAtUtc": "2030-05-01T09:30:00Z",
        "endsAtUtc": "2030-05-01T10:00:00Z",
        "notes": "first line\nsecond line",
    })
}

/// The `id` of an answer.
pub fn id(answer: &Answer) -> String {
    answer.body["id"].as_str().expect("the answer holds an id").to_owned()
}

/// Everything that a booking would add to.
pub async fn stored(data_dir: &Path) -> (i64, i64, i64) {
    (
        count(data_dir, "select count(*) from appointment").await,
        count(data_dir, "select count(*) from appointment_message").await,
        count(data_dir, "select count(*) from booking_request").await,
    )
}
