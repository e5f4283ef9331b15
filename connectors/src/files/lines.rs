//! Reads one file of records: unpack, cut, decode. State: the cutter's buffer and the decoder; after an error both go
//! and the file is opened again at the place that was reached.

use super::compression::{self, Compression};
use super::listing::File;
use super::source::{FileReader, Piece};
use crate::formats::records::{Chunk, Cutting, Place, Records};
use crate::formats::{Decode, Item, LineFormat, decode_each};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use headwater_core::{DeadLetter, Error, Result};
use std::io;

/// What all files of a table have in common.
#[derive(Debug, Clone)]
pub(super) struct LineSettings {
    pub(super) table: String,
    pub(super) format: LineFormat,
    pub(super) cutting: Cutting,
    pub(super) compression: Compression,
    pub(super) declared: SchemaRef,
    pub(super) wanted: SchemaRef,
}

/// The reader of one file.
pub(super) struct LineReader {
    settings: LineSettings,
    file: File,
    place: Place,
    opened: Option<(Records, Box<dyn Decode>)>,
}

impl LineReader {
    /// Makes a reader that continues at `place`.
    pub(super) fn new(settings: LineSettings, file: File, place: Place) -> Self {
        Self { settings, file, place, opened: None }
    }

    fn open(&self) -> Result<(Records, Box<dyn Decode>)> {
        let LineSettings { format, cutting, compression, declared, wanted, .. } = &self.settings;
        let records =
            |place| -> Result<Records> { Ok(Records::new(compression.open(&self.file.path, place)?, *cutting, place)) };
        if !format.has_header() {
            return Ok((records(self.place)?, format.decoder(declared, wanted.clone(), None)?));
        }
        let mut from_start = records(Place::START)?;
        let chunk = self.next_chunk(&mut from_start, 1)?;
        let header = match chunk.records.first() {
            Some(record) => from_start.bytes(record),
            None if chunk.rejected.is_empty() => b"",
            None => return Err(Error::data(format!("'{}' does not start with a header", self.file.name))),
        };
        // An empty file has no header and no rows; what the columns would be does not matter.
        let header = (!header.is_empty()).then_some(header);
        let decoder = format
            .decoder(declared, wanted.clone(), header)
            .map_err(|error| error.at(format!("'{}'", self.file.name)))?;
        let is_started = self.place.offset > 0;
        Ok((if is_started { records(self.place)? } else { from_start }, decoder))
    }

    fn next_chunk(&self, records: &mut Records, rows_max: usize) -> Result<Chunk> {
        records.next_chunk(rows_max).map_err(|error| compression::corrupt(&self.file.path, &error))
    }

    fn decode(&self, records: &Records, decoder: &mut dyn Decode, chunk: &Chunk) -> Result<Decoded> {
        let items: Vec<Item<'_>> =
            chunk.records.iter().map(|record| Item { bytes: records.bytes(record), place: record.place }).collect();
        let (rows, bad) = decode_each(decoder, &self.file.name, &items)?;
        let mut letters: Vec<(u64, DeadLetter)> = Vec::with_capacity(bad.len() + chunk.rejected.len());
        for (index, fault) in bad {
            let Item { bytes, place } = items[index];
            letters.push((place.offset, fault.letter(&self.settings.table, &self.file.name, place, bytes)));
        }
        for rejected in &chunk.rejected {
            letters.push((rejected.place.offset, rejected.letter(&self.settings.table, &self.file.name)));
        }
        letters.sort_by_key(|(offset, _)| *offset);
        Ok((rows, letters.into_iter().map(|(_, letter)| letter).collect()))
    }
}

type Decoded = (RecordBatch, Vec<DeadLetter>);

impl FileReader for LineReader {
    fn read(&mut self, rows_max: usize) -> Result<Piece> {
        let (mut records, mut decoder) = match self.opened.take() {
            Some(opened) => opened,
            None => self.open()?,
        };
        let chunk = match records.next_chunk(rows_max) {
            // A record that is too long is still being written.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Piece::End),
            chunk => chunk.map_err(|error| compression::corrupt(&self.file.path, &error))?,
        };
        if chunk.ended && chunk.records.is_empty() && chunk.rejected.is_empty() {
            return Ok(Piece::End);
        }
        let (rows, bad) = self.decode(&records, decoder.as_mut(), &chunk)?;
        self.place = records.next();
        self.opened = Some((records, decoder));
        Ok(Piece::Rows { rows, bad })
    }

    fn place(&self) -> String {
        self.place.to_string()
    }

    fn offset(&self) -> Option<u64> {
        let is_packed = self.settings.compression.of(&self.file.path) != Compression::None;
        (!is_packed).then_some(self.place.offset)
    }
}
