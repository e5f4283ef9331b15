//! The source: a table over one topic. Each subtask takes the partitions whose number modulo the parallelism is its
//! own; there is no consumer group in the sense of Kafka, so nothing is ever rebalanced.

mod log;
mod messages;
mod reader;

use super::KeyFormat;
use super::client::{Client, Context, n_partitions};
use crate::formats::avro::AvroSchemas;
use crate::formats::metadata::without_metadata;
use crate::formats::{BadData, FormatKind, LineFormat};
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use chrono::DateTime;
use headwater_core::{Error, Result, Source, SourceSpec, TableDefinition, TaskContext};
use log::Log;
use rdkafka::ClientConfig;
use std::sync::Arc;
use std::time::Duration;

/// What is known of a message besides its columns.
pub(super) const METADATA_KEYS: [&str; 7] = ["key", "topic", "partition", "offset", "timestamp", "headers", "position"];

/// How often new partitions are looked for, unless `discovery_interval` says otherwise.
const DISCOVERY_INTERVAL: Duration = Duration::from_secs(60);

/// The greatest parallelism: how many partitions there are is not known before the source is opened, and a subtask
/// without any has nothing to do but costs nothing either.
const PARALLELISM_MAX: usize = 64;

/// How many kilobytes librdkafka holds of what has not been asked for yet, for each subtask.
const QUEUED_KBYTES: &str = "32768";

/// Where a new pipeline begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Earliest,
    Latest,
    /// At the first message with this time or a later one, in milliseconds since 1970.
    Timestamp(i64),
    /// Where the group has committed, and at the earliest message where it has not.
    Committed,
}

impl Start {
    fn parse(table: &TableDefinition) -> Result<Self> {
        let options = &table.options;
        let name = if options.get("source.offset").is_some() { "source.offset" } else { "start" };
        let text = options.get(name).unwrap_or("latest");
        let time = text.strip_prefix("timestamp:").map(str::trim);
        Ok(match (text, time) {
            ("earliest", _) => Self::Earliest,
            ("latest", _) => Self::Latest,
            ("committed" | "group", _) => Self::Committed,
            (_, Some(time)) => {
                let millis =
                    time.parse().ok().or_else(|| Some(DateTime::parse_from_rfc3339(time).ok()?.timestamp_millis()));
                Self::Timestamp(millis.filter(|millis| *millis >= 0).ok_or_else(|| {
                    Error::invalid(format!("the option {name} = '{text}' is not understood"))
                        .with_help("write 'timestamp:2026-01-31T00:00:00Z', or milliseconds since 1970")
                })?)
            }
            (text, None) => {
                let error = Error::invalid(format!("the option {name} = '{text}' is not understood"));
                return Err(error.with_help("use 'earliest', 'latest', 'committed' or 'timestamp:…'"));
            }
        })
    }
}

/// What becomes of a message without a value, where it does not mean a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tombstones {
    DeadLetter,
    Skip,
}

/// What a message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// A row.
    Row,
    /// An event of Debezium's: `before`, `after` and `op`.
    Event,
    /// The present row of its key; without a value, that there is none.
    Upsert,
}

/// A table over a topic, as declared.
#[derive(Debug, Clone)]
pub(super) struct KafkaSourceSpec {
    table: String,
    client: Client,
    /// The group whose offsets are committed; nobody's without it.
    group: Option<String>,
    start: Start,
    is_bounded: bool,
    discovery_interval: Duration,
    format: LineFormat,
    /// The format as it is shown.
    format_name: String,
    meaning: Meaning,
    /// The names of the columns of the primary key.
    key: Vec<String>,
    key_format: KeyFormat,
    tombstones: Tombstones,
    /// Whether JSON stands behind the number of its schema, as Confluent's serializers write it.
    is_framed_json: bool,
    bad_data: BadData,
    /// All columns.
    declared: SchemaRef,
    /// The columns that are read.
    wanted: SchemaRef,
}

