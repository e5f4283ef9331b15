//! Makes numbered rows. Nothing in it depends on chance or the wall clock: a rate only delays.
//!
//! Guarantee: exactly once. The numbers are divided into [`PARTITIONS`] partitions by their remainder, and a subtask
//! makes those of its partitions in rising order; a position names the next number of each, so that any other
//! parallelism can go on from it. State: these numbers.

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampNanosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use async_trait::async_trait;
use headwater_core::{
    Batch, Connector, Error, Options, Polled, Position, Result, Source, SourceBatch, SourceSpec, TableDefinition,
    TaskContext,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// The nanoseconds between two rows unless the option says otherwise.
const INTERVAL_NANOS: i64 = 1_000_000;
/// How many partitions there are, and so how many subtasks make rows at most; a rate counts for each.
const PARTITIONS: u64 = 64;

/// The connector.
#[derive(Debug)]
pub(crate) struct GeneratorConnector;

impl Connector for GeneratorConnector {
    fn name(&self) -> &'static str {
        "generator"
    }

    fn writes(&self) -> bool {
        false
    }

    fn source(&self, table: &TableDefinition) -> Result<Arc<dyn SourceSpec>> {
        let options = &table.options;
        let rows = options.parse("rows", "a whole number")?;
        let rate: Option<f64> = options.parse("rows_per_second", "a positive number")?;
        if rate.is_some_and(|rate| !(rate > 0.0 && rate.is_finite())) {
            return Err(Error::invalid("the option rows_per_second must be a positive number"));
        }
        let interval = interval(options)?;
        let start = options.parse("start", "nanoseconds since 1970")?.unwrap_or(0);
        let schema = table.columns()?;
        let columns = schema.fields().iter().map(|field| Column::of(field.name(), field.data_type()));
        let columns = columns.collect::<Result<_>>()?;
        Ok(Arc::new(GeneratorSpec { rows, rate, interval, start, schema, columns }))
    }
}

fn interval(options: &Options) -> Result<i64> {
    let Some(text) = options.get("event_time_interval") else { return Ok(INTERVAL_NANOS) };
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match text[digits.len()..].trim() {
        "" | "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => 0,
    };
    let nanos = digits.trim().parse::<i64>().ok().and_then(|number| number.checked_mul(unit));
    nanos.filter(|nanos| *nanos >= 0 && unit > 0).ok_or_else(|| {
        Error::invalid(format!("the option event_time_interval = '{text}' is not understood"))
            .with_help("use nanoseconds, or a number with ns, us, ms, s, m or h")
    })
}

#[derive(Debug, Clone, Copy)]
enum Column {
    Counter,
    Timestamp,
    Subtask,
}

impl Column {
    fn of(name: &str, data_type: &DataType) -> Result<Self> {
        let column = match name {
            "counter" if data_type.is_integer() => Self::Counter,
            "subtask_index" if data_type.is_integer() => Self::Subtask,
            "timestamp" if matches!(data_type, DataType::Timestamp(_, _)) => Self::Timestamp,
            _ => {
                return Err(Error::invalid(format!("the generator has no column '{name}' of type {data_type}"))
                    .with_help("declare some of: counter BIGINT, timestamp TIMESTAMP, subtask_index INT"));
            }
        };
        Ok(column)
    }
}

/// A table of numbered rows.
#[derive(Debug, Clone)]
struct GeneratorSpec {
    rows: Option<u64>,
    rate: Option<f64>,
    interval: i64,
    start: i64,
    schema: SchemaRef,
    columns: Vec<Column>,
}

#[async_trait]
impl SourceSpec for GeneratorSpec {
    fn describe(&self) -> String {
        self.rows.map_or_else(|| "generator without end".to_owned(), |rows| format!("generator of {rows} rows"))
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
        let next = (0..PARTITIONS).map(|partition| (partition % stride == subtask).then_some(partition)).collect();
        Ok(Box::new(Generator { spec: self.clone(), subtask, next, at: 0, n_made: 0, started: None }))
    }
}

