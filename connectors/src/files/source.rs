//! The source over a list of files: one file is open at a time, the others wait. It never reads ahead of what was
//! asked for. State: for each file where it is, and what the file was then.
//!
//! A file that waits for its turn may be older than what was read, so the watermark is held until the last file of
//! the subtask is being read.
//!
//! With `mode = 'tail'` files are looked for again and again, and those that are read in bytes may grow. A file that
//! was read to its end and went away is forgotten: what is remembered grows with the folder, not with time.

use super::entry::{Entry, Look};
use super::listing::File;
use super::{FilesSpec, Mode};
use crate::fnv::fnv;
use arrow::array::RecordBatch;
use async_trait::async_trait;
use headwater_core::{Batch, DeadLetter, Error, Polled, Position, Result, Source, SourceBatch, TaskContext};
use std::collections::BTreeSet;

/// Reads one file.
pub(super) trait FileReader: Send {
    /// Returns at most `rows_max` rows and bad pieces. After an error it continues where it was.
    fn read(&mut self, rows_max: usize) -> Result<Piece>;

    /// Returns the place after everything that was returned.
    fn place(&self) -> String;

    /// Returns how many bytes of the file have been read; `None` where places are not those of bytes.
    fn offset(&self) -> Option<u64>;
}

/// What a file had.
pub(super) enum Piece {
    Rows { rows: RecordBatch, bad: Vec<DeadLetter> },
    End,
}

/// The files of one subtask.
pub(super) struct FilesSource {
    spec: FilesSpec,
    context: TaskContext,
    files: Vec<Entry>,
    /// The file that is being read, by index.
    current: usize,
    /// How many of the files in a row had nothing.
    n_still: usize,
    /// The number of the next partition.
    n_partitions: u32,
    /// The files of all subtasks, by name.
    names: BTreeSet<String>,
}

impl FilesSource {
    /// Takes this subtask's share of the files.
    pub(super) fn new(spec: FilesSpec, all: Vec<File>, context: &TaskContext) -> Result<Self> {
        let (files, names) = (Vec::new(), BTreeSet::new());
        let mut source = Self { spec, context: context.clone(), files, current: 0, n_still: 0, n_partitions: 0, names };
        source.take(all)?;
        Ok(source)
    }

    /// Takes down which files there are: new ones are added, and in a folder that is followed those that went away
    /// after their end are forgotten.
    fn take(&mut self, all: Vec<File>) -> Result<()> {
        let names: BTreeSet<String> = all.iter().map(|file| file.name.clone()).collect();
        self.files.retain(|entry| names.contains(&entry.file.name) || !entry.is_read());
        let parallelism = self.context.parallelism.max(1);
        for (number, file) in all.into_iter().enumerate() {
            let owner = match self.spec.mode {
                Mode::Bounded => number % parallelism,
                // Numbers change when files come and go, names do not.
                Mode::Tail => usize::try_from(fnv(file.name.as_bytes()) % parallelism as u64).unwrap_or(0),
            };
            if owner != self.context.subtask || self.files.iter().any(|entry| entry.file.name == file.name) {
                continue;
            }
            self.files.push(Entry::new(file, self.n_partitions));
            let next = self.n_partitions.checked_add(1);
            self.n_partitions = next.ok_or_else(|| Error::invalid("there were more than 2^32 files"))?;
        }
        self.names = names;
        self.current = 0;
        Ok(())
    }

    fn batch(&self, index: usize, rows: RecordBatch, dead_letters: Vec<DeadLetter>) -> Result<Polled> {
        let partition = self.files[index].partition;
        let dead_letters = self.spec.bad_data.apply(dead_letters)?;
        Ok(Polled::Batch(SourceBatch { partition, batch: Batch::append_only(rows), dead_letters }))
    }

    fn read(&mut self, rows_max: usize) -> Result<Polled> {
        while self.n_still < self.files.len() {
            let index = self.current % self.files.len();
            if let Look::Rows { rows, bad } = self.files[index].read(&self.spec, rows_max)? {
                (self.current, self.n_still) = (index, 0);
                return self.batch(index, rows, bad);
            }
            (self.current, self.n_still) = (index + 1, self.n_still + 1);
        }
        self.n_still = 0;
        if self.spec.mode == Mode::Bounded {
            return Ok(Polled::End);
        }
        let n_before = self.files.len();
        let all = self.spec.listing.files_or_none()?;
        self.take(all)?;
        if self.files.len() > n_before {
            return self.read(rows_max);
        }
        Ok(Polled::Idle)
    }
}

#[async_trait]
impl Source for FilesSource {
    async fn poll(&mut self, rows_max: usize) -> Result<Polled> {
        crate::blocking::run(|| self.read(rows_max)).map_err(|error| error.at(format!("table {}", self.spec.table)))
    }

    fn holds_watermark(&self) -> bool {
        self.files.iter().filter(|entry| !entry.is_read()).count() > 1
    }

    fn position(&self) -> Position {
        let place = |entry: &Entry| Some((entry.file.name.clone(), entry.place()?));
        Position(self.files.iter().filter_map(place).collect())
    }

    async fn seek(&mut self, position: &Position) -> Result<()> {
        let at = |error: Error| error.at(format!("table {}", self.spec.table));
        for (name, place) in &position.0 {
            if self.names.contains(name) || Entry::was_read(place) {
                continue;
            }
            let message = format!("'{name}' was being read ({place}) and is not there any more");
            return Err(at(Error::data(message).with_help("put the file back, or start the pipeline anew")));
        }
        for entry in &mut self.files {
            let place = position.0.get(&entry.file.name);
            crate::blocking::run(|| entry.seek(place.map(String::as_str))).map_err(at)?;
        }
        (self.current, self.n_still) = (0, 0);
        Ok(())
    }
}