impl KafkaSourceSpec {
    /// Reads a declaration.
    pub(super) fn new(table: &TableDefinition) -> Result<Self> {
        let options = &table.options;
        let client = Client::parse(table)?;
        let group = ["group_id", "source.group_id", "properties.group.id"].iter().find_map(|name| options.get(name));
        let group = group.map(str::to_owned);
        let start = Start::parse(table)?;
        if start == Start::Committed && group.is_none() {
            let error =
                Error::invalid("nothing says whose committed offsets to start from: the option 'group_id' is missing");
            return Err(error.with_help("add group_id = '…' to WITH"));
        }
        options.one_of("source.read_mode", "read_committed", &["read_committed"])?;
        options.require("format")?;
        let format_name = options.shown("format").unwrap_or_default().to_owned();
        let meaning = match format_name.as_str() {
            "debezium_json" => Meaning::Event,
            "upsert_json" => Meaning::Upsert,
            _ => Meaning::Row,
        };
        let declared = table.columns()?;
        let kind = FormatKind::parse(options, "")?;
        let parsed = match kind {
            FormatKind::Avro => Some(LineFormat::Avro(AvroSchemas::parse(options, &table.base)?)),
            kind => LineFormat::parse(kind, options, &declared)?,
        };
        let format = parsed.ok_or_else(|| {
            Error::invalid(format!("a message cannot be in the format = '{}'", kind.name()))
                .with_help("use one of: avro, json, debezium_json, upsert_json, csv, raw_string, raw_bytes")
        })?;
        let key = key_names(table, &declared);
        if meaning == Meaning::Upsert && key.is_empty() {
            let error = Error::invalid(format!("format = 'upsert_json' needs the key of '{}'", table.name));
            return Err(error.with_help("declare PRIMARY KEY (…)"));
        }
        let tombstones = match options.one_of("tombstones", "dead_letter", &["dead_letter", "skip"])? {
            "skip" => Tombstones::Skip,
            _ => Tombstones::DeadLetter,
        };
        let key_format = if key.is_empty() { KeyFormat::Json } else { KeyFormat::parse(table, key.len())? };
        let is_framed_json = kind == FormatKind::Json
            && options.parse("json.confluent_schema_registry", "true or false")?.unwrap_or(false);
        let spec = Self {
            table: table.name.clone(),
            group,
            start,
            is_bounded: options.parse("bounded", "true or false")?.unwrap_or(false),
            discovery_interval: options.duration("discovery_interval")?.unwrap_or(DISCOVERY_INTERVAL),
            format,
            format_name,
            meaning,
            key,
            key_format,
            tombstones,
            is_framed_json,
            bad_data: BadData::parse(options)?,
            wanted: declared.clone(),
            declared,
            client,
        };
        spec.client.check(&spec.config("headwater"))?;
        Ok(spec)
    }

    /// Returns the properties of the consumer. A consumer that assigns partitions itself never joins the group.
    fn config(&self, fallback_group: &str) -> ClientConfig {
        let group = self.group.as_deref().unwrap_or(fallback_group);
        let defaults = [("queued.max.messages.kbytes", QUEUED_KBYTES), ("fetch.wait.max.ms", "100")];
        let fixed = [
            ("group.id", group),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("enable.partition.eof", "true"),
            ("auto.offset.reset", "error"),
            ("isolation.level", "read_committed"),
            ("allow.auto.create.topics", "false"),
        ];
        self.client.config(&defaults, &fixed)
    }

    fn at(&self, error: Error) -> Error {
        error.at(format!("table {}", self.table))
    }
}

/// Returns the names of the key's columns. Where the planner wrapped the columns into events they are in `after`.
fn key_names(table: &TableDefinition, declared: &Schema) -> Vec<String> {
    use arrow::datatypes::DataType;
    let rows = match declared.field_with_name("after").map(|field| field.data_type()) {
        Ok(DataType::Struct(fields)) if table.options.shown("format") != table.options.get("format") => fields.clone(),
        _ => declared.fields().clone(),
    };
    table.primary_key.iter().filter_map(|index| Some(rows.get(*index)?.name().clone())).collect()
}

#[async_trait]
impl SourceSpec for KafkaSourceSpec {
    fn describe(&self) -> String {
        let names: Vec<&str> = self.wanted.fields().iter().map(|field| field.name().as_str()).collect();
        format!("kafka {:?} {} [{}]", self.client, self.format_name, names.join(", "))
    }

    fn schema(&self) -> SchemaRef {
        self.wanted.clone()
    }

    fn project(&self, columns: &[usize]) -> Option<Arc<dyn SourceSpec>> {
        let mut distinct = columns.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        // Rows without columns would lose their number.
        let is_plain =
            self.meaning == Meaning::Row && (self.format.can_project() || without_metadata(&self.declared).is_some());
        if !is_plain || columns.is_empty() || distinct.len() < columns.len() {
            return None;
        }
        let fields: Option<Vec<_>> = columns.iter().map(|at| self.wanted.fields().get(*at).cloned()).collect();
        Some(Arc::new(Self { wanted: Arc::new(Schema::new(fields?)), ..self.clone() }))
    }

    fn parallelism_max(&self) -> usize {
        PARALLELISM_MAX
    }

    async fn open(&self, context: &TaskContext) -> Result<Box<dyn Source>> {
        let fallback = format!("headwater-{}-{}", context.pipeline, self.table);
        let heard = Context::default();
        let consumer = self.config(&fallback).create_with_context(heard.clone());
        let consumer = consumer.map_err(|error| self.at(self.client.failure("cannot be read", error, None)))?;
        let log = Log::new(self.client.clone(), Arc::new(consumer), heard);
        let reader = reader::KafkaSource::open(self.clone(), log, context).await;
        Ok(Box::new(reader.map_err(|error| self.at(error))?))
    }
}

/// Opens a source as if the topic had only `n_partitions` yet.
#[cfg(test)]
pub(super) async fn open_reader(
    spec: KafkaSourceSpec,
    context: &TaskContext,
    n_partitions: i32,
) -> Result<Box<dyn Source>> {
    let heard = Context::default();
    let consumer = spec.config("g").create_with_context(heard.clone()).expect("a consumer");
    let log = Log::new(spec.client.clone(), Arc::new(consumer), heard);
    let mut source = reader::KafkaSource::open(spec, log, context).await?;
    source.hide_from(n_partitions);
    Ok(Box::new(source))
}
