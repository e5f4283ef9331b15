//! The newest segment of a topic as a file: appends, flushes, starts the next one when it is full, and repairs what a
//! crash or a full disk left behind. It is used by one thread at a time and holds no lines.

use super::{segment_name, segments};
use headwater_core::{Error, Result};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// How much is read at once to find the last line break.
const BLOCK_BYTES: u64 = 64 << 10;

/// The newest segment.
#[derive(Debug)]
pub(super) struct Segment {
    folder: PathBuf,
    number: u64,
    file: File,
    /// How many bytes are complete lines on disk; what lies after them is not part of the log.
    n_durable: u64,
    /// Whether a failed write may have left bytes after the durable part.
    is_dirty: bool,
    bytes_max: u64,
}

impl Segment {
    /// Opens the newest segment of a topic, cutting off an unfinished last line; the first is made when there is none.
    pub(super) fn open_newest(folder: &Path, bytes_max: u64) -> Result<Self> {
        let failed = |error| Error::io(format!("cannot open the topic '{}'", folder.display()), error);
        fs::create_dir_all(folder).map_err(failed)?;
        sync_folder(folder.parent().unwrap_or(folder)).map_err(failed)?;
        let number = segments(folder)?.last().copied().unwrap_or(1);
        let mut file = open(folder, number).map_err(failed)?;
        let n_bytes = file.seek(SeekFrom::End(0)).map_err(failed)?;
        let n_durable = end_of_last_line(&mut file, n_bytes).map_err(failed)?;
        if n_durable < n_bytes {
            let n_cut = n_bytes - n_durable;
            tracing::warn!(topic = %folder.display(), n_cut, "cut off an unfinished line");
            file.set_len(n_durable).and_then(|()| file.sync_data()).map_err(failed)?;
        }
        Ok(Self { folder: folder.to_owned(), number, file, n_durable, is_dirty: false, bytes_max })
    }

    /// Appends complete lines, all or none; returns the segment and the offset at which they start.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(u64, u64)> {
        let result = self.try_append(bytes);
        if result.is_err() {
            self.is_dirty = self.clean().is_err();
        }
        result.map_err(|error| {
            Error::unavailable(format!("cannot append to the topic '{}': {error}", self.folder.display()))
                .with_cause(error)
        })
    }

    fn try_append(&mut self, bytes: &[u8]) -> io::Result<(u64, u64)> {
        if self.is_dirty {
            self.clean()?;
            self.is_dirty = false;
        }
        if self.n_durable >= self.bytes_max {
            self.file = open(&self.folder, self.number + 1)?;
            self.number += 1;
            self.n_durable = 0;
        }
        let offset = self.n_durable;
        if !bytes.is_empty() {
            self.file.seek(SeekFrom::Start(offset))?;
            self.file.write_all(bytes)?;
            self.file.sync_data()?;
            self.n_durable += bytes.len() as u64;
        }
        Ok((self.number, offset))
    }

    fn clean(&self) -> io::Result<()> {
        self.file.set_len(self.n_durable)?;
        self.file.sync_data()
    }
}

fn open(folder: &Path, number: u64) -> io::Result<File> {
    let path = folder.join(segment_name(number));
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    sync_folder(folder)?;
    Ok(file)
}

/// Makes new names in a folder durable.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Returns the number of bytes up to and with the last line break.
fn end_of_last_line(file: &mut File, n_bytes: u64) -> io::Result<u64> {
    let mut end = n_bytes;
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK_BYTES);
        block.clear();
        file.seek(SeekFrom::Start(start))?;
        Read::by_ref(file).take(end - start).read_to_end(&mut block)?;
        if let Some(at) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}
