//! [`Broker`]: an Apache Kafka broker of a test's own, to be paused and killed.

use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use outbox_transport_kafka::rdkafka::ClientConfig;
use outbox_transport_kafka::rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use outbox_transport_kafka::rdkafka::client::DefaultClientContext;
use outbox_transport_kafka::rdkafka::producer::{BaseProducer, Producer};
use tempfile::TempDir;

/// One node in KRaft mode that creates no topics by itself. It ends with this value, or with the process.
pub(crate) struct Broker {
    pub(crate) brokers: String,
    folder: TempDir,
    running: Mutex<Running>,
}

struct Running {
    /// A shell that kills the broker when its input ends.
    guard: Child,
    pid: String,
}

/// How long a start may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(100);

/// `scripts/services up kafka` tells where they are.
fn jars() -> String {
    let jars = std::env::var("KAFKA_JARS").expect("KAFKA_JARS, as `scripts/services up kafka` exports it");
    format!("{}/*", PathBuf::from(jars).display())
}

/// Runs a tool of Kafka's jars and answers what it printed.
pub(crate) fn java(class: &str, arguments: &[&str], input: &str) -> String {
    let mut tool = Command::new("java")
        .args(["-Xmx256m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", &jars(), class])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("java");
    tool.stdin.take().expect("its input").write_all(input.as_bytes()).expect("it reads");
    let output = tool.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{class} failed: {}", output.status);
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// A folder that `cargo clean` removes too: what tests share is never dropped.
pub(crate) fn folder() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder")
}

/// Ports that nobody listens on; found at once, so that they differ. They lie below those that the system hands out
/// itself, so that nobody gets one while the broker is down.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    let mut any = std::iter::repeat_with(|| 20_000 + (RandomState::new().hash_one(()) % 12_000) as u16);
    let ports = [(); N].map(|()| any.find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok()));
    ports.map(|port| port.expect("a free port").local_addr().expect("an address").port())
}

/// A port of a broker beside the one that its test asks about topics.
pub(crate) struct Listener {
    pub(crate) name: String,
    /// `PLAINTEXT`, `SSL` or `SASL_SSL`.
    pub(crate) protocol: &'static str,
    pub(crate) port: u16,
    /// What it tells its clients to connect to.
    pub(crate) named: String,
}

impl Broker {
    pub(crate) fn start() -> Self {
        Self::start_with(&[], "", &[])
    }

    /// A broker with further listeners, the properties that these need, and arguments for the tool that formats its
    /// folder.
    pub(crate) fn start_with(further: &[Listener], needed: &str, format: &[&str]) -> Self {
        let folder = folder();
        let [client, controller] = free_ports();
        let (mut listeners, mut advertised, mut protocols) = (String::new(), String::new(), String::new());
        for Listener { name, protocol, port, named } in further {
            listeners += &format!(",{name}://127.0.0.1:{port}");
            advertised += &format!(",{name}://{named}");
            protocols += &format!(",{name}:{protocol}");
        }
        let properties = format!(
            "process.roles=broker,controller\nnode.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}{listeners}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{client}{advertised}\n\
             controller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT{protocols}\n\
             inter.broker.listener.name=PLAINTEXT\nnum.network.threads=1\n\
             log.dirs={}/data\n\
             offsets.topic.replication.factor=1\noffsets.topic.num.partitions=1\n\
             group.initial.rebalance.delay.ms=0\nauto.create.topics.enable=false\n\
             log.segment.delete.delay.ms=1000\n{needed}",
            folder.path().display()
        );
        let file = folder.path().join("server.properties");
        std::fs::write(&file, properties).expect("written");
        let id = java("kafka.tools.StorageTool", &["random-uuid"], "");
        let file = file.display().to_string();
        java("kafka.tools.StorageTool", &[&["format", "-t", id.trim(), "-c", &file], format].concat(), "");
        let running = Mutex::new(Running::start(&file));
        let broker = Self { brokers: format!("127.0.0.1:{client}"), folder, running };
        broker.wait();
        broker
    }

