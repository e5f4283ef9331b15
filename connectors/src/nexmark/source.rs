//! The source: the events of one table. Blocks of events are divided into [`PARTITIONS`] partitions, and a subtask draws
//! those of its partitions in rising order; a position names the next event of each, so that any other parallelism can
//! go on from it. State: these numbers.

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

/// How many partitions there are, and so how many subtasks draw events at most: there are more blocks than this in any
/// table worth sharing.
const PARTITIONS: u64 = 64;

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
        PARTITIONS as usize
    }

    async fn open(&self, context: &TaskContext) -> Result<Box<dyn Source>> {
        let (subtask, stride) = (context.subtask as u64, context.parallelism.max(1) as u64);
        let events = Events::new(self.options);
        let first = |partition: u64| (partition % stride == subtask).then_some(partition * EVENTS_PER_ROUND);
        let next = (0..PARTITIONS).map(first).collect();
        let mut source = Nexmark { spec: self.clone(), events, next, at: 0 };
        source.go_to_first();
        Ok(Box::new(source))
    }
}

struct Nexmark {
    spec: NexmarkSpec,
    events: Events,
    /// For each partition the number of the next event; none for those of other subtasks.
    next: Vec<Option<u64>>,
    /// The number of the next event: the least of those.
    at: u64,
}

/// Returns the partition of an event.
fn partition_of(number: u64) -> usize {
    usize::try_from(number / EVENTS_PER_ROUND % PARTITIONS).unwrap_or(0)
}

impl Nexmark {
    /// Returns the numbers of the next rows and moves past them.
    fn take_numbers(&mut self, rows_max: usize) -> Vec<u64> {
        let end = self.spec.events.unwrap_or(u64::MAX);
        let mut numbers = Vec::with_capacity(rows_max);
        while numbers.len() < rows_max && self.at < end {
            if self.wants(self.at) {
                numbers.push(self.at);
            }
            self.pass();
        }
        numbers
    }

    /// Moves past one event.
    fn pass(&mut self) {
        let following = self.at + 1;
        if !following.is_multiple_of(EVENTS_PER_ROUND) {
            self.next[partition_of(self.at)] = Some(following);
            self.at = following;
            return;
        }
        let further = following.saturating_add((PARTITIONS - 1) * EVENTS_PER_ROUND);
        self.next[partition_of(self.at)] = Some(further);
        self.go_to_first();
    }

    fn go_to_first(&mut self) {
        self.at = self.next.iter().flatten().copied().min().unwrap_or(u64::MAX);
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
        let next = self.next.iter().enumerate().filter_map(|(partition, next)| Some((partition, (*next)?)));
        Position(next.map(|(partition, next)| (format!("{partition:02}"), next.to_string())).collect())
    }

    async fn seek(&mut self, position: &Position) -> Result<()> {
        for (partition, next) in self.next.iter_mut().enumerate().filter(|(_, next)| next.is_some()) {
            let place = position.0.get(&format!("{partition:02}"));
            let wrong = || Error::data(format!("Nexmark has no place {place:?} in partition {partition}"));
            let first = partition as u64 * EVENTS_PER_ROUND;
            let number: u64 = place.map_or(Ok(first), |place| place.parse()).map_err(|_| wrong())?;
            if partition_of(number) != partition {
                return Err(wrong());
            }
            *next = Some(number);
        }
        self.go_to_first();
        Ok(())
    }
}
