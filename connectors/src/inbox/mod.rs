//! The durable inbox: a log on disk, one folder a topic, in front of everything that is sent to Headwater.
//!
//! [`Inbox`] appends: it answers only when the lines are on disk. The source connector `inbox` reads. A topic is
//! `<dir>/<topic>/<8-digit segment>.jsonl`, one record a line; a segment is never changed once a later one exists.
//! Nothing is deleted here, and nothing is decoded.

mod log;
mod source;
mod topic;

pub(crate) use source::InboxConnector;

use headwater_core::{Error, Result};
use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The file whose lock says that a process appends to this inbox.
const LOCK_NAME: &str = ".lock";
/// The longest topic name; file systems allow 255 bytes.
const TOPIC_BYTES_MAX: usize = 200;
/// What the names of segments end in.
const SEGMENT_EXTENSION: &str = "jsonl";
/// When a segment is full: small enough to copy and to scan, large enough that a year of events is few files.
const SEGMENT_BYTES_MAX: u64 = 64 << 20;

/// Where lines were appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendedAt {
    /// The topic.
    pub topic: String,
    /// The number of the segment, from 1.
    pub segment: u64,
    /// The byte offset of the first line in the segment.
    pub offset: u64,
}

impl AppendedAt {
    /// Returns the position of the first line as the source reports it: `topic/00000001.jsonl:offset`.
    #[must_use]
    pub fn position(&self) -> String {
        format!("{}/{}:{}", self.topic, segment_name(self.segment), self.offset)
    }
}

/// The writing end of an inbox. One process at a time holds it; threads share it.
#[derive(Debug)]
pub struct Inbox {
    dir: PathBuf,
    segment_bytes_max: u64,
    topics: Mutex<BTreeMap<String, Arc<topic::Topic>>>,
    /// Held for its lock, which the system gives back when the process ends.
    _lock: File,
}

impl Inbox {
    /// Opens the inbox in a folder, which is made when it is missing. A last line that a crash left unfinished is cut
    /// off; it was never answered.
    ///
    /// # Errors
    /// `Conflict` when another process (or another `Inbox` of this one) has it open; `Unavailable` or `Invalid` when
    /// the folder cannot be used.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self> {
        Self::with_segment_bytes(dir, SEGMENT_BYTES_MAX)
    }

    /// As [`Inbox::open`], with another size at which a segment is full.
    ///
    /// # Errors
    /// As for [`Inbox::open`].
    pub fn with_segment_bytes(dir: impl Into<PathBuf>, segment_bytes_max: u64) -> Result<Self> {
        let dir = dir.into();
        let failed = |error| Error::io(format!("cannot open the inbox '{}'", dir.display()), error);
        fs::create_dir_all(&dir).map_err(failed)?;
        let lock =
            File::options().create(true).truncate(false).write(true).open(dir.join(LOCK_NAME)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::conflict(format!("the inbox '{}' is open in another process", dir.display()))
                    .with_help("stop the other process, or send to its API"));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let mut topics = BTreeMap::new();
        for name in topic_names(&dir)? {
            topics.insert(name.clone(), Arc::new(topic::Topic::open(&dir, &name, segment_bytes_max)?));
        }
        Ok(Self { dir, segment_bytes_max, topics: Mutex::new(topics), _lock: lock })
    }

    /// Returns the folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the names of the topics.
    #[must_use]
    pub fn topics(&self) -> Vec<String> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// Appends lines to a topic, all or none, and returns when they are on disk. Lines of one call stand together.
    /// Calls of several threads share one write and one flush.
    ///
    /// # Errors
    /// `Invalid` for a topic name or a line that cannot be kept; `Unavailable` when the disk refuses, in which case
    /// nothing was kept.
    pub fn append(&self, topic: &str, lines: &[&[u8]]) -> Result<AppendedAt> {
        check_topic(topic)?;
        for line in lines {
            if line.is_empty() || line.contains(&b'\n') {
                return Err(Error::invalid("a line of the inbox must not be empty or hold a line break"));
            }
        }
        let (segment, offset) = self.topic(topic)?.append(lines)?;
        Ok(AppendedAt { topic: topic.to_owned(), segment, offset })
    }

    fn topic(&self, name: &str) -> Result<Arc<topic::Topic>> {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(topic) = topics.get(name) {
            return Ok(topic.clone());
        }
        let topic = Arc::new(topic::Topic::open(&self.dir, name, self.segment_bytes_max)?);
        topics.insert(name.to_owned(), topic.clone());
        Ok(topic)
    }
}

/// Refuses names that are not plain folder names.
pub(crate) fn check_topic(name: &str) -> Result<()> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() || name.len() > TOPIC_BYTES_MAX || name.starts_with('.') || !name.bytes().all(is_plain) {
        let shown: String = name.chars().take(TOPIC_BYTES_MAX).collect();
        return Err(Error::invalid(format!("'{}' is no name for a topic", shown.escape_debug()))
            .with_help("use letters, digits, '.', '_' and '-', not starting with '.'"));
    }
    Ok(())
}

fn topic_names(dir: &Path) -> Result<Vec<String>> {
    let failed = |error| Error::io(format!("cannot list the inbox '{}'", dir.display()), error);
    let mut names = Vec::new();
    for entry in dir.read_dir().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && check_topic(&name).is_ok() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Returns the file name of a segment.
pub(crate) fn segment_name(number: u64) -> String {
    format!("{number:08}.{SEGMENT_EXTENSION}")
}

/// Returns the numbers of the segments of a topic, rising; none when the topic does not exist.
pub(crate) fn segments(folder: &Path) -> Result<Vec<u64>> {
    let failed = |error| Error::io(format!("cannot list the topic '{}'", folder.display()), error);
    let entries = match folder.read_dir() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(SEGMENT_EXTENSION)?.strip_suffix('.'));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests;
