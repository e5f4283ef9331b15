//! The messages of an epoch between its end and its commit: small ones stand in the token of the checkpoint, larger
//! ones in a file that the token names. Without a durable folder nothing is restored, and they stay in memory.
//!
//! A file is written once, made durable and never changed. Once its epoch is published it goes, and a mark says up to
//! which epoch that was done, so that a commit that is repeated finds out. State: the running epoch's messages, which
//! are in memory up to a bound when there is a folder.

use headwater_core::{Epoch, Error, Result};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// The most that a token holds; a manifest is read whole.
const TOKEN_BYTES_MAX: usize = 16 << 10;
/// The most that is in memory of a running epoch where there is a folder.
const MEMORY_BYTES_MAX: usize = 1 << 20;
/// What a message has beside its texts.
const FRAME_BYTES: usize = 8;
/// The file of the epoch that is running.
const RUNNING: &str = "running";
/// What names of files end in.
const EXTENSION: &str = "spool";
/// The file that says up to which epoch everything is published.
const MARK: &str = "published";

/// A message to publish.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Outgoing(pub(super) String, pub(super) String);

/// Where the messages of a prepared epoch are.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kept {
    /// In the token itself.
    Here(Vec<Outgoing>),
    /// In a file.
    File { path: PathBuf, crc32: u32, n_bytes: u64 },
    /// In the memory of the process that prepared it.
    Memory,
}

/// What was asked of messages whose place is empty.
pub(super) enum Found {
    Messages(Reading),
    /// They are published, and gone.
    Published,
    /// They are gone, and nothing says why.
    Missing,
}

/// The messages of this subtask.
pub(super) struct Spool {
    folder: Option<PathBuf>,
    buffer: Vec<u8>,
    file: Option<BufWriter<File>>,
    crc: flate2::Crc,
    n_bytes: u64,
    n_messages: u64,
    memory: BTreeMap<Epoch, Vec<u8>>,
}

