//! The connector `inbox`: reads one topic of the durable inbox, in order, as one partition.
//!
//! | option | meaning |
//! |---|---|
//! | `topic` or `contract` | the topic |
//! | `path` | the inbox, by default `inbox` beside the pipeline |
//! | `mode` | `bounded` (default): to the end that was there when the source was opened; `tail`: goes on |
//! | `format` | `raw` (default), `json`, `raw_string` |
//! | `record_bytes_max`, `bad_data`, `json.timestamp_format`, `json.unstructured` | as for files |
//!
//! `METADATA FROM` knows `topic` and `position` (the segment and the byte in it).
//!
//! Guarantee: exactly once. A position names the segment and the byte after the last line that was returned.
//!
//! A topic that does not exist yet has no rows. A last line without its line break is being written and is left for
//! later. It never writes or locks: any number of readers may run beside the writer. State: the open segment.

use super::{check_topic, segment_name, segments};
use crate::formats::metadata::{POSITION, TOPIC};
use crate::formats::records::{Chunk, Cutting, Place, Records, Tail};
use crate::formats::{BadData, Decode, FormatKind, Item, LineFormat, decode_each};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use headwater_core::{
    Batch, Connector, DeadLetter, Error, ErrorKind, Polled, Position, Result, Source, SourceBatch, SourceSpec,
    TableDefinition, TaskContext,
};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

/// The connector.
#[derive(Debug)]
pub(crate) struct InboxConnector;

impl Connector for InboxConnector {
    fn name(&self) -> &'static str {
        "inbox"
    }

    fn writes(&self) -> bool {
        false
    }

    fn metadata_keys(&self) -> &'static [&'static str] {
        &[POSITION, TOPIC]
    }

    fn source(&self, table: &TableDefinition) -> Result<Arc<dyn SourceSpec>> {
        let options = &table.options;
        let (topic, contract) = (options.get("topic"), options.get("contract"));
        let topic = match topic.or(contract) {
            Some(topic) => topic.to_owned(),
            None => options.require("topic")?.to_owned(),
        };
        check_topic(&topic)?;
        let schema = table.columns()?;
        let kind = match options.one_of("format", "raw", &["raw", "json", "raw_string"])? {
            "json" => FormatKind::Json,
            "raw_string" => FormatKind::RawString,
            _ => FormatKind::Raw,
        };
        let format = LineFormat::parse(kind, options, &schema)?
            .ok_or_else(|| Error::invalid("an inbox holds lines, not Parquet"))?;
        let cutting = format.cutting(options, Tail::Unfinished)?;
        let is_bounded = options.one_of("mode", "bounded", &["bounded", "tail"])? == "bounded";
        let dir = table.base.join(options.get("path").unwrap_or("inbox"));
        let bad_data = BadData::parse(options)?;
        let table = table.name.clone();
        Ok(Arc::new(InboxSpec { table, dir, topic, format, cutting, is_bounded, bad_data, schema }))
    }
}

/// A table over a topic.
#[derive(Debug, Clone)]
struct InboxSpec {
    table: String,
    dir: PathBuf,
    topic: String,
    format: LineFormat,
    cutting: Cutting,
    is_bounded: bool,
    bad_data: BadData,
    schema: SchemaRef,
}

#[async_trait]
impl SourceSpec for InboxSpec {
    fn describe(&self) -> String {
        format!("inbox {} ({})", self.topic, if self.is_bounded { "bounded" } else { "tail" })
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn parallelism_max(&self) -> usize {
        1
    }

    async fn open(&self, context: &TaskContext) -> Result<Box<dyn Source>> {
        if self.is_bounded && !self.dir.is_dir() {
            return Err(Error::not_found(format!("there is no inbox '{}'", self.dir.display()))
                .at(format!("table {}", self.table)));
        }
        let decoder = self.format.decoder(&self.schema, self.schema.clone(), None)?;
        let end = if self.is_bounded { Some(crate::blocking::run(|| self.end())?) } else { None };
        let mine = context.subtask == 0;
        let at = At { segment: 0, place: Place::START };
        Ok(Box::new(InboxSource { spec: self.clone(), mine, end, at, opened: None, decoder }))
    }
}

impl InboxSpec {
    fn folder(&self) -> PathBuf {
        self.dir.join(&self.topic)
    }

