//! The source over core NATS, without JetStream: what is sent while nobody reads is gone, so a row is read at most
//! once, and the source says so. It has no position. State: the subscriptions, each bounded; what comes faster than
//! it is read is dropped by the client, which logs it.

use super::connection::{Connection, Servers};
use super::rows::{Decoder, PayloadFormat, Record};
use super::subjects::parse_filters;
use crate::formats::BadData;
use arrow::datatypes::SchemaRef;
use async_nats::Subscriber;
use async_trait::async_trait;
use futures::{FutureExt, StreamExt};
use headwater_core::{
    Batch, Error, Guarantee, Polled, Position, Result, Source, SourceBatch, SourceSpec, TableDefinition, TaskContext,
};

/// More subtasks of one queue group than this are of no use to one process.
const SUBTASKS_MAX: usize = 64;

/// A table over subjects.
#[derive(Debug)]
pub(super) struct CoreSpec {
    table: String,
    servers: Servers,
    subjects: Vec<String>,
    queue: Option<String>,
    format: PayloadFormat,
    bad_data: BadData,
}

impl CoreSpec {
    /// Reads the options of a table.
    pub(super) fn parse(table: &TableDefinition) -> Result<Self> {
        let options = &table.options;
        for name in ["stream", "start", "gap", "mode"] {
            if options.get(name).is_some() {
                return Err(Error::invalid(format!("the option '{name}' needs JetStream"))
                    .with_help("remove it, or remove delivery = 'at_most_once'"));
            }
        }
        let subjects = match (options.get("subject"), options.get("subjects")) {
            (Some(text), _) | (None, Some(text)) => parse_filters(text)?,
            (None, None) => parse_filters(options.require("subject")?)?,
        };
        Ok(Self {
            table: table.name.clone(),
            servers: Servers::parse(table)?,
            subjects,
            queue: options.get("queue").map(str::to_owned),
            format: PayloadFormat::parse(options, table.columns()?)?,
            bad_data: BadData::parse(options)?,
        })
    }
}

#[async_trait]
impl SourceSpec for CoreSpec {
    fn describe(&self) -> String {
        format!("nats {} core {} (at most once)", self.servers.shown(), self.subjects.join(", "))
    }

    fn schema(&self) -> SchemaRef {
        self.format.schema().clone()
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtMostOnce
    }

    fn parallelism_max(&self) -> usize {
        if self.queue.is_some() { SUBTASKS_MAX } else { 1 }
    }

    async fn open(&self, context: &TaskContext) -> Result<Box<dyn Source>> {
        let place = |error: Error| error.at(format!("table {}", self.table));
        let connection = self.servers.connect(&format!("headwater {}", context.pipeline)).await.map_err(place)?;
        let mut subscriptions = Vec::new();
        for subject in &self.subjects {
            let subscribed = match &self.queue {
                Some(queue) => connection.client.queue_subscribe(subject.clone(), queue.clone()).await,
                None => connection.client.subscribe(subject.clone()).await,
            };
            subscriptions.push(subscribed.map_err(|error| place(connection.unavailable(error)))?);
        }
        // Returns when the server knows of the subscriptions.
        let flushed = connection.answer(connection.client.flush()).await.map_err(place)?;
        flushed.map_err(|error| place(connection.unavailable(error)))?;
        let decoder = self.format.decoder(&self.table, "nats")?;
        let (table, bad_data) = (self.table.clone(), self.bad_data);
        Ok(Box::new(CoreSource { table, connection, subscriptions, n_received: 0, decoder, bad_data }))
    }
}

struct CoreSource {
    table: String,
    connection: Connection,
    subscriptions: Vec<Subscriber>,
    n_received: u64,
    decoder: Decoder,
    bad_data: BadData,
}

#[async_trait]
impl Source for CoreSource {
    async fn poll(&mut self, rows_max: usize) -> Result<Polled> {
        let mut records = Vec::new();
        for subscription in &mut self.subscriptions {
            // Only what is there already: nothing is awaited, so nothing is lost when the future is dropped.
            while records.len() < rows_max
                && let Some(Some(message)) = subscription.next().now_or_never()
            {
                self.n_received += 1;
                records.push(Record {
                    payload: message.payload,
                    subject: message.subject.to_string(),
                    headers: message.headers,
                    sequence: self.n_received,
                    timestamp: None,
                });
            }
        }
        let place = |error: Error| error.at(format!("table {}", self.table));
        if records.is_empty() {
            self.connection.check().map_err(place)?;
            return Ok(Polled::Idle);
        }
        let (rows, letters) = self.decoder.decode(&records).map_err(place)?;
        let dead_letters = self.bad_data.apply(letters).map_err(place)?;
        Ok(Polled::Batch(SourceBatch { partition: 0, batch: Batch::append_only(rows), dead_letters }))
    }

    fn position(&self) -> Position {
        Position::default()
    }

    async fn seek(&mut self, _: &Position) -> Result<()> {
        Ok(())
    }
}
