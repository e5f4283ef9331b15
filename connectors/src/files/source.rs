//! The source over a list of files: one file is open at a time, the others wait. It never reads ahead of what was
//! asked for. State: for each file whether it is done and where it is.
//!
//! A file that waits for its turn may be older than what was read, so the watermark is held until the last file of
//! the subtask is being read.

use super::lines::{LineReader, LineSettings};
use super::listing::File;
use super::parquet::ParquetReader;
use super::{FileFormat, FilesSpec};
use crate::formats::records::Place;
use arrow::array::RecordBatch;
use async_trait::async_trait;
use headwater_core::{Batch, DeadLetter, Error, Polled, Position, Result, Source, SourceBatch, TaskContext};

/// The place of a file that was read to its end.
const DONE: &str = "done";

/// Reads one file.
pub(super) trait FileReader: Send {
    /// Returns at most `rows_max` rows and bad pieces. After an error it continues where it was.
    fn read(&mut self, rows_max: usize) -> Result<Piece>;

    /// Returns the place after everything that was returned.
    fn place(&self) -> String;
}

/// What a file had.
pub(super) enum Piece {
    Rows { rows: RecordBatch, bad: Vec<DeadLetter> },
    End,
}

enum State {
    Waiting,
    /// Was read up to this place by an earlier run.
    At(String),
    Open(Box<dyn FileReader>),
    Done,
}

/// The files of one subtask.
pub(super) struct FilesSource {
    spec: FilesSpec,
    files: Vec<(File, State)>,
    /// The files of all subtasks, by name.
    names: Vec<String>,
}

impl FilesSource {
    /// Takes every `parallelism`th file.
    pub(super) fn new(spec: FilesSpec, all: Vec<File>, context: &TaskContext) -> Self {
        let names = all.iter().map(|file| file.name.clone()).collect();
        let mine = all.into_iter().skip(context.subtask).step_by(context.parallelism.max(1));
        Self { spec, files: mine.map(|file| (file, State::Waiting)).collect(), names }
    }

    fn batch(&self, partition: usize, rows: RecordBatch, dead_letters: Vec<DeadLetter>) -> Result<Polled> {
        let partition = u32::try_from(partition).map_err(|_| Error::invalid("there are more than 2^32 files"))?;
        let dead_letters = self.spec.bad_data.apply(dead_letters)?;
        Ok(Polled::Batch(SourceBatch { partition, batch: Batch::append_only(rows), dead_letters }))
    }

    fn read(&mut self, rows_max: usize) -> Result<Polled> {
        for index in 0..self.files.len() {
            if let Some((rows, bad)) = self.read_file(index, rows_max)? {
                return self.batch(index, rows, bad);
            }
        }
        Ok(Polled::End)
    }

    fn read_file(&mut self, index: usize, rows_max: usize) -> Result<Option<(RecordBatch, Vec<DeadLetter>)>> {
        let (file, state) = &mut self.files[index];
        loop {
            match state {
                State::Done => return Ok(None),
                State::Waiting => *state = State::Open(self.spec.reader(file, None)?),
                State::At(place) => *state = State::Open(self.spec.reader(file, Some(place))?),
                State::Open(reader) => match reader.read(rows_max)? {
                    Piece::End => *state = State::Done,
                    Piece::Rows { rows, bad } => return Ok(Some((rows, bad))),
                },
            }
        }
    }
}

impl FilesSpec {
    fn reader(&self, file: &File, place: Option<&str>) -> Result<Box<dyn FileReader>> {
        Ok(match &self.format {
            FileFormat::Parquet => {
                let n_rows = place.unwrap_or("0").parse();
                let n_rows = n_rows.map_err(|_| Error::data(format!("'{}': no place in a Parquet file", file.name)))?;
                Box::new(ParquetReader::new(file.clone(), self.wanted.clone(), n_rows, &self.table))
            }
            FileFormat::Lines { format, cutting, compression } => {
                let settings = LineSettings {
                    table: self.table.clone(),
                    format: format.clone(),
                    cutting: *cutting,
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

#[async_trait]
impl Source for FilesSource {
    async fn poll(&mut self, rows_max: usize) -> Result<Polled> {
        crate::blocking::run(|| self.read(rows_max)).map_err(|error| error.at(format!("table {}", self.spec.table)))
    }

    fn holds_watermark(&self) -> bool {
        self.files.iter().filter(|(_, state)| !matches!(state, State::Done)).count() > 1
    }

    fn position(&self) -> Position {
        let place = |(file, state): &(File, State)| {
            let place = match state {
                State::Waiting => return None,
                State::At(place) => place.clone(),
                State::Open(reader) => reader.place(),
                State::Done => DONE.to_owned(),
            };
            Some((file.name.clone(), place))
        };
        Position(self.files.iter().filter_map(place).collect())
    }

    async fn seek(&mut self, position: &Position) -> Result<()> {
        if let Some(gone) = position.0.keys().find(|name| !self.names.contains(name)) {
            return Err(Error::data(format!("'{gone}' was being read and is not there any more"))
                .at(format!("table {}", self.spec.table)));
        }
        for (file, state) in &mut self.files {
            *state = match position.0.get(&file.name) {
                None => State::Waiting,
                Some(place) if place == DONE => State::Done,
                Some(place) => State::At(place.clone()),
            };
        }
        Ok(())
    }
}
