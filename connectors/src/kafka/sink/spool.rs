//! Where prepared epochs wait for their commit: files in a folder that outlives the process, or memory for a run that
//! nothing will go on from.
//!
//! A file is complete or it is not there: it is written under another name, synchronised and renamed, and it is a ZSTD
//! frame with a checksum. Beside the epochs one small file says which was sent last, so that a repeated commit need
//! not ask the brokers. Bounded by one epoch: the engine prepares none before the one before it is committed.

use super::encode::Messages;
use headwater_core::{Epoch, Error, Result};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// The file that says which epoch was sent last.
const SENT: &str = "sent.json";
const ENDING: &str = "messages.zst";
/// Fast, and a third of the size or less for JSON.
const LEVEL: i32 = 1;

#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Sent {
    epoch: u64,
}

/// Prepared epochs.
#[derive(Debug, Default)]
pub(super) struct Spool {
    folder: Option<PathBuf>,
    /// Epochs of a run without a folder.
    held: BTreeMap<u64, Messages>,
    sent: Option<u64>,
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> Error + '_ {
    move |error| Error::io(format!("the spool '{}'", path.display()), error)
}

impl Spool {
    /// Opens a folder. Of what is there only the epoch that is committed next is kept.
    pub(super) fn open(folder: Option<PathBuf>, restored: Option<Epoch>) -> Result<Self> {
        let Some(folder) = folder else { return Ok(Self::default()) };
        fs::create_dir_all(&folder).map_err(failed(&folder))?;
        let kept = restored.map(|epoch| file_name(epoch.0));
        for entry in fs::read_dir(&folder).map_err(failed(&folder))? {
            let entry = entry.map_err(failed(&folder))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_void = name.contains(ENDING) && Some(&name) != kept.as_ref();
            if is_void || name == format!("{SENT}.new") {
                fs::remove_file(entry.path()).map_err(failed(&folder))?;
            }
        }
        let mut spool = Self { folder: Some(folder), ..Self::default() };
        let sent = spool.read_sent()?;
        // A run that goes on from an older checkpoint numbers its epochs from there again.
        match (sent, restored) {
            (Some(sent), Some(restored)) if sent >= restored.0 => spool.set_sent(Some(restored.0))?,
            _ => spool.set_sent(None)?,
        }
        Ok(spool)
    }

    /// Whether an epoch is known to have been sent.
    pub(super) fn is_sent(&self, epoch: Epoch) -> bool {
        self.sent.is_some_and(|sent| sent >= epoch.0)
    }

    /// Keeps the messages of an epoch.
    pub(super) fn put(&mut self, epoch: Epoch, messages: Messages) -> Result<()> {
        let Some(folder) = &self.folder else {
            self.held.insert(epoch.0, messages);
            return Ok(());
        };
        let compressed = compress(&messages).map_err(failed(folder))?;
        write_whole(folder, &file_name(epoch.0), &compressed).map_err(failed(folder))
    }

    /// Returns the messages of an epoch; nothing when they are not there.
    pub(super) fn get(&self, epoch: Epoch) -> Result<Option<Messages>> {
        let Some(folder) = &self.folder else { return Ok(self.held.get(&epoch.0).cloned()) };
        let path = folder.join(file_name(epoch.0));
        let file = match fs::File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed(&path))?,
        };
        let torn = |error: io::Error| Error::data(format!("the spool '{}' is damaged: {error}", path.display()));
        let mut reader = zstd::Decoder::new(file).map_err(torn)?;
        let mut n_messages = [0; 8];
        reader.read_exact(&mut n_messages).map_err(torn)?;
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map_err(torn)?;
        Ok(Some(Messages { bytes, n_messages: u64::from_le_bytes(n_messages) }))
    }

    /// Notes that an epoch was sent; its messages are not needed any more.
    pub(super) fn done(&mut self, epoch: Epoch) -> Result<()> {
        self.held.retain(|held, _| *held > epoch.0);
        self.set_sent(Some(epoch.0))?;
        let Some(folder) = &self.folder else { return Ok(()) };
        match fs::remove_file(folder.join(file_name(epoch.0))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(folder)(error)),
            _ => Ok(()),
        }
    }

    /// Returns where an epoch would be, for messages to people.
    pub(super) fn place(&self, epoch: Epoch) -> String {
        self.folder
            .as_ref()
            .map_or_else(|| "memory".to_owned(), |folder| folder.join(file_name(epoch.0)).display().to_string())
    }

    fn read_sent(&self) -> Result<Option<u64>> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let path = folder.join(SENT);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(failed(&path))?,
        };
        let sent: Sent = serde_json::from_slice(&text)
            .map_err(|error| Error::data(format!("the spool '{}' is damaged: {error}", path.display())))?;
        Ok(Some(sent.epoch))
    }

    fn set_sent(&mut self, epoch: Option<u64>) -> Result<()> {
        self.sent = epoch;
        let Some(folder) = &self.folder else { return Ok(()) };
        let path = folder.join(SENT);
        let Some(epoch) = epoch else {
            return match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&path)(error)),
                _ => Ok(()),
            };
        };
        let text = serde_json::to_vec(&Sent { epoch }).map_err(|error| Error::internal(error.to_string()))?;
        write_whole(folder, SENT, &text).map_err(failed(&path))
    }
}

