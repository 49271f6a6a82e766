//! The development mailbox, spoken to byte by byte.

mod support;

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use support::{App, PATIENCE};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    async fn connect(server: SocketAddr) -> Self {
        let stream = TcpStream::connect(server).await.expect("the mailbox takes a connection");
        let mut client = Self { stream: BufReader::new(stream) };
        assert!(client.reply().await.starts_with("220 "));
        client
    }

    async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).await.expect("the mailbox reads");
    }

    /// The last line of a reply; empty when the connection ended.
    async fn reply(&mut self) -> String {
        loop {
            let mut line = String::new();
            let read = tokio::time::timeout(PATIENCE, self.stream.read_line(&mut line));
            read.await.expect("the mailbox answers").expect("it answers in text");
            if line.as_bytes().get(3) != Some(&b'-') {
                return line;
            }
        }
    }

    async fn ask(&mut self, command: &str) -> String {
        self.write(format!("{command}\r\n")).await;
        self.reply().await
    }

    /// Hands over one mail; answers the reply to its dot.
    async fn send(&mut self, mail: impl AsRef<[u8]>) -> String {
        for (command, expected) in
            [("MAIL FROM:<a@example.org>", "250"), ("RCPT TO:<b@example.org>", "250"), ("DATA", "354")]
        {
            let reply = self.ask(command).await;
            assert!(reply.starts_with(expected), "{command}: {reply}");
        }
        self.write(mail).await;
        self.write("\r\n.\r\n").await;
        self.reply().await
    }
}

/// The example, and the mailbox with the sample in it.
async fn start(data_dir: &Path) -> (App, SocketAddr) {
    let mut app = App::start(data_dir).await;
    let mailbox = app.mailbox().await;
    app.line("Book another").await;
    (app, mailbox)
}

/// The file that the mailbox's reply names.
fn stored(data_dir: &Path, reply: &str) -> PathBuf {
    let name = reply.trim_end().rsplit(' ').next().expect("a name");
    assert!(reply.starts_with("250 "), "{reply}");
    data_dir.join("mailbox").join(format!("{name}.eml"))
}

fn files(data_dir: &Path) -> usize {
    std::fs::read_dir(data_dir.join("mailbox")).expect("readable").count()
}

#[tokio::test]
async fn a_mail_is_stored_as_it_was_before_its_dots_were_doubled() {
    let data = tempfile::tempdir().expect("a folder");
    let (_app, mailbox) = start(data.path()).await;
    let mut client = Client::connect(mailbox).await;
    assert!(client.ask("EHLO client.example.org").await.starts_with("250 SIZE"));
    let reply = client.send("Subject: dots\r\n\r\n..one\r\n...\r\nend").await;
    let mail = std::fs::read_to_string(stored(data.path(), &reply)).expect("the mail is there");
    assert_eq!(mail, "Subject: dots\r\n\r\n.one\r\n..\r\nend\r\n");
    assert!(client.ask("QUIT").await.starts_with("221"));
}

#[tokio::test]
async fn only_a_dot_between_two_crlf_ends_a_mail() {
    let data = tempfile::tempdir().expect("a folder");
    let (_app, mailbox) = start(data.path()).await;
    let before = files(data.path());
    let mut client = Client::connect(mailbox).await;
    let smuggled = "Subject: one\r\n\r\na\n.\nb\r.\rc\r\n.\nMAIL FROM:<x@example.org>\r\nd";
    let reply = client.send(smuggled).await;
    let mail = std::fs::read_to_string(stored(data.path(), &reply)).expect("the mail is there");
    // RFC 5321 4.5.2 takes the one dot at the start of a line away.
    assert_eq!(mail, format!("{smuggled}\r\n").replace("\r\n.\n", "\r\n\n"));
    assert_eq!(files(data.path()), before + 1);
}

#[tokio::test]
async fn a_mail_that_is_not_finished_is_not_stored() {
    let data = tempfile::tempdir().expect("a folder");
    let (_app, mailbox) = start(data.path()).await;
    let before = files(data.path());
    let mut client = Client::connect(mailbox).await;
    for command in ["MAIL FROM:<a@example.org>", "RCPT TO:<b@example.org>", "DATA"] {
        client.ask(command).await;
    }
    client.write("Subject: half\r\n\r\nhalf of it").await;
    drop(client);
    // A whole conversation after it shows that the server has gone on.
    let reply = Client::connect(mailbox).await.send("Subject: whole\r\n\r\nx").await;
    assert!(stored(data.path(), &reply).exists());
    assert_eq!(files(data.path()), before + 1);
}

