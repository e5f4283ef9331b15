//! The source over JetStream. Each subject that the option lists is a partition; without one the stream is. State: the
//! connection and the readers of this subtask's partitions.

use super::connection::{Connection, Servers};
use super::gap::shown_time;
use super::reader::{Reader, Received, Start, StreamSpec};
use super::rows::{Decoder, PayloadFormat, Record};
use crate::formats::BadData;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use headwater_core::{
    Batch, Error, Polled, Position, Result, Source, SourceBatch, SourceSpec, TableDefinition, TaskContext,
};
use std::sync::Arc;

/// A table over a stream.
#[derive(Debug)]
pub(super) struct JetStreamSpec {
    table: String,
    servers: Servers,
    stream: Arc<StreamSpec>,
    /// None for all subjects.
    filters: Vec<String>,
    format: PayloadFormat,
    is_bounded: bool,
    bad_data: BadData,
}

impl JetStreamSpec {
    /// Reads the options of a table.
    pub(super) fn parse(table: &TableDefinition) -> Result<Self> {
        let options = &table.options;
        let stream = options.require("stream")?.to_owned();
        check_stream_name(&stream)?;
        let subjects = match (options.get("subject"), options.get("subjects")) {
            (Some(_), Some(_)) => {
                return Err(Error::invalid("the options subject and subjects say the same").with_help("keep one"));
            }
            (one, several) => one.or(several),
        };
        let filters = subjects.map(super::subjects::parse_filters).transpose()?.unwrap_or_default();
        let start = parse_start(options.get("start").unwrap_or("earliest"))?;
        let accepts_gaps = options.one_of("gap", "fail", &["fail", "accept"])? == "accept";
        Ok(Self {
            table: table.name.clone(),
            servers: Servers::parse(table)?,
            stream: Arc::new(StreamSpec { stream, start, accepts_gaps }),
            filters,
            format: PayloadFormat::parse(options, table.columns()?)?,
            is_bounded: options.one_of("mode", "tail", &["tail", "bounded"])? == "bounded",
            bad_data: BadData::parse(options)?,
        })
    }
}

/// Refuses names that no stream has.
pub(super) fn check_stream_name(name: &str) -> Result<()> {
    let is_plain = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '.' | '*' | '>' | '/' | '\\');
    if name.is_empty() || !name.chars().all(is_plain) {
        return Err(Error::invalid(format!("the option stream = '{name}' is no name of a stream"))
            .with_help("use letters, digits, '_' and '-'"));
    }
    Ok(())
}

fn parse_start(text: &str) -> Result<Start> {
    Ok(match text {
        "earliest" => Start::Earliest,
        "latest" => Start::Latest,
        _ => match (text.parse::<u64>(), chrono::DateTime::parse_from_rfc3339(text)) {
            (Ok(sequence), _) if sequence > 0 => Start::Sequence(sequence),
            (_, Ok(time)) => Start::Time(time.timestamp_nanos_opt().unwrap_or_default()),
            _ => {
                return Err(Error::invalid(format!("the option start = '{text}' is not understood"))
                    .with_help("use earliest, latest, a sequence from 1, or a time such as 2026-01-31T23:00:00Z"));
            }
        },
    })
}

#[async_trait]
impl SourceSpec for JetStreamSpec {
    fn describe(&self) -> String {
        let subjects = if self.filters.is_empty() { String::new() } else { format!(" {}", self.filters.join(", ")) };
        let mode = if self.is_bounded { "bounded" } else { "tail" };
        format!("nats {} stream {}{subjects} ({mode})", self.servers.shown(), self.stream.stream)
    }

    fn schema(&self) -> SchemaRef {
        self.format.schema().clone()
    }

    fn parallelism_max(&self) -> usize {
        self.filters.len().max(1)
    }

    async fn open(&self, context: &TaskContext) -> Result<Box<dyn Source>> {
        let place = |error: Error| error.at(format!("table {}", self.table));
        let all: Vec<(usize, Option<String>)> = match self.filters.is_empty() {
            true => vec![(0, None)],
            false => self.filters.iter().cloned().map(Some).enumerate().collect(),
        };
        let mine = all.into_iter().filter(|(number, _)| number % context.parallelism.max(1) == context.subtask);
        let connection = self.servers.connect(&format!("headwater {}", context.pipeline)).await.map_err(place)?;
        let mut partitions = Vec::new();
        for (number, filter) in mine {
            let reader =
                Reader::open(self.stream.clone(), filter, self.is_bounded, &connection).await.map_err(place)?;
            partitions.push((u32::try_from(number).unwrap_or(u32::MAX), reader));
        }
        let decoder = self.format.decoder(&self.table, &self.stream.stream)?;
        let (table, bad_data, is_bounded) = (self.table.clone(), self.bad_data, self.is_bounded);
        Ok(Box::new(JetStreamSource { table, connection, partitions, turn: 0, decoder, bad_data, is_bounded }))
    }
}

struct JetStreamSource {
    table: String,
    connection: Connection,
    partitions: Vec<(u32, Reader)>,
    /// Whose turn it is to be read first.
    turn: usize,
    decoder: Decoder,
    bad_data: BadData,
    is_bounded: bool,
}

impl JetStreamSource {
    async fn read(&mut self, rows_max: usize) -> Result<Polled> {
        let n_partitions = self.partitions.len();
        for step in 0..n_partitions {
            let at = (self.turn + step) % n_partitions;
            let (number, reader) = &mut self.partitions[at];
            let received = reader.read(rows_max, &self.connection).await?;
            if received.is_empty() {
                continue;
            }
            self.turn = at + 1;
            let records: Vec<Record> = received.into_iter().map(record).collect();
            let (rows, letters) = self.decoder.decode(&records)?;
            let dead_letters = self.bad_data.apply(letters)?;
            return Ok(Polled::Batch(SourceBatch {
                partition: *number,
                batch: Batch::append_only(rows),
                dead_letters,
            }));
        }
        let is_done = n_partitions == 0 || (self.is_bounded && self.partitions.iter().all(|(_, r)| r.is_at_end()));
        Ok(if is_done { Polled::End } else { Polled::Idle })
    }
}

fn record(received: Received) -> Record {
    let Received { message, sequence, stored_at } = received;
    let (message, _) = message.split();
    Record {
        payload: message.payload,
        subject: message.subject.to_string(),
        headers: message.headers,
        sequence,
        timestamp: Some(shown_time(stored_at)),
    }
}

#[async_trait]
impl Source for JetStreamSource {
    async fn poll(&mut self, rows_max: usize) -> Result<Polled> {
        self.read(rows_max).await.map_err(|error| error.at(format!("table {}", self.table)))
    }

    fn position(&self) -> Position {
        Position(self.partitions.iter().map(|(_, reader)| (reader.key(), reader.position())).collect())
    }

    async fn seek(&mut self, position: &Position) -> Result<()> {
        for (_, reader) in &mut self.partitions {
            if let Some(reached) = position.0.get(&reader.key()) {
                let sought = reader.seek(reached, &self.connection).await;
                sought.map_err(|error| error.at(format!("table {}", self.table)))?;
            }
        }
        Ok(())
    }
}