fn file_name(epoch: u64) -> String {
    format!("{epoch:020}.{ENDING}")
}

fn compress(messages: &Messages) -> io::Result<Vec<u8>> {
    let mut writer = zstd::Encoder::new(Vec::new(), LEVEL)?;
    writer.include_checksum(true)?;
    writer.write_all(&messages.n_messages.to_le_bytes())?;
    writer.write_all(&messages.bytes)?;
    writer.finish()
}

/// Writes a file so that it is there whole, or not at all.
fn write_whole(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let beside = folder.join(format!("{name}.new"));
    let mut file = fs::File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, folder.join(name))?;
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(text: &str) -> Messages {
        Messages { bytes: text.as_bytes().to_vec(), n_messages: 1 }
    }

    #[test]
    fn only_the_epoch_that_is_committed_next_outlives_the_process() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = Some(folder.path().join("a/b"));
        let mut spool = Spool::open(path.clone(), None).expect("opens");
        for epoch in [4, 5, 6] {
            spool.put(Epoch(epoch), messages(&epoch.to_string())).expect("writes");
        }
        spool.done(Epoch(4)).expect("notes");
        let spool = Spool::open(path.clone(), Some(Epoch(5))).expect("opens");
        assert_eq!(spool.get(Epoch(5)).expect("reads"), Some(messages("5")));
        assert_eq!(spool.get(Epoch(6)).expect("reads"), None);
        assert!(!spool.is_sent(Epoch(5)), "4 was the last");
        let spool = Spool::open(path, None).expect("opens");
        assert_eq!(spool.get(Epoch(5)).expect("reads"), None, "a run that begins has nothing to commit");
    }

    #[test]
    fn a_run_from_an_older_checkpoint_commits_its_new_epochs() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = Some(folder.path().to_owned());
        let mut spool = Spool::open(path.clone(), None).expect("opens");
        spool.put(Epoch(9), messages("9")).expect("writes");
        spool.done(Epoch(9)).expect("notes");
        let spool = Spool::open(path.clone(), Some(Epoch(5))).expect("opens");
        assert!(spool.is_sent(Epoch(5)));
        assert!(!spool.is_sent(Epoch(6)), "6 is made anew");
        let spool = Spool::open(path, Some(Epoch(7))).expect("opens");
        assert!(!spool.is_sent(Epoch(7)), "nobody knows");
    }

    #[test]
    fn a_damaged_file_is_no_epoch() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut spool = Spool::open(Some(folder.path().to_owned()), None).expect("opens");
        spool.put(Epoch(1), messages("some text that is long enough to be damaged")).expect("writes");
        let path = folder.path().join(file_name(1));
        let whole = fs::read(&path).expect("is there");
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).expect("writes");
            assert_eq!(spool.get(Epoch(1)).expect_err("is torn").kind(), headwater_core::ErrorKind::Data, "{cut}");
        }
        let mut flipped = whole.clone();
        *flipped.last_mut().expect("has bytes") ^= 1;
        fs::write(&path, &flipped).expect("writes");
        assert!(spool.get(Epoch(1)).is_err());
    }
}