    /// Stops its process without a word: it keeps its connections and answers nothing.
    pub(crate) fn pause(&self) {
        self.signal("STOP");
    }

    pub(crate) fn go_on(&self) {
        self.signal("CONT");
    }

    pub(crate) fn kill(&self) {
        self.signal("KILL");
        let port = self.brokers.clone();
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(&port).is_ok() {
            assert!(Instant::now() < until, "the broker does not die");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn restart(&self) {
        let file = self.folder.path().join("server.properties").display().to_string();
        *self.running.lock().expect("no panic") = Running::start(&file);
        self.wait();
    }

    /// Creates a topic with these properties.
    pub(crate) async fn topic(&self, name: &str, partitions: i32, properties: &[(&str, &str)]) {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        for (name, value) in properties {
            topic = topic.set(name, value);
        }
        // The answer comes when all brokers know it.
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE));
        let answers = self.admin().create_topics([&topic], &options).await.expect("an answer");
        answers.into_iter().for_each(|answer| drop(answer.expect("created")));
        let client = self.client();
        let known = || {
            client.client().fetch_metadata(Some(name), PATIENCE).is_ok_and(|metadata| {
                metadata.topics().iter().any(|topic| topic.partitions().len() == partitions as usize)
            })
        };
        while !tokio::task::block_in_place(known) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Deletes a topic; the broker takes nothing for it any more.
    pub(crate) async fn delete_topic(&self, name: &str) {
        let options = AdminOptions::new().request_timeout(Some(PATIENCE));
        let answers = self.admin().delete_topics(&[name], &options).await.expect("an answer");
        answers.into_iter().for_each(|answer| drop(answer.expect("deleted")));
        let client = self.client();
        let known = || {
            let metadata = client.client().fetch_metadata(Some(name), PATIENCE).expect("an answer");
            metadata.topics().iter().any(|topic| !topic.partitions().is_empty())
        };
        while tokio::task::block_in_place(known) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", &self.brokers).create().expect("an admin client")
    }

    fn client(&self) -> BaseProducer {
        ClientConfig::new().set("bootstrap.servers", &self.brokers).create().expect("a client")
    }

    fn wait(&self) {
        let client = self.client();
        let until = Instant::now() + PATIENCE;
        while client.client().fetch_metadata(None, Duration::from_secs(5)).is_err() {
            assert!(Instant::now() < until, "the broker does not start; see {:?}", self.folder.path());
        }
    }

    fn signal(&self, signal: &str) {
        let pid = self.running.lock().expect("no panic").pid.clone();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status().expect("kill");
        assert!(sent.success(), "the broker is there");
    }
}

impl Running {
    fn start(properties: &str) -> Self {
        let mut guard = Command::new("sh")
            .args([
                "-c",
                r#""$@" >>"$0" 2>&1 </dev/null & echo $!; cat >/dev/null; kill -s KILL $!"#,
                &format!("{properties}.log"),
            ])
            .args(["java", "-Xms256m", "-Xmx512m", "-XX:+UseSerialGC"])
            .args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", &jars()])
            .args(["kafka.Kafka", properties])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let mut pid = String::new();
        BufReader::new(guard.stdout.take().expect("its output")).read_line(&mut pid).expect("a line");
        Self { guard, pid: pid.trim().to_owned() }
    }
}

/// A test that fails beside a broker that gave up, as for want of space on the disk, says so.
impl Drop for Broker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.folder.path().join("server.properties.log");
            let said = std::fs::read_to_string(log).unwrap_or_default();
            // Without the places in its code.
            let lines: Vec<&str> = said.lines().filter(|line| !line.starts_with('\t')).collect();
            eprintln!("what the broker said last:\n{}", lines[lines.len().saturating_sub(20)..].join("\n"));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}
