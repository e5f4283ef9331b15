//! Imports a file: reads it once for its hash and once for its rows, and appends events batch by batch. Every row ends as
//! events, as a refused row in the log, or as an empty row that is skipped, and is counted. It never asks for the time,
//! never holds more than `BATCH_ROWS` rows, and writes an event only after it has fulfilled its contract.

use crate::cell::{Refusal, Terms};
use crate::events::{Made, make};
use crate::mapping::{Mapping, RatingScale};
use crate::row::Reading;
use crate::table::Table;
use crate::{ImportKey, ImportLedger, ImportRecord, ImportStatus, Kind, Summary};
use csv::ByteRecord;
use headwater_contracts::{payload_text, rejected_line};
use headwater_core::{DeadLetter, Error, EventTime, Result};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom, Write};
use uuid::Uuid;

/// Rows whose events are appended together.
pub const BATCH_ROWS: usize = 500;
/// How much is read at once for the hash.
const HASH_BUFFER_BYTES: usize = 64 << 10;

/// Where events go.
pub trait EventLog {
    /// Appends lines to a topic; they are durable when it returns.
    ///
    /// # Errors
    /// `Unavailable` and the like when they cannot be stored.
    fn append(&mut self, topic: &str, lines: Vec<Vec<u8>>) -> Result<()>;
}

/// What an import is told beside the file.
#[derive(Debug, Clone)]
pub struct ImportContext {
    /// The name of the file, without folders.
    pub file_name: String,
    /// Whose programme it is.
    pub company_id: Uuid,
    /// The name of that company.
    pub company_name: Option<String>,
    /// What the ids of people, things and events are made from: the same for all imports of an installation.
    pub namespace: Uuid,
    /// The time of the import: dates ahead of it are refused.
    pub now: EventTime,
    /// How ratings are written, when it is not as the mapping says.
    pub rating_scale: Option<RatingScale>,
    /// Rows up to this one are counted but not appended again; the ledger may know of more.
    pub start_row: u64,
}

/// Everything an import needs beside the file.
pub struct Import<'a> {
    /// What the file is read as.
    pub kind: Kind,
    /// Its columns.
    pub mapping: &'a Mapping,
    /// What the import is told.
    pub context: &'a ImportContext,
    /// Where events go.
    pub log: &'a mut dyn EventLog,
    /// What remembers imports.
    pub ledger: &'a mut dyn ImportLedger,
    /// Where refused rows go as CSV: their columns, then `error_code, error_column, error_message, row`.
    pub errors: Option<&'a mut dyn Write>,
}

impl Import<'_> {
    /// Imports a file. A file that was imported before changes nothing; one whose import was interrupted goes on where
    /// it was.
    ///
    /// # Errors
    /// `Invalid` when the file has no header or lacks a column, `Data` when it cannot be read as CSV, and the errors of
    /// reading and storing. What was appended before stays, and the next try goes on behind it.
    pub fn run(self, mut reader: impl Read + Seek) -> Result<Summary> {
        let name = &self.context.file_name;
        self.run_file(&mut reader).map_err(|error| error.at(name.clone()))
    }

    fn run_file(mut self, reader: &mut (impl Read + Seek)) -> Result<Summary> {
        let (sha256, size_bytes) = hash(reader)?;
        let key = ImportKey { sha256, kind: self.kind, company_id: self.context.company_id };
        let known = self.ledger.find(&key)?;
        if let Some(known) = known.as_ref().filter(|known| known.status == ImportStatus::Completed) {
            return Ok(Summary { already_imported: true, ..known.summary.clone() });
        }
        let done = known.map_or(0, |known| known.last_processed_row).max(self.context.start_row);
        let mut table = Table::open(reader)?;
        let layout = self.mapping.layout(&table.headers)?;
        let mut summary = Summary { ignored_columns: layout.unused.clone(), ..Summary::default() };
        let scale = self.context.rating_scale.unwrap_or(self.mapping.rating_scale);
        let terms = Terms { scale, now: self.context.now };
        let (kind, mapping, context, n_columns) = (self.kind, self.mapping, self.context, table.headers.len());
        let reading = Reading { kind, mapping, context, layout, terms, n_columns };
        let mut errors = match self.errors.take() {
            Some(writer) => Some(ErrorFile::begin(writer, &table)?),
            None => None,
        };
        let mut record = ImportRecord {
            key,
            file_name: self.context.file_name.clone(),
            size_bytes,
            status: ImportStatus::Running,
            last_processed_row: done,
            summary: Summary::default(),
        };
        loop {
            let batch = Batch::read(&mut table, &reading, &mut summary)?;
            let ended = batch.n_rows < BATCH_ROWS;
            let n_read = summary.total;
            let refused = batch.append(&reading, &table.headers, done, &mut summary, self.log)?;
            if let Some(errors) = &mut errors {
                refused.iter().try_for_each(|refused| errors.write(refused))?;
            }
            if ended {
                record.status = ImportStatus::Completed;
            }
            record.last_processed_row = n_read.max(done);
            record.summary = summary.clone();
            if n_read > done || ended {
                self.ledger.save(&record)?;
            }
            if ended {
                errors.map_or(Ok(()), ErrorFile::end)?;
                return Ok(summary);
            }
        }
    }
}

/// Some rows and what they became.
struct Batch {
    n_rows: usize,
    rows: Vec<(u64, ByteRecord, Result<Made, Refusal>)>,
}

/// A refused row, or a refused part of one.
struct Refused {
    number: u64,
    record: ByteRecord,
    refusal: Refusal,
}