#[tokio::test]
async fn a_header_from_outside_chooses_no_path() {
    let data = tempfile::tempdir().expect("a folder");
    let (_app, mailbox) = start(data.path()).await;
    for id in ["../../escaped", "/tmp/escaped", "..", ""] {
        let mail = format!("Outbox-Message-Id: {id}\r\nSubject: x\r\n\r\nx");
        let reply = Client::connect(mailbox).await.send(mail).await;
        let path = stored(data.path(), &reply);
        assert!(path.exists() && !path.to_string_lossy().contains("escaped"), "{reply}");
    }
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_the_conversation_goes_on() {
    let data = tempfile::tempdir().expect("a folder");
    let (_app, mailbox) = start(data.path()).await;
    let before = files(data.path());
    let mut client = Client::connect(mailbox).await;
    let line = format!("{}\r\n", "x".repeat(998));
    assert!(client.send(line.repeat(11 * 1024)).await.starts_with("552"));
    assert!(client.send("x".repeat(11 * 1024 * 1024)).await.starts_with("552"));
    assert!(client.ask("MAIL FROM:<a@example.org> SIZE=99999999").await.starts_with("552"));
    assert!(client.ask(&"x".repeat(10_000)).await.starts_with("500"));
    assert_eq!(files(data.path()), before);
    let reply = client.send("Subject: small\r\n\r\nx").await;
    assert!(stored(data.path(), &reply).exists());
}

#[tokio::test]
async fn commands_out_of_order_are_refused() {
    let data = tempfile::tempdir().expect("a folder");
    let (_app, mailbox) = start(data.path()).await;
    let mut client = Client::connect(mailbox).await;
    let expected = [
        ("DATA", "503"),
        ("RCPT TO:<b@example.org>", "503"),
        ("MAIL FROM:", "501"),
        ("MAIL a@example.org", "501"),
        ("mail from:<>", "250"),
        ("MAIL FROM:<a@example.org>", "503"),
        ("DATA", "503"),
        ("RCPT TO:<>", "501"),
        ("rcpt to: <b@example.org>", "250"),
        ("RSET", "250"),
        ("DATA", "503"),
        ("NOOP", "250"),
        ("VRFY b", "252"),
        ("STARTTLS", "502"),
        ("\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}", "502"),
        ("MAIL FRO\u{e9}:<a@example.org>", "501"),
        ("HELO client.example.org", "250"),
    ];
    for (command, code) in expected {
        let reply = client.ask(command).await;
        assert!(reply.starts_with(code), "{command}: {reply}");
    }
}

#[tokio::test]
async fn many_clients_and_commands_in_one_write_are_served() {
    let data = tempfile::tempdir().expect("a folder");
    let (_app, mailbox) = start(data.path()).await;
    let before = files(data.path());
    let mut clients = tokio::task::JoinSet::new();
    // More than are served at a time: the rest waits.
    for number in 0..100 {
        clients.spawn(async move {
            let mut client = Client::connect(mailbox).await;
            client
                .write(format!(
                    "EHLO c\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nSubject: {number}\r\n\r\nx\r\n.\r\nQUIT\r\n"
                ))
                .await;
            let mut codes = Vec::new();
            for _ in 0..6 {
                codes.push(client.reply().await[..3].to_owned());
            }
            assert_eq!(codes, ["250", "250", "250", "354", "250", "221"]);
        });
    }
    while let Some(done) = clients.join_next().await {
        done.expect("each client is served");
    }
    assert_eq!(files(data.path()), before + 100);
    let unfinished = std::fs::read_dir(data.path().join("mailbox")).expect("readable");
    assert!(unfinished.flatten().all(|file| file.path().extension().is_some_and(|e| e != "unfinished")));
}

#[tokio::test]
async fn a_start_removes_what_a_dead_process_left_and_nothing_that_a_live_one_is_writing() {
    let data = tempfile::tempdir().expect("a folder");
    let folder = data.path().join("mailbox");
    std::fs::create_dir(&folder).expect("a folder");
    let (left, live) = (folder.join("left.eml.unfinished"), folder.join("live.eml.unfinished"));
    let long_ago = SystemTime::now() - Duration::from_secs(3_600);
    File::create(&left).and_then(|file| file.set_modified(long_ago)).expect("a file");
    File::create(&live).expect("a file");
    let (_app, _) = start(data.path()).await;
    assert!(!left.exists());
    assert!(live.exists());
}
