//! The source: the events of one table, of which each subtask has every n-th block. State: the next event's number.

use super::Table;
use super::columns::arrays;
use super::events::{EVENTS_PER_ROUND, EventOptions, Events};
use arrow::array::RecordBatch;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use async_trait::async_trait;
use headwater_core::{Batch, Error, Polled, Position, Result, Source, SourceBatch, SourceSpec, TaskContext};
use nexmark::event::EventType;
use std::sync::Arc;

/// How many subtasks draw events at most: there are more blocks than this in any table worth sharing.
const PARALLELISM_MAX: usize = 64;

/// A table of events as declared.
#[derive(Debug, Clone)]
pub(super) struct NexmarkSpec {
    table: Table,
    events: Option<u64>,
    options: EventOptions,
    schema: SchemaRef,
    /// For each column of `schema`, its place among all columns of the table.
    columns: Vec<usize>,
}

impl NexmarkSpec {
    /// Makes a table with all of its columns.
    pub(super) fn new(table: Table, events: Option<u64>, options: EventOptions, schema: SchemaRef) -> Self {
        let columns = (0..schema.fields().len()).collect();
        Self { table, events, options, schema, columns }
    }

    /// Makes a table with the columns that a user declared.
    pub(super) fn declared(
        table: Table,
        events: Option<u64>,
        options: EventOptions,
        all: &SchemaRef,
        declared: &SchemaRef,
    ) -> Result<Self> {
        let place = |field: &arrow::datatypes::FieldRef| {
            let names: Vec<&str> = all.fields().iter().map(|field| field.name().as_str()).collect();
            let known = names.iter().position(|name| name == field.name()).ok_or_else(|| {
                Error::invalid(format!("Nexmark has no column '{}' in this table", field.name()))
                    .with_help(format!("declare some of {}, or leave the columns out", names.join(", ")))
            })?;
            let (have, want) = (all.field(known).data_type(), field.data_type());
            let fits = match have {
                DataType::Int64 => want.is_numeric() || *want == DataType::Utf8,
                DataType::Timestamp(..) => matches!(want, DataType::Timestamp(..) | DataType::Utf8),
                _ => have.equals_datatype(want),
            };
            if fits {
                return Ok(known);
            }
            Err(Error::invalid(format!("the column '{}' is {have}, not {want}", field.name()))
                .with_help("leave the columns out, then they have the right types"))
        };
        let columns = declared.fields().iter().map(place).collect::<Result<_>>()?;
        Ok(Self { table, events, options, schema: declared.clone(), columns })
    }
}

#[async_trait]
impl SourceSpec for NexmarkSpec {
    fn describe(&self) -> String {
        let table = match self.table {
            Table::Events => "events",
            Table::Person => "persons",
            Table::Auction => "auctions",
            Table::Bid => "bids",
        };
        let events = self.events.map_or_else(|| "without end".to_owned(), |events| format!("of {events} events"));
        format!("nexmark: {table} {events}, seed {}, {} a second", self.options.seed, self.options.rate)
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn project(&self, columns: &[usize]) -> Option<Arc<dyn SourceSpec>> {
        if columns.is_empty() {
            return None;
        }
        let fields: Option<Vec<_>> = columns.iter().map(|at| self.schema.fields().get(*at).cloned()).collect();
        let schema = Arc::new(Schema::new(fields?));
        let columns = columns.iter().map(|at| self.columns[*at]).collect();
        Some(Arc::new(Self { schema, columns, ..self.clone() }))
    }

    fn parallelism_max(&self) -> usize {
        PARALLELISM_MAX
    }

    async fn open(&self, context: &TaskContext) -> Result<Box<dyn Source>> {
        let (subtask, stride) = (context.subtask as u64, context.parallelism.max(1) as u64);
        let events = Events::new(self.options);
        Ok(Box::new(Nexmark { spec: self.clone(), events, subtask, stride, next: subtask * EVENTS_PER_ROUND }))
    }
}

struct Nexmark {
    spec: NexmarkSpec,
    events: Events,
    subtask: u64,
    stride: u64,
    /// The number of the next event of this subtask's blocks.
    next: u64,
}

impl Nexmark {
    /// Returns the numbers of the next rows and moves past them.
    fn take_numbers(&mut self, rows_max: usize) -> Vec<u64> {
        let end = self.spec.events.unwrap_or(u64::MAX);
        let mut numbers = Vec::with_capacity(rows_max);
        while numbers.len() < rows_max && self.next < end {
            if self.wants(self.next) {
                numbers.push(self.next);
            }
            self.next += 1;
            if self.next.is_multiple_of(EVENTS_PER_ROUND) {
                self.next = self.next.saturating_add((self.stride - 1) * EVENTS_PER_ROUND);
            }
        }
        numbers
    }

    fn wants(&self, number: u64) -> bool {
        match self.spec.table {
            Table::Events => true,
            Table::Person => self.events.kind(number) == EventType::Person,
            Table::Auction => self.events.kind(number) == EventType::Auction,
            Table::Bid => self.events.kind(number) == EventType::Bid,
        }
    }

    fn rows(&self, numbers: &[u64]) -> Result<RecordBatch> {
        let arrays = arrays(self.spec.table, &self.spec.columns, &self.events.draw(numbers))?;
        let fields = self.spec.schema.fields().iter();
        // Not safe: a number that is too large for the declared type is an error rather than null.
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let arrays =
            arrays.iter().zip(fields).map(|(array, field)| cast_with_options(array, field.data_type(), &options));
        Ok(RecordBatch::try_new(self.spec.schema.clone(), arrays.collect::<Result<_, _>>()?)?)
    }

    fn partition(&self) -> String {
        format!("{} of {}", self.subtask, self.stride)
    }
}

#[async_trait]
impl Source for Nexmark {
    async fn poll(&mut self, rows_max: usize) -> Result<Polled> {
        let numbers = self.take_numbers(rows_max);
        if numbers.is_empty() {
            return Ok(Polled::End);
        }
        let batch = Batch::append_only(self.rows(&numbers)?);
        Ok(Polled::Batch(SourceBatch { partition: 0, batch, dead_letters: Vec::new() }))
    }

    fn position(&self) -> Position {
        Position([(self.partition(), self.next.to_string())].into())
    }

    async fn seek(&mut self, position: &Position) -> Result<()> {
        let partition = self.partition();
        let wrong = || Error::data(format!("the events are read as {partition}; the position is {:?}", position.0));
        self.next = match position.0.get(&partition) {
            Some(next) => next.parse().map_err(|_| wrong())?,
            None if position.0.is_empty() => self.subtask * EVENTS_PER_ROUND,
            None => return Err(wrong()),
        };
        Ok(())
    }
}