struct Generator {
    spec: GeneratorSpec,
    subtask: u64,
    /// For each partition the next number; none for those of other subtasks.
    next: Vec<Option<u64>>,
    /// No number below is to be made any more.
    at: u64,
    n_made: u64,
    /// When the rate began to count, and how many rows there were then.
    started: Option<(Instant, u64)>,
}

impl Generator {
    /// Waits until a row is due; returns how many are.
    async fn due(&mut self, rows_max: u64) -> u64 {
        let Some(rate) = self.spec.rate else { return rows_max };
        let (start, n_before) = *self.started.get_or_insert_with(|| (Instant::now(), self.n_made));
        let n_paced = self.n_made - n_before;
        // The first row is due at once, each other one interval after the one before it.
        sleep_until(start + Duration::from_secs_f64(n_paced as f64 / rate)).await;
        let n_due = (start.elapsed().as_secs_f64() * rate) as u64 + 1;
        n_due.saturating_sub(n_paced).clamp(1, rows_max)
    }

    /// Returns the next numbers, at most `n_max`, and the number before which all are made then.
    fn numbers(&self, n_max: usize) -> (Vec<i64>, u64) {
        let end = self.spec.rows.unwrap_or(u64::MAX);
        let (mut numbers, mut at) = (Vec::new(), self.at);
        while numbers.len() < n_max && at < end {
            if self.next[(at % PARTITIONS) as usize].is_some_and(|next| next <= at) {
                numbers.push(at as i64);
            }
            at += 1;
        }
        (numbers, at)
    }

    fn rows(&self, numbers: &[i64]) -> Result<RecordBatch> {
        let columns = self.spec.columns.iter().zip(self.spec.schema.fields()).map(|(column, field)| {
            let array: ArrayRef = match column {
                Column::Counter => Arc::new(Int64Array::from_iter_values(numbers.iter().copied())),
                Column::Subtask => Arc::new(Int64Array::from_value(self.subtask as i64, numbers.len())),
                Column::Timestamp => Arc::new(TimestampNanosecondArray::from_iter_values(
                    numbers
                        .iter()
                        .map(|number| self.spec.start.saturating_add(number.saturating_mul(self.spec.interval))),
                )),
            };
            cast(&array, field.data_type())
        });
        Ok(RecordBatch::try_new(self.spec.schema.clone(), columns.collect::<Result<_, _>>()?)?)
    }
}

#[async_trait]
impl Source for Generator {
    async fn poll(&mut self, rows_max: usize) -> Result<Polled> {
        let n_left = self.numbers(rows_max).0.len() as u64;
        if n_left == 0 {
            return Ok(Polled::End);
        }
        let n_rows = self.due(n_left).await;
        let (numbers, at) = self.numbers(n_rows as usize);
        let batch = Batch::append_only(self.rows(&numbers)?);
        for number in &numbers {
            self.next[(*number as u64 % PARTITIONS) as usize] = Some(*number as u64 + PARTITIONS);
        }
        (self.at, self.n_made) = (at, self.n_made + n_rows);
        Ok(Polled::Batch(SourceBatch { partition: 0, batch, dead_letters: Vec::new() }))
    }

    fn position(&self) -> Position {
        let next = self.next.iter().enumerate().filter_map(|(partition, next)| Some((partition, (*next)?)));
        Position(next.map(|(partition, next)| (format!("{partition:02}"), next.to_string())).collect())
    }