impl Batch {
    fn read<R: Read>(table: &mut Table<R>, reading: &Reading<'_>, summary: &mut Summary) -> Result<Self> {
        let mut batch = Self { n_rows: 0, rows: Vec::new() };
        while batch.n_rows < BATCH_ROWS && table.advance()? {
            batch.n_rows += 1;
            summary.total += 1;
            let record = table.record();
            if record.iter().all(|cell| cell.iter().all(u8::is_ascii_whitespace)) {
                summary.skipped += 1;
                continue;
            }
            let number = summary.total + 1;
            let made = reading.row(record, number).and_then(|row| make(&row));
            batch.rows.push((summary.total, record.clone(), made));
        }
        Ok(batch)
    }

    /// Checks events against their contracts, counts, and appends what is behind row `done`.
    fn append(
        mut self,
        reading: &Reading<'_>,
        headers: &[String],
        done: u64,
        summary: &mut Summary,
        log: &mut dyn EventLog,
    ) -> Result<Vec<Refused>> {
        self.check_events()?;
        let mut refused = Vec::new();
        let mut by_topic: BTreeMap<&str, Vec<Vec<u8>>> = BTreeMap::new();
        for (row, record, made) in self.rows {
            let (events, refusal) = match made {
                Ok(made) => {
                    summary.success += 1;
                    summary.partial += u64::from(made.refused_part.is_some());
                    if let Some(note) = made.note {
                        *summary.notes.entry(note.to_owned()).or_default() += 1;
                    }
                    (made.events, made.refused_part)
                }
                Err(refusal) => {
                    summary.rejected += 1;
                    (Vec::new(), Some((reading.kind.topic(), refusal)))
                }
            };
            summary.events += events.len() as u64;
            let mut lines = events;
            if let Some((topic, refusal)) = refusal {
                *summary.codes.entry(refusal.reason.code().to_owned()).or_default() += 1;
                let row = Refused { number: row + 1, record, refusal };
                lines.push((topic, rejected_line(&row.letter(reading, headers))));
                refused.push(row);
            }
            if row > done {
                lines.into_iter().for_each(|(topic, line)| by_topic.entry(topic).or_default().push(line));
            }
        }
        by_topic.into_iter().try_for_each(|(topic, lines)| log.append(topic, lines))?;
        Ok(refused)
    }

    /// Refuses rows of which an event does not fulfil its contract, such as one with a link that is no link.
    fn check_events(&mut self) -> Result<()> {
        let mut by_topic: BTreeMap<&str, Vec<(usize, &[u8])>> = BTreeMap::new();
        for (index, (_, _, made)) in self.rows.iter().enumerate() {
            for (topic, line) in made.iter().flat_map(|made| &made.events) {
                by_topic.entry(topic).or_default().push((index, line));
            }
        }
        let mut broken = Vec::new();
        for (topic, lines) in by_topic {
            let texts: Vec<&[u8]> = lines.iter().map(|(_, line)| *line).collect();
            for (place, letter) in headwater_contracts::find(topic)?.check_lines(&texts, topic)? {
                let field = letter.path.trim_start_matches("data.").to_owned();
                broken.push((lines[place].0, Refusal { reason: letter.reason, field, message: letter.message }));
            }
        }
        for (index, refusal) in broken {
            self.rows[index].2 = Err(refusal);
        }
        Ok(())
    }
}

impl Refused {
    fn letter(&self, reading: &Reading<'_>, headers: &[String]) -> DeadLetter {
        let cells = headers.iter().zip(self.record.iter());
        let object: Map<String, Value> =
            cells.map(|(header, cell)| (header.clone(), String::from_utf8_lossy(cell).into())).collect();
        DeadLetter {
            reason: self.refusal.reason,
            message: self.refusal.message.clone(),
            path: self.refusal.field.clone(),
            source: format!("import {}", reading.kind),
            position: format!("{}:{}", reading.context.file_name, self.number),
            payload: payload_text(Value::Object(object).to_string().as_bytes()),
        }
    }
}

/// The CSV of refused rows.
struct ErrorFile<'a> {
    csv: csv::Writer<&'a mut dyn Write>,
    n_columns: usize,
}

impl<'a> ErrorFile<'a> {
    fn begin<R>(writer: &'a mut dyn Write, table: &Table<R>) -> Result<Self> {
        let mut csv = csv::WriterBuilder::new().delimiter(table.delimiter).from_writer(writer);
        let added = ["error_code", "error_column", "error_message", "row"];
        csv.write_record(table.headers.iter().map(String::as_str).chain(added))
            .map_err(|error| Self::failed(&error))?;
        Ok(Self { csv, n_columns: table.headers.len() })
    }

    fn write(&mut self, refused: &Refused) -> Result<()> {
        let Refusal { reason, field, message } = &refused.refusal;
        let number = refused.number.to_string();
        let added = [reason.code(), field, message, &number].map(str::as_bytes);
        let cells = (0..self.n_columns).map(|column| refused.record.get(column).unwrap_or_default());
        self.csv.write_record(cells.chain(added)).map_err(|error| Self::failed(&error))
    }

    fn end(mut self) -> Result<()> {
        self.csv.flush().map_err(|error| Error::io("cannot write the refused rows", error))
    }

    fn failed(error: &csv::Error) -> Error {
        Error::unavailable(format!("cannot write the refused rows: {error}"))
    }
}

fn hash(reader: &mut (impl Read + Seek)) -> Result<(String, u64)> {
    let failed = |error| Error::io("cannot read it", error);
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; HASH_BUFFER_BYTES];
    let mut size = 0;
    reader.seek(SeekFrom::Start(0)).map_err(failed)?;
    loop {
        match reader.read(&mut buffer).map_err(failed)? {
            0 => break,
            n_read => {
                hasher.update(&buffer[..n_read]);
                size += n_read as u64;
            }
        }
    }
    reader.seek(SeekFrom::Start(0)).map_err(failed)?;
    let digits = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((digits, size))
}