impl Spool {
    /// Opens the folder, and removes what belongs to no epoch that can still be committed.
    pub(super) fn open(folder: Option<PathBuf>, restored: Option<Epoch>) -> Result<Self> {
        if let Some(folder) = &folder {
            fs::create_dir_all(folder).map_err(|error| failed("make the folder", folder, error))?;
            for entry in fs::read_dir(folder).map_err(|error| failed("read", folder, error))? {
                let path = entry.map_err(|error| failed("read", folder, error))?.path();
                let is_ours = path.extension().is_some_and(|extension| extension == EXTENSION);
                let epoch = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok()).map(Epoch);
                let may_be_committed = epoch.zip(restored).is_some_and(|(epoch, restored)| epoch <= restored);
                if is_ours && !may_be_committed {
                    fs::remove_file(&path).map_err(|error| failed("remove", &path, error))?;
                }
            }
        }
        let (crc, memory) = (flate2::Crc::new(), BTreeMap::new());
        Ok(Self { folder, buffer: Vec::new(), file: None, crc, n_bytes: 0, n_messages: 0, memory })
    }

    /// Returns how many messages the running epoch has.
    pub(super) fn n_messages(&self) -> u64 {
        self.n_messages
    }

    /// Adds a message to the running epoch.
    pub(super) fn push(&mut self, subject: &str, payload: &[u8]) -> Result<()> {
        let length = |text: &[u8]| {
            u32::try_from(text.len())
                .map_err(|_| Error::internal("a message of more than 2^32 bytes"))
                .map(u32::to_le_bytes)
        };
        self.buffer.extend(length(subject.as_bytes())?);
        self.buffer.extend(length(payload)?);
        self.buffer.extend(subject.as_bytes());
        self.buffer.extend(payload);
        self.n_messages += 1;
        if self.folder.is_some() && self.buffer.len() > MEMORY_BYTES_MAX {
            self.spill()?;
        }
        Ok(())
    }

    /// Moves what is in memory to the file of the running epoch.
    fn spill(&mut self) -> Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let path = folder.join(RUNNING).with_extension(EXTENSION);
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let file = File::create(&path).map_err(|error| failed("write", &path, error))?;
                self.file.insert(BufWriter::new(file))
            }
        };
        file.write_all(&self.buffer).map_err(|error| failed("write", &path, error))?;
        self.crc.update(&self.buffer);
        self.n_bytes += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Ends the running epoch: what it has is durable afterwards, or in memory where nothing is.
    pub(super) fn close(&mut self, epoch: Epoch) -> Result<Kept> {
        let Some(folder) = self.folder.clone() else {
            self.memory.insert(epoch, std::mem::take(&mut self.buffer));
            self.n_messages = 0;
            return Ok(Kept::Memory);
        };
        if self.file.is_none() && self.buffer.len() <= TOKEN_BYTES_MAX {
            let messages = Reading::of(std::mem::take(&mut self.buffer)).rest()?;
            self.n_messages = 0;
            return Ok(Kept::Here(messages));
        }
        self.spill()?;
        let running = folder.join(RUNNING).with_extension(EXTENSION);
        let path = folder.join(epoch.to_string()).with_extension(EXTENSION);
        let Some(file) = &mut self.file else { return Err(Error::internal("a spool without its file")) };
        let synced = file.flush().and_then(|()| file.get_ref().sync_all());
        synced.map_err(|error| failed("write", &running, error))?;
        fs::rename(&running, &path).map_err(|error| failed("rename", &running, error))?;
        sync(&folder)?;
        let kept = Kept::File { path, crc32: self.crc.sum(), n_bytes: self.n_bytes };
        (self.file, self.crc, self.n_bytes, self.n_messages) = (None, flate2::Crc::new(), 0, 0);
        Ok(kept)
    }

    /// Finds the messages of a prepared epoch.
    pub(super) fn find(&self, epoch: Epoch, kept: &Kept) -> Result<Found> {
        match kept {
            Kept::Here(messages) => Ok(Found::Messages(Reading { source: Source::List(messages.clone().into_iter()) })),
            Kept::Memory => Ok(match self.memory.get(&epoch) {
                Some(frames) => Found::Messages(Reading::of(frames.clone())),
                None => Found::Missing,
            }),
            Kept::File { path, crc32, n_bytes } => {
                // A state folder that was moved has the file where this subtask's own would be.
                let own = self.folder.as_ref().and_then(|folder| Some(folder.join(path.file_name()?)));
                match [Some(path.clone()), own].into_iter().flatten().find(|path| path.is_file()) {
                    Some(path) => Reading::of_file(&path, *crc32, *n_bytes).map(Found::Messages),
                    None if self.published_up_to(path) >= Some(epoch) => Ok(Found::Published),
                    None => Ok(Found::Missing),
                }
            }
        }
    }

    fn published_up_to(&self, file: &Path) -> Option<Epoch> {
        let folders = [file.parent(), self.folder.as_deref()];
        let read = |folder: &Path| fs::read_to_string(folder.join(MARK)).ok()?.trim().parse().ok().map(Epoch);
        folders.into_iter().flatten().filter_map(read).max()
    }

    /// Forgets the messages of an epoch that is published.
    pub(super) fn published(&mut self, epoch: Epoch, kept: &Kept) -> Result<()> {
        self.memory.remove(&epoch);
        let Kept::File { path, .. } = kept else { return Ok(()) };
        let Some(folder) = path.parent().filter(|folder| folder.is_dir()).or(self.folder.as_deref()) else {
            return Ok(());
        };
        let (mark, new) = (folder.join(MARK), folder.join("published.new"));
        let upto = self.published_up_to(path).max(Some(epoch)).unwrap_or(epoch);
        let written = File::create(&new).and_then(|mut file| {
            file.write_all(upto.to_string().as_bytes())?;
            file.sync_all()
        });
        written.and_then(|()| fs::rename(&new, &mark)).map_err(|error| failed("write", &mark, error))?;
        sync(folder)?;
        match fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed("remove", path, error)),
            _ => Ok(()),
        }
    }
}

fn sync(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| failed("write", folder, error))
}

/// Makes the error of a failed call. A full disk is `Invalid`: repeating the write does not free space.
fn failed(what: &str, path: &Path, error: std::io::Error) -> Error {
    use std::io::ErrorKind as Kind;
    let message = format!("cannot {what} '{}'", path.display());
    match error.kind() {
        Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge | Kind::ReadOnlyFilesystem => {
            Error::invalid(format!("{message}: {error}")).with_help("free some space, or keep the state elsewhere")
        }
        _ => Error::io(message, error),
    }
}

/// Messages, one after the other.
pub(super) struct Reading {
    source: Source,
}

enum Source {
    List(std::vec::IntoIter<Outgoing>),
    Frames(Box<dyn Read + Send>),
}

impl Reading {
    fn of(frames: Vec<u8>) -> Self {
        Self { source: Source::Frames(Box::new(std::io::Cursor::new(frames))) }
    }

    /// Opens a file after a look at all of it.
    fn of_file(path: &Path, crc32: u32, n_bytes: u64) -> Result<Self> {
        let read = |error| failed("read", path, error);
        let mut crc = flate2::CrcReader::new(BufReader::new(File::open(path).map_err(read)?));
        let n_found = std::io::copy(&mut crc, &mut std::io::sink()).map_err(read)?;
        if n_found != n_bytes || crc.crc().sum() != crc32 {
            let (path, found) = (path.display(), crc.crc().sum());
            return Err(Error::data(format!(
                "'{path}' is damaged: {n_found} bytes with the checksum {found:08x}, {n_bytes} with {crc32:08x} were written"
            )));
        }
        let file = BufReader::new(File::open(path).map_err(read)?);
        Ok(Self { source: Source::Frames(Box::new(file)) })
    }

