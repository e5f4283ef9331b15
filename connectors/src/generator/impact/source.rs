//! The generated programme as a table: `connector = 'impact'`, undecoded records of one topic or of all.
//!
//! It never reads anything. The state of an open source is its generator; a position is the number of lines returned, and
//! seeking generates anew up to there. Bounded by `rows_max` and by what bounds the generator.

use super::{ImpactGenerator, ImpactOptions, TOPICS};
use arrow::array::{BinaryArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use chrono::NaiveDate;
use headwater_core::{
    Batch, Connector, Error, Polled, Position, Result, Source, SourceBatch, SourceSpec, TableDefinition, TaskContext,
};
use std::fmt::Debug;
use std::sync::Arc;

/// The one partition of the source.
const PARTITION: &str = "impact";

/// The generated programme by the name `impact`.
#[derive(Debug, Clone, Copy, Default)]
pub struct ImpactConnector;

impl Connector for ImpactConnector {
    fn name(&self) -> &'static str {
        "impact"
    }

    /// Options: `topic` (or `contract`) for one event type, `companies`, `months`, `start` (`2025-01`), `seed`,
    /// `duplicate_rate`, `late_rate`, `correction_rate`, `bad_rate`.
    fn source(&self, table: &TableDefinition) -> Result<Arc<dyn SourceSpec>> {
        let with = &table.options;
        with.one_of("format", "raw", &["raw"])?;
        let topic = match (with.get("topic"), with.get("contract")) {
            (Some(topic), _) | (None, Some(topic)) => Some(topic.to_owned()),
            (None, None) => None,
        };
        if let Some(topic) = topic.as_deref().filter(|topic| !TOPICS.contains(topic)) {
            return Err(Error::invalid(format!("the generated programme has no events of type '{topic}'"))
                .with_help(format!("use one of: {}", TOPICS.join(", "))));
        }
        let default = ImpactOptions::default();
        let start = match with.get("start") {
            Some(month) => NaiveDate::parse_from_str(&format!("{month}-01"), "%Y-%m-%d").map_err(|_| {
                Error::invalid(format!("the option start = '{month}' is not understood"))
                    .with_help("use a month, as 2025-01")
            })?,
            None => default.start,
        };
        let count = "a whole number";
        let share = "a number from 0 to 1";
        let options = ImpactOptions {
            companies: with.parse("companies", count)?.unwrap_or(default.companies),
            months: with.parse("months", count)?.unwrap_or(default.months),
            start,
            seed: with.parse("seed", count)?.unwrap_or(default.seed),
            duplicate_rate: with.parse("duplicate_rate", share)?.unwrap_or(default.duplicate_rate),
            late_rate: with.parse("late_rate", share)?.unwrap_or(default.late_rate),
            correction_rate: with.parse("correction_rate", share)?.unwrap_or(default.correction_rate),
            bad_rate: with.parse("bad_rate", share)?.unwrap_or(default.bad_rate),
        };
        options.check()?;
        let schema = raw_schema();
        if table.schema.as_ref().is_some_and(|declared| *declared != schema) {
            return Err(Error::invalid(format!("the table '{}' declares columns of its own", table.name))
                .with_help("name a contract, or read the columns value (bytes) and position (text)"));
        }
        Ok(Arc::new(ImpactSourceSpec { options, topic, schema }))
    }
}

fn raw_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("value", DataType::Binary, false),
        Field::new("position", DataType::Utf8, false),
    ]))
}

#[derive(Debug)]
struct ImpactSourceSpec {
    options: ImpactOptions,
    topic: Option<String>,
    schema: SchemaRef,
}

impl ImpactSourceSpec {
    fn generator(&self) -> Result<ImpactGenerator> {
        let generator = ImpactGenerator::new(self.options.clone())?;
        Ok(match &self.topic {
            Some(topic) => generator.only(topic),
            None => generator,
        })
    }
}

#[async_trait]
impl SourceSpec for ImpactSourceSpec {
    fn describe(&self) -> String {
        let ImpactOptions { companies, months, seed, .. } = self.options;
        let topic = self.topic.as_deref().unwrap_or("all topics");
        format!("impact: {topic}, {companies} companies, {months} months, seed {seed}")
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn parallelism_max(&self) -> usize {
        1
    }

    async fn open(&self, context: &TaskContext) -> Result<Box<dyn Source>> {
        debug_assert_eq!(context.subtask, 0, "the source has one subtask");
        let spec = Self { options: self.options.clone(), topic: self.topic.clone(), schema: self.schema.clone() };
        let generator = spec.generator()?;
        Ok(Box::new(ImpactSource { spec, generator, n_returned: 0 }))
    }
}

struct ImpactSource {
    spec: ImpactSourceSpec,
    generator: ImpactGenerator,
    n_returned: u64,
}

#[async_trait]
impl Source for ImpactSource {
    async fn poll(&mut self, rows_max: usize) -> Result<Polled> {
        let lines: Vec<_> = self.generator.by_ref().take(rows_max).collect();
        if lines.is_empty() {
            return Ok(Polled::End);
        }
        let positions = lines.iter().zip(self.n_returned..).map(|(line, number)| format!("{}:{number}", line.topic));
        let positions = StringArray::from_iter_values(positions);
        let values = BinaryArray::from_iter_values(lines.iter().map(|line| &line.bytes));
        self.n_returned += lines.len() as u64;
        let rows = RecordBatch::try_new(self.spec.schema.clone(), vec![Arc::new(values), Arc::new(positions)])?;
        Ok(Polled::Batch(SourceBatch { partition: 0, batch: Batch::append_only(rows), dead_letters: Vec::new() }))
    }

    fn position(&self) -> Position {
        Position([(PARTITION.to_owned(), self.n_returned.to_string())].into())
    }

    async fn seek(&mut self, position: &Position) -> Result<()> {
        let wanted = match position.0.get(PARTITION) {
            Some(number) => number.parse().map_err(|_| Error::data(format!("'{number}' is no number of lines")))?,
            None => 0,
        };
        self.generator = self.spec.generator()?;
        self.n_returned = 0;
        while self.n_returned < wanted {
            if self.generator.next().is_none() {
                let message = format!("position {wanted} is past the end: there are {} lines", self.n_returned);
                return Err(Error::data(message).with_help("the options of the generator have changed; start afresh"));
            }
            self.n_returned += 1;
        }
        Ok(())
    }
}