    async fn seek(&mut self, position: &Position) -> Result<()> {
        for (partition, next) in (0..PARTITIONS).zip(&mut self.next).filter(|(_, next)| next.is_some()) {
            let place = position.0.get(&format!("{partition:02}"));
            let wrong = || Error::data(format!("the generator knows no place {place:?} in partition {partition}"));
            let number: u64 = place.map_or(Ok(partition), |place| place.parse()).map_err(|_| wrong())?;
            if number % PARTITIONS != partition {
                return Err(wrong());
            }
            *next = Some(number);
        }
        self.at = self.next.iter().flatten().copied().min().unwrap_or(0);
        (self.n_made, self.started) = (0, None);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::AsArray;
    use arrow::datatypes::{Field, Int64Type, TimeUnit};
    use headwater_core::{EventTime, FixedClock};

    fn spec(pairs: &[(&str, &str)]) -> Arc<dyn SourceSpec> {
        let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
        let schema = Schema::new(vec![
            Field::new("counter", DataType::Int64, false),
            Field::new("timestamp", time, false),
            Field::new("subtask_index", DataType::Int32, false),
        ]);
        let table = TableDefinition {
            name: "g".into(),
            schema: Some(Arc::new(schema)),
            primary_key: Vec::new(),
            options: pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            base: std::path::PathBuf::new(),
        };
        GeneratorConnector.source(&table).expect("fits")
    }

    fn context(subtask: usize, parallelism: usize) -> TaskContext {
        let clock = Arc::new(FixedClock::new(EventTime(0)));
        TaskContext::new("p", "n", clock).with_subtask(subtask, parallelism)
    }

    async fn counters(source: &mut Box<dyn Source>, rows_max: usize) -> Vec<i64> {
        let mut counters = Vec::new();
        while let Polled::Batch(polled) = source.poll(rows_max).await.expect("makes rows") {
            let rows = polled.batch.rows;
            counters.extend_from_slice(rows.column(0).as_primitive::<Int64Type>().values());
            let times = rows.column(1).as_primitive::<arrow::datatypes::TimestampNanosecondType>();
            for (row, time) in times.values().iter().enumerate() {
                assert_eq!(*time, 5 + 2_000_000_000 * rows.column(0).as_primitive::<Int64Type>().value(row));
            }
        }
        counters
    }

    #[tokio::test]
    async fn rows_are_the_same_at_any_parallelism() {
        let spec = spec(&[("rows", "10"), ("event_time_interval", "2s"), ("start", "5")]);
        for parallelism in 1..5 {
            let mut all = Vec::new();
            for subtask in 0..parallelism {
                let mut source = spec.open(&context(subtask, parallelism)).await.expect("opens");
                all.extend(counters(&mut source, 3).await);
            }
            all.sort_unstable();
            assert_eq!(all, (0..10).collect::<Vec<i64>>());
        }
    }

    #[tokio::test]
    async fn seek_continues_at_the_position_with_any_parallelism() {
        let spec = spec(&[("rows", "200"), ("event_time_interval", "2s"), ("start", "5")]);
        let (mut made, mut position) = (Vec::new(), Position::default());
        for (subtask, rows_max) in [(0, 17), (1, 3), (2, 50)] {
            let mut source = spec.open(&context(subtask, 3)).await.expect("opens");
            let Polled::Batch(polled) = source.poll(rows_max).await.expect("makes rows") else { panic!("no rows") };
            made.extend_from_slice(polled.batch.rows.column(0).as_primitive::<Int64Type>().values());
            position.0.extend(source.position().0);
        }
        for parallelism in [1, 2, 3, 5] {
            let mut all = made.clone();
            for subtask in 0..parallelism {
                let mut resumed = spec.open(&context(subtask, parallelism)).await.expect("opens");
                resumed.seek(&position).await.expect("seeks");
                all.extend(counters(&mut resumed, 7).await);
            }
            all.sort_unstable();
            assert_eq!(all, (0..200).collect::<Vec<i64>>(), "{parallelism}");
        }
        let mut source = spec.open(&context(0, 1)).await.expect("opens");
        source.seek(&Position([("00".to_owned(), "3".to_owned())].into())).await.expect_err("is in another partition");
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_delays_rows() {
        let spec = spec(&[("rows", "31"), ("rows_per_second", "10"), ("event_time_interval", "2s"), ("start", "5")]);
        let mut source = spec.open(&context(0, 1)).await.expect("opens");
        let start = Instant::now();
        assert_eq!(counters(&mut source, 5).await.len(), 31);
        assert_eq!(start.elapsed().as_millis() / 100, 30);
    }
}