    /// Returns the newest segment and its length; segment 0 when there is none.
    fn end(&self) -> Result<(u64, u64)> {
        let folder = self.folder();
        let Some(segment) = segments(&folder)?.last().copied() else { return Ok((0, 0)) };
        let path = folder.join(segment_name(segment));
        let metadata =
            path.metadata().map_err(|error| Error::io(format!("cannot read '{}'", path.display()), error))?;
        Ok((segment, metadata.len()))
    }
}

/// A place in a topic; segment 0 is before the first.
#[derive(Debug, Clone, Copy)]
struct At {
    segment: u64,
    place: Place,
}

struct InboxSource {
    spec: InboxSpec,
    /// Whether this subtask is the one that reads.
    mine: bool,
    /// The last segment to read and the byte at which it ends.
    end: Option<(u64, u64)>,
    at: At,
    opened: Option<Records>,
    decoder: Box<dyn Decode>,
}

impl InboxSource {
    fn read(&mut self, rows_max: usize) -> Result<Polled> {
        if !self.mine {
            return Ok(Polled::End);
        }
        loop {
            if self.at.segment == 0 && !self.next_segment()? {
                return Ok(self.nothing());
            }
            // Looked for before reading: once a later segment exists this one does not grow any more.
            let has_next = self.following()?.is_some();
            let mut records = match self.opened.take() {
                Some(records) => records,
                None => self.open()?,
            };
            let chunk = match records.next_chunk(rows_max) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(self.nothing()),
                chunk => chunk.map_err(|error| Error::io(format!("cannot read '{}'", self.name()), error))?,
            };
            if !chunk.records.is_empty() || !chunk.rejected.is_empty() {
                let (rows, letters) = self.decode(&records, &chunk)?;
                self.at.place = records.next();
                self.opened = Some(records);
                let dead_letters = self.spec.bad_data.apply(letters)?;
                return Ok(Polled::Batch(SourceBatch { partition: 0, batch: Batch::append_only(rows), dead_letters }));
            }
            self.at.place = records.next();
            if !has_next {
                self.opened = self.end.is_none().then_some(records);
                return Ok(self.nothing());
            }
            self.next_segment()?;
        }
    }

    fn nothing(&self) -> Polled {
        if self.end.is_some() { Polled::End } else { Polled::Idle }
    }

    fn name(&self) -> String {
        format!("{}/{}", self.spec.topic, segment_name(self.at.segment))
    }

    /// Returns the next segment that is to be read.
    fn following(&self) -> Result<Option<u64>> {
        let last = self.end.map_or(u64::MAX, |(last, _)| last);
        let numbers = segments(&self.spec.folder())?;
        Ok(numbers.into_iter().find(|number| *number > self.at.segment && *number <= last))
    }

    fn next_segment(&mut self) -> Result<bool> {
        let Some(segment) = self.following()? else { return Ok(false) };
        self.at = At { segment, place: Place::START };
        self.opened = None;
        Ok(true)
    }

    fn open(&self) -> Result<Records> {
        let path = self.spec.folder().join(segment_name(self.at.segment));
        let failed = |error| Error::io(format!("cannot read '{}'", path.display()), error);
        let mut file = File::open(&path).map_err(failed)?;
        let n_bytes = file.metadata().map_err(failed)?.len();
        let offset = self.at.place.offset;
        if n_bytes < offset {
            let message = format!("'{}' cannot be continued at byte {offset}: it has {n_bytes}", path.display());
            return Err(Error::data(message));
        }
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        let input: Box<dyn Read + Send> = match self.end {
            Some((last, end)) if last == self.at.segment => Box::new(file.take(end.saturating_sub(offset))),
            _ => Box::new(file),
        };
        Ok(Records::new(input, self.spec.cutting, self.at.place))
    }

    fn decode(&mut self, records: &Records, chunk: &Chunk) -> Result<(RecordBatch, Vec<DeadLetter>)> {
        let (file, table) = (self.name(), &self.spec.table);
        let items: Vec<Item<'_>> =
            chunk.records.iter().map(|record| Item { bytes: records.bytes(record), place: record.place }).collect();
        let (rows, bad) = decode_each(self.decoder.as_mut(), &file, &items)?;
        let bad = bad.into_iter().map(|(at, fault)| fault.letter(table, &file, items[at].place, items[at].bytes));
        let rejected = chunk.rejected.iter().map(|rejected| rejected.letter(table, &file));
        Ok((rows, bad.chain(rejected).collect()))
    }
}

#[async_trait]
impl Source for InboxSource {
    async fn poll(&mut self, rows_max: usize) -> Result<Polled> {
        crate::blocking::run(|| self.read(rows_max)).map_err(|error| error.at(format!("table {}", self.spec.table)))
    }

    fn position(&self) -> Position {
        let At { segment, place } = self.at;
        let reached = (segment > 0).then(|| (self.spec.topic.clone(), format!("{}:{place}", segment_name(segment))));
        Position(reached.into_iter().collect())
    }

    async fn seek(&mut self, position: &Position) -> Result<()> {
        self.opened = None;
        self.at = At { segment: 0, place: Place::START };
        let Some(text) = position.0.get(&self.spec.topic) else { return Ok(()) };
        let wrong = || Error::data(format!("'{text}' is no place in the topic {}", self.spec.topic));
        let (name, place) = text.split_once(':').ok_or_else(wrong)?;
        let number = name.split_once('.').and_then(|(number, _)| number.parse().ok()).ok_or_else(wrong)?;
        self.at = At { segment: number, place: place.parse()? };
        let opened = crate::blocking::run(|| self.open()).map(|_| ());
        opened.map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::data(format!("'{text}' had been read and is not there any more: {error}"))
                .with_help("put the inbox back as it was, or start the pipeline anew"),
            _ => error,
        })
    }
}
