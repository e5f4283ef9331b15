//! One file of a source: where it is, what it was then, and its reader while it is being read. A file that is followed
//! is looked at again when its length has changed.

use super::compression::Compression;
use super::identity::Identity;
use super::lines::{LineReader, LineSettings};
use super::listing::File;
use super::parquet::{Opener, RowReader};
use super::source::{FileReader, Piece};
use super::{FileFormat, FilesSpec, Mode};
use crate::formats::records::{Place, Tail};
use arrow::array::RecordBatch;
use headwater_core::{DeadLetter, Error, Result};
use std::os::unix::fs::MetadataExt;
use std::{fs, io};

/// What stands before a place when the file had been read to its end.
const READ: &str = "read ";

/// A file and how far it is read.
pub(super) struct Entry {
    pub(super) file: File,
    pub(super) partition: u32,
    /// The place after what was returned, and what the file was then; `None` before the first row.
    at: Option<(String, Identity)>,
    open: Option<Open>,
    /// What was there when nothing more was found in it.
    ended: Option<Seen>,
}

/// A file that is being read.
struct Open {
    reader: Box<dyn FileReader>,
    /// The file itself: its name may be given to another one meanwhile.
    handle: fs::File,
}

/// Which file a name means, and how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    size: u64,
    inode: u64,
}

impl Seen {
    fn new(metadata: &fs::Metadata) -> Self {
        Self { size: metadata.len(), inode: metadata.ino() }
    }
}

/// What a look at a file found.
pub(super) enum Look {
    Rows { rows: RecordBatch, bad: Vec<DeadLetter> },
    Nothing,
}

impl Entry {
    /// Makes it for a file that was not read yet.
    pub(super) fn new(file: File, partition: u32) -> Self {
        Self { file, partition, at: None, open: None, ended: None }
    }

    /// Whether it was read to its end.
    pub(super) fn is_read(&self) -> bool {
        self.ended.is_some()
    }

    fn failed(&self, error: io::Error) -> Error {
        Error::io(format!("cannot read '{}'", self.file.path.display()), error)
    }

    fn handle(&self) -> Result<fs::File> {
        fs::File::open(&self.file.path).map_err(|error| self.failed(error))
    }

    /// Returns the next rows.
    pub(super) fn read(&mut self, spec: &FilesSpec, rows_max: usize) -> Result<Look> {
        if self.ended.is_some() && !self.has_changed(spec)? {
            return Ok(Look::Nothing);
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.open(spec)?,
        };
        // Looked for before reading: what is appended meanwhile is found by the next look.
        let seen = Seen::new(&open.handle.metadata().map_err(|error| self.failed(error))?);
        let piece = open.reader.read(rows_max)?;
        let identity = Identity::of(&open.handle, open.reader.offset()).map_err(|error| self.failed(error))?;
        match piece {
            Piece::Rows { rows, bad } => {
                self.ended = None;
                self.at = Some((open.reader.place(), identity));
                self.open = Some(open);
                Ok(Look::Rows { rows, bad })
            }
            Piece::End => {
                self.at = Some((open.reader.place(), identity));
                self.ended = Some(seen);
                Ok(Look::Nothing)
            }
        }
    }

    fn open(&self, spec: &FilesSpec) -> Result<Open> {
        let handle = self.handle()?;
        if let Some((_, identity)) = &self.at {
            identity.check(&handle, &self.file.path)?;
        }
        let reader = spec.reader(&self.file, self.at.as_ref().map(|(place, _)| place.as_str()))?;
        Ok(Open { reader, handle })
    }

    /// Whether a file that was read to its end is worth another look.
    fn has_changed(&self, spec: &FilesSpec) -> Result<bool> {
        if spec.mode == Mode::Bounded || !spec.may_grow(&self.file) {
            return Ok(false);
        }
        match self.file.path.metadata() {
            Ok(metadata) => Ok(Some(Seen::new(&metadata)) != self.ended),
            // It is forgotten when the folder is listed again.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Returns where it is, in words that [`Entry::seek`] reads; `None` before the first row.
    pub(super) fn place(&self) -> Option<String> {
        let (place, identity) = self.at.as_ref()?;
        Some(format!("{}{place} {identity}", if self.is_read() { READ } else { "" }))
    }

    /// Whether the words of [`Entry::place`] are those of a file that had been read to its end.
    pub(super) fn was_read(place: &str) -> bool {
        place.starts_with(READ)
    }

    /// Goes to where it was.
    pub(super) fn seek(&mut self, place: Option<&str>) -> Result<()> {
        (self.at, self.open, self.ended) = (None, None, None);
        let Some(text) = place else { return Ok(()) };
        let wrong = || Error::data(format!("'{text}' is no place in '{}'", self.file.name));
        let rest = text.strip_prefix(READ).unwrap_or(text);
        let (place, identity) = rest.split_once(' ').ok_or_else(wrong)?;
        let identity: Identity = identity.parse().map_err(|()| wrong())?;
        let handle = self.handle()?;
        identity.check(&handle, &self.file.path)?;
        if Self::was_read(text) {
            identity.check_last_line(&handle, &self.file.path)?;
            // A file that has grown since has more.
            let seen = Seen::new(&handle.metadata().map_err(|error| self.failed(error))?);
            self.ended = (seen.size == identity.size()).then_some(seen);
        }
        self.at = Some((place.to_owned(), identity));
        Ok(())
    }
}

impl FilesSpec {
    /// Whether more may be appended to a file: packed files, Parquet and Avro are whole when they appear.
    pub(super) fn may_grow(&self, file: &File) -> bool {
        match &self.format {
            FileFormat::Parquet | FileFormat::Avro => false,
            FileFormat::Lines { compression, .. } => compression.of(&file.path) == Compression::None,
        }
    }

    fn reader(&self, file: &File, place: Option<&str>) -> Result<Box<dyn FileReader>> {
        Ok(match &self.format {
            FileFormat::Parquet | FileFormat::Avro => {
                let n_rows = place.unwrap_or("0").parse();
                let n_rows =
                    n_rows.map_err(|_| Error::data(format!("'{}': no number of rows as its place", file.name)))?;
                let open: Opener =
                    if matches!(self.format, FileFormat::Avro) { super::avro::open } else { super::parquet::open };
                Box::new(RowReader::new(open, file.clone(), self.wanted.clone(), n_rows, &self.table))
            }
            FileFormat::Lines { format, cutting, compression } => {
                let mut cutting = *cutting;
                if self.mode == Mode::Tail && self.may_grow(file) {
                    cutting.tail = Tail::Unfinished;
                }
                let settings = LineSettings {
                    table: self.table.clone(),
                    format: format.clone(),
                    cutting,
                    compression: *compression,
                    declared: self.declared.clone(),
                    wanted: self.wanted.clone(),
                };
                let place = place.map_or(Ok(Place::START), str::parse)?;
                Box::new(LineReader::new(settings, file.clone(), place))
            }
        })
    }
}
