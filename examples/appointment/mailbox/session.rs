//! One SMTP conversation (RFC 5321), as the server.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufStream};

use super::Folder;

/// RFC 5321 4.5.3.2.7 asks a server to wait five minutes at least for the next command.
const PATIENCE: Duration = Duration::from_secs(300);
/// RFC 5321 4.5.3.1.4 asks for 512 octets at least.
const MAX_COMMAND: usize = 4_096;
const MAX_MAIL: usize = 10 * 1024 * 1024;
const MAX_RECIPIENTS: usize = 100;

/// Serves one client until it quits, goes away, or says nothing for five minutes.
pub(super) async fn converse<S>(stream: S, folder: &Folder) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut client = Client { stream: BufStream::new(stream) };
    let mut envelope = Envelope::default();
    client.say("220 localhost development mailbox").await?;
    loop {
        let line = match client.line(MAX_COMMAND).await? {
            Line::Whole(line) => line,
            Line::TooLong => {
                client.say("500 5.5.2 line too long").await?;
                continue;
            }
            Line::End => return Ok(()),
        };
        let line = String::from_utf8_lossy(&line);
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" => {
                envelope = Envelope::default();
                let size = format!("250 SIZE {MAX_MAIL}");
                client.say(&format!("250-localhost\r\n250-PIPELINING\r\n250-8BITMIME\r\n{size}")).await?;
            }
            "HELO" => {
                envelope = Envelope::default();
                client.say("250 localhost").await?;
            }
            "MAIL" => client.say(envelope.mail(rest)).await?,
            "RCPT" => client.say(envelope.rcpt(rest)).await?,
            "DATA" if envelope.recipients == 0 => client.say("503 5.5.1 say MAIL and RCPT first").await?,
            "DATA" => {
                client.say("354 end with a dot on a line of its own").await?;
                let Some(mail) = client.mail().await? else { return Ok(()) };
                let answer = match mail {
                    Some(bytes) => accept(folder, bytes).await,
                    None => "552 5.3.4 the mail is too large".to_owned(),
                };
                client.say(&answer).await?;
                envelope = Envelope::default();
            }
            "RSET" => {
                envelope = Envelope::default();
                client.say("250 2.0.0 forgotten").await?;
            }
            "NOOP" => client.say("250 2.0.0 nothing done").await?,
            "VRFY" => client.say("252 2.1.5 every address is taken").await?,
            "QUIT" => return client.say("221 2.0.0 bye").await,
            _ => client.say("502 5.5.1 unknown command").await?,
        }
    }
}

/// Says yes only when the mail is safely on the disk: from then on the sender forgets it.
async fn accept(folder: &Folder, bytes: Vec<u8>) -> String {
    match folder.store(bytes).await {
        Ok(mail) => format!("250 2.0.0 stored as {}", mail.name()),
        Err(error) => {
            tracing::error!(%error, "the mailbox cannot write a mail");
            "452 4.3.1 the mail could not be written".to_owned()
        }
    }
}

#[derive(Default)]
struct Envelope {
    sender: bool,
    recipients: usize,
}

impl Envelope {
    fn mail(&mut self, rest: &str) -> &'static str {
        let Some((_, parameters)) = path_after(rest, "FROM:") else {
            return "501 5.5.4 say MAIL FROM:<address>";
        };
        if self.sender {
            return "503 5.5.1 one MAIL at a time";
        }
        let size =
            parameters.split(' ').find_map(|p| p.to_ascii_uppercase().strip_prefix("SIZE=")?.parse().ok());
        if size.is_some_and(|size: usize| size > MAX_MAIL) {
            return "552 5.3.4 the mail is too large";
        }
        self.sender = true;
        "250 2.1.0 go on"
    }

    fn rcpt(&mut self, rest: &str) -> &'static str {
        match path_after(rest, "TO:") {
            None | Some(("", _)) => "501 5.5.4 say RCPT TO:<address>",
            Some(_) if !self.sender => "503 5.5.1 say MAIL first",
            Some(_) if self.recipients == MAX_RECIPIENTS => "452 4.5.3 too many recipients",
            Some(_) => {
                self.recipients += 1;
                "250 2.1.5 go on"
            }
        }
    }
}

/// Splits `FROM:<path> parameters`; the path may be empty, as in a bounce.
fn path_after<'a>(rest: &'a str, prefix: &str) -> Option<(&'a str, &'a str)> {
    let head = rest.get(..prefix.len())?;
    if !head.eq_ignore_ascii_case(prefix) {
        return None;
    }
    rest[prefix.len()..].trim_start().strip_prefix('<')?.split_once('>')
}

enum Line {
    /// Without its CRLF.
    Whole(Vec<u8>),
    /// It was read to its end, and thrown away.
    TooLong,
    /// The client is gone.
    End,
}

struct Client<S> {
    stream: BufStream<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    async fn say(&mut self, reply: &str) -> io::Result<()> {
        let write = async {
            self.stream.write_all(reply.as_bytes()).await?;
            self.stream.write_all(b"\r\n").await?;
            self.stream.flush().await
        };
        tokio::time::timeout(PATIENCE, write).await?
    }

    /// Reads up to the next CRLF. A bare CR or LF ends no line (RFC 5321 2.3.8): servers that differ in this let
    /// one mail smuggle in another.
    async fn line(&mut self, limit: usize) -> io::Result<Line> {
        let mut line = Vec::new();
        let mut too_long = false;
        loop {
            let chunk = tokio::time::timeout(PATIENCE, self.stream.fill_buf()).await??;
            if chunk.is_empty() {
                return Ok(Line::End);
            }
            let newline = chunk.iter().position(|&byte| byte == b'\n');
            let taken = newline.map_or(chunk.len(), |at| at + 1);
            line.extend_from_slice(&chunk[..taken]);
            self.stream.consume(taken);
            if line.ends_with(b"\r\n") {
                line.truncate(line.len() - 2);
                return Ok(if too_long || line.len() > limit { Line::TooLong } else { Line::Whole(line) });
            }
            if line.len() > limit {
                // Only the last byte matters from here on: it may be the CR of the end.
                line.drain(..line.len() - 1);
                too_long = true;
            }
        }
    }

    /// Reads a mail up to the dot. `None`: the client went away before it; `Some(None)`: too large.
    async fn mail(&mut self) -> io::Result<Option<Option<Vec<u8>>>> {
        let mut mail = Vec::new();
        let mut too_large = false;
        loop {
            match self.line(MAX_MAIL).await? {
                Line::End => return Ok(None),
                Line::Whole(line) if line == b"." => return Ok(Some((!too_large).then_some(mail))),
                Line::Whole(line) if !too_large && mail.len() + line.len() <= MAX_MAIL => {
                    // RFC 5321 4.5.2: the sender doubled a dot at the start of a line.
                    mail.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
                    mail.extend_from_slice(b"\r\n");
                }
                Line::Whole(_) | Line::TooLong => {
                    too_large = true;
                    mail = Vec::new();
                }
            }
        }
    }
}
