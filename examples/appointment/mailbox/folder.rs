//! [`Folder`]: mails as files.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::Utc;
use mail_parser::{MessageParser, MimeHeaders};
use uuid::Uuid;

/// Writing a mail takes a moment; a file unfinished for longer was left by a process that died.
const LEFT: Duration = Duration::from_secs(60);

/// A folder of mails. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
}

/// One mail that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The mail, as it came over the wire.
    pub eml: PathBuf,
    /// The invitation that it carries, decoded.
    pub ics: Option<PathBuf>,
}

impl Mail {
    /// The name of its `.eml`, without the ending.
    pub fn name(&self) -> String {
        self.eml.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

impl Folder {
    /// Opens the folder, creating it if need be.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&path)?;
        for entry in fs::read_dir(&path)? {
            let file = entry?.path();
            if file.extension().is_some_and(|ending| ending == UNFINISHED) {
                remove_if_left(&file)?;
            }
        }
        Ok(Self { path })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Stores a mail, and the invitation it carries, durably: on `Ok` both survive a power cut.
    pub async fn store(&self, bytes: Vec<u8>) -> io::Result<Mail> {
        let folder = self.clone();
        blocking(move || folder.store_now(&bytes)).await
    }

    /// The first mail that carries this id in its `Outbox-Message-Id` header.
    pub async fn find(&self, message_id: Uuid) -> io::Result<Option<Mail>> {
        let folder = self.clone();
        blocking(move || folder.find_now(message_id)).await
    }

    fn store_now(&self, bytes: &[u8]) -> io::Result<Mail> {
        let parsed = MessageParser::default().parse(bytes);
        let message_id =
            parsed.as_ref().and_then(|mail| mail.header_raw("Outbox-Message-Id")?.trim().parse().ok());
        // The header comes from outside, so only a UUID of it gets into a file name.
        let id: Uuid = message_id.unwrap_or_else(Uuid::now_v7);
        let name = format!("{}-{id}", Utc::now().format("%Y%m%dT%H%M%S%.6fZ"));
        let invitation = parsed.as_ref().and_then(|mail| mail.parts.iter().find(|part| is_calendar(part)));
        let ics = match invitation {
            Some(part) => Some(self.write(&name, "ics", part.contents())?),
            None => None,
        };
        // The `.eml` comes last: where there is one, all of the mail is there.
        let eml = self.write(&name, "eml", bytes)?;
        Ok(Mail { eml, ics })
    }

    /// Writes beside the place, and moves into place when it is whole and on the disk.
    fn write(&self, name: &str, ending: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        let unfinished = self.path.join(format!("{name}.{ending}.{UNFINISHED}"));
        let finished = self.path.join(format!("{name}.{ending}"));
        let mut file = File::create_new(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, &finished)?;
        // A rename is durable only once the folder is. Elsewhere a folder cannot be opened as a file.
        #[cfg(unix)]
        File::open(&self.path)?.sync_all()?;
        Ok(finished)
    }

    fn find_now(&self, message_id: Uuid) -> io::Result<Option<Mail>> {
        let ending = format!("-{message_id}.eml");
        let mut found: Vec<PathBuf> = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let file = entry?.path();
            if file.to_string_lossy().ends_with(&ending) {
                found.push(file);
            }
        }
        Ok(found.into_iter().min().map(|eml| {
            let ics = eml.with_extension("ics");
            Mail { ics: ics.exists().then_some(ics), eml }
        }))
    }
}

const UNFINISHED: &str = "unfinished";

/// Nobody was told that the mail in a file that was left had been accepted. A younger file may be one that another
/// process is writing, which shares the folder.
fn remove_if_left(unfinished: &Path) -> io::Result<()> {
    let age = fs::metadata(unfinished).and_then(|file| file.modified()).map(|written| written.elapsed());
    let removed = match age {
        Ok(Ok(age)) if age > LEFT => fs::remove_file(unfinished),
        // Written in the future, by a clock that was set back since: young enough.
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    };
    match removed {
        // Its writer has finished it meanwhile, or another start removed it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn is_calendar(part: &mail_parser::MessagePart<'_>) -> bool {
    part.content_type().is_some_and(|kind| kind.ctype() == "text" && kind.subtype() == Some("calendar"))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