    /// Returns the next message.
    pub(super) fn next(&mut self) -> Result<Option<Outgoing>> {
        let frames = match &mut self.source {
            Source::List(messages) => return Ok(messages.next()),
            Source::Frames(frames) => frames,
        };
        let mut lengths = Vec::with_capacity(FRAME_BYTES);
        let failed = |error| Error::io("cannot read the messages of an epoch", error);
        frames.by_ref().take(FRAME_BYTES as u64).read_to_end(&mut lengths).map_err(failed)?;
        if lengths.is_empty() {
            return Ok(None);
        }
        let torn = || Error::data("the messages of an epoch end in the middle of one");
        let length = |at: usize| {
            let bytes = lengths.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            bytes.map(u32::from_le_bytes).ok_or_else(torn)
        };
        let mut text = |n_bytes: u32| {
            let mut text = String::new();
            frames.by_ref().take(u64::from(n_bytes)).read_to_string(&mut text).map_err(failed)?;
            if text.len() == n_bytes as usize { Ok(text) } else { Err(torn()) }
        };
        let (subject, payload) = (length(0)?, length(4)?);
        Ok(Some(Outgoing(text(subject)?, text(payload)?)))
    }

    fn rest(mut self) -> Result<Vec<Outgoing>> {
        let mut messages = Vec::new();
        while let Some(message) = self.next()? {
            messages.push(message);
        }
        Ok(messages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(n: usize, n_bytes: usize) -> Vec<Outgoing> {
        (0..n).map(|i| Outgoing(format!("s.{i}"), "x".repeat(n_bytes))).collect()
    }

    fn filled(folder: Option<&Path>, messages: &[Outgoing]) -> Spool {
        let mut spool = Spool::open(folder.map(Path::to_owned), None).expect("opens");
        messages.iter().for_each(|m| spool.push(&m.0, m.1.as_bytes()).expect("is kept"));
        spool
    }

    fn read(spool: &Spool, epoch: u64, kept: &Kept) -> Vec<Outgoing> {
        match spool.find(Epoch(epoch), kept).expect("is read") {
            Found::Messages(reading) => reading.rest().expect("is whole"),
            Found::Published | Found::Missing => panic!("the messages are gone"),
        }
    }

    #[test]
    fn small_epochs_are_in_the_token_and_large_ones_in_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        for (n, n_bytes, is_file) in [(3, 10, false), (300, 100, true), (40, 100_000, true)] {
            let expected = messages(n, n_bytes);
            let mut spool = filled(Some(folder.path()), &expected);
            assert_eq!(spool.n_messages(), n as u64);
            let kept = spool.close(Epoch(7)).expect("is durable");
            assert_eq!(matches!(kept, Kept::File { .. }), is_file);
            let token = serde_json::to_string(&kept).expect("JSON");
            let kept: Kept = serde_json::from_str(&token).expect("the same");
            let mut other = Spool::open(Some(folder.path().to_owned()), Some(Epoch(7))).expect("another process");
            assert_eq!(read(&other, 7, &kept), expected);
            other.published(Epoch(7), &kept).expect("is forgotten");
            let found = other.find(Epoch(7), &kept).expect("is looked for");
            assert_eq!(matches!(found, Found::Published), is_file);
        }
    }

    #[test]
    fn later_epochs_are_void_and_damage_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut spool = filled(Some(folder.path()), &messages(300, 100));
        let kept = spool.close(Epoch(7)).expect("is durable");
        let Kept::File { path, .. } = &kept else { panic!("a file") };
        let mut bytes = fs::read(path).expect("is there");
        bytes[5000] ^= 1;
        fs::write(path, bytes).expect("is written");
        let error = spool.find(Epoch(7), &kept).map(|_| ()).expect_err("is damaged");
        assert!(error.message().contains("is damaged"), "{error}");
        let spool = Spool::open(Some(folder.path().to_owned()), Some(Epoch(6))).expect("opens");
        assert!(!path.exists());
        assert!(matches!(spool.find(Epoch(7), &kept).expect("is looked for"), Found::Missing));
    }

    #[test]
    fn without_a_folder_memory_keeps_an_epoch_until_it_is_published() {
        let expected = messages(300, 100);
        let mut spool = filled(None, &expected);
        let kept = spool.close(Epoch(1)).expect("is kept");
        assert_eq!(read(&spool, 1, &kept), expected);
        spool.published(Epoch(1), &kept).expect("is forgotten");
        assert!(matches!(spool.find(Epoch(1), &kept).expect("is looked for"), Found::Missing));
    }
}
