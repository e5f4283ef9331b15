//! The sink: rows become messages of one topic.
//!
//! Exactly once: an epoch is written to a spool when it is prepared, and sent in one transaction of Kafka's when its
//! checkpoint is durable. The transaction also records which epoch it was, so a commit that is repeated after a crash
//! finds that it has nothing to do. At least once: an epoch is sent when it is prepared, before its checkpoint.

mod encode;
mod epochs;
mod spool;
mod transaction;

use super::KeyFormat;
use super::client::{Client, Context, drain, n_partitions};
use crate::formats::avro::{AvroWriter, Registry};
use arrow::datatypes::{DataType, SchemaRef};
use async_trait::async_trait;
use headwater_core::{Changes, Error, Guarantee, Result, Sink, SinkSpec, TableDefinition, TaskContext};
use rdkafka::ClientConfig;
use std::sync::Arc;

/// The longest message, unless `librdkafka.message.max.bytes` says otherwise: what librdkafka and brokers allow.
const MESSAGE_BYTES_MAX: usize = 1_000_000;

/// How many kilobytes librdkafka holds of what is on its way.
const QUEUED_KBYTES: &str = "65536";

/// What a message says of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// The row; nothing when it is deleted.
    Json,
    /// The row before and after.
    DebeziumJson,
    /// The row as an Avro record; nothing when it is deleted.
    Avro,
    /// The text or the bytes of the only column.
    Raw,
}

/// A table over a topic, as declared.
#[derive(Debug, Clone)]
pub(super) struct KafkaSinkSpec {
    table: String,
    client: Client,
    format: Format,
    /// The columns of the primary key: they name a row.
    primary_key: Vec<usize>,
    /// The columns of the key of a message.
    key: Vec<usize>,
    key_format: KeyFormat,
    compression: String,
    is_exactly_once: bool,
    transactional_id_prefix: String,
    message_bytes_max: usize,
    avro: Option<Avro>,
}

/// What writing Avro takes.
#[derive(Debug, Clone)]
struct Avro {
    registry: Arc<Registry>,
    subject: String,
    writer: AvroWriter,
}

impl Avro {
    fn parse(table: &TableDefinition, topic: &str, schema: &SchemaRef) -> Result<Self> {
        let registry = Registry::parse(&table.options, &table.base)?.ok_or_else(|| {
            Error::invalid("messages in Avro need a registry of schemas: the option 'avro.schema_registry' is missing")
                .with_help("add avro.schema_registry = 'http://…'")
        })?;
        let subject = table.options.get("avro.subject").map_or_else(|| format!("{topic}-value"), str::to_owned);
        Ok(Self { registry, subject, writer: AvroWriter::new(&table.name, schema)? })
    }
}

impl KafkaSinkSpec {
    /// Reads a declaration.
    pub(super) fn new(table: &TableDefinition) -> Result<Self> {
        let options = &table.options;
        let client = Client::parse(table)?;
        let schema = table.columns()?;
        let name = options.one_of(
            "format",
            "json",
            &["json", "upsert_json", "debezium_json", "avro", "raw_string", "raw_bytes"],
        )?;
        if name == "upsert_json" && table.primary_key.is_empty() {
            let error = Error::invalid(format!("format = 'upsert_json' needs the key of '{}'", table.name));
            return Err(error.with_help("declare PRIMARY KEY (…)"));
        }
        let format = match name {
            "debezium_json" => Format::DebeziumJson,
            "avro" => Format::Avro,
            "raw_string" | "raw_bytes" => {
                one_column(table, &schema, name)?;
                Format::Raw
            }
            _ => Format::Json,
        };
        let key = key_columns(table, &schema)?;
        let key_format = if key.is_empty() { KeyFormat::Json } else { KeyFormat::parse(table, key.len())? };
        let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
        let compression = options.one_of("compression", "lz4", &codecs)?.to_owned();
        let delivery = options.one_of("delivery", "exactly_once", &["exactly_once", "at_least_once"])?;
        let message_bytes_max = match client.property("message.max.bytes").map(str::parse) {
            None => MESSAGE_BYTES_MAX,
            Some(Ok(bytes)) => bytes,
            Some(Err(_)) => return Err(Error::invalid("the option 'librdkafka.message.max.bytes' is no number")),
        };
        let topic = client.topic.clone();
        let spec = Self {
            table: table.name.clone(),
            client,
            format,
            primary_key: table.primary_key.clone(),
            key,
            key_format,
            compression,
            is_exactly_once: delivery == "exactly_once",
            avro: if format == Format::Avro { Some(Avro::parse(table, &topic, &schema)?) } else { None },
            transactional_id_prefix: options.get("transactional_id_prefix").unwrap_or("headwater").to_owned(),
            message_bytes_max,
        };
        spec.client.check(&spec.config(spec.is_exactly_once.then_some("headwater")))?;
        Ok(spec)
    }

    /// Returns the properties of a producer, with its transactional id where it has one.
    fn config(&self, transactional_id: Option<&str>) -> ClientConfig {
        let defaults = [("queue.buffering.max.kbytes", QUEUED_KBYTES), ("linger.ms", "5")];
        let mut fixed =
            vec![("enable.idempotence", "true"), ("acks", "all"), ("compression.type", self.compression.as_str())];
        if let Some(id) = transactional_id {
            fixed.push(("transactional.id", id));
        }
        let mut config = self.client.config(&defaults, &fixed);
        if transactional_id.is_none() && self.client.property("message.timeout.ms").is_none() {
            config.set("message.timeout.ms", self.client.timeout.as_millis().to_string());
        }
        config
    }

    fn at(&self, error: Error) -> Error {
        error.at(format!("table {}", self.table))
    }
}

fn one_column(table: &TableDefinition, schema: &SchemaRef, format: &str) -> Result<()> {
    let (data_type, how) = match format {
        "raw_string" => (DataType::Utf8, "TEXT"),
        _ => (DataType::Binary, "BYTEA"),
    };
    if schema.fields().len() == 1 && schema.field(0).data_type() == &data_type {
        return Ok(());
    }
    let error = Error::invalid(format!("format = '{format}' holds one column of {how}, '{}' has others", table.name));
    Err(error.with_help(format!("declare (value {how})")))
}

/// Returns the columns of the key of messages: those that `key_columns` names, or else the primary key.
fn key_columns(table: &TableDefinition, schema: &SchemaRef) -> Result<Vec<usize>> {
    let Some(names) = table.options.get("key_columns") else { return Ok(table.primary_key.clone()) };
    let index = |name: &str| {
        schema.index_of(name).map_err(|_| {
            let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            Error::invalid(format!("the option key_columns = '…' names '{name}', which is no column"))
                .with_help(format!("the columns are: {}", names.join(", ")))
        })
    };
    let columns = names.split(',').map(|name| index(name.trim())).collect::<Result<Vec<usize>>>()?;
    // All messages about a row must be in one partition, and a compacted topic must keep the last of each row.
    if !table.primary_key.is_empty() && columns.iter().any(|column| !table.primary_key.contains(column)) {
        let error = Error::invalid("the option key_columns = '…' names a column that is not in the PRIMARY KEY");
        return Err(error.with_help("messages about one row must have one key: leave key_columns out"));
    }
    Ok(columns)
}

#[async_trait]
impl SinkSpec for KafkaSinkSpec {
    fn describe(&self) -> String {
        let format = match self.format {
            Format::Json if self.primary_key.is_empty() => "json",
            Format::Json => "upsert_json",
            Format::DebeziumJson => "debezium_json",
            Format::Avro => "avro",
            Format::Raw => "raw",
        };
        format!("kafka {:?} {format}, {}", self.client, self.guarantee().words())
    }

    fn changes(&self) -> Changes {
        let has_whole_key = self.primary_key.iter().all(|column| self.key.contains(column));
        match self.format {
            // Without a key, what goes and what comes could stand in different partitions.
            Format::DebeziumJson => Changes::Upsert,
            Format::Json | Format::Avro if has_whole_key => Changes::Upsert,
            Format::Json | Format::Avro | Format::Raw => Changes::AppendOnly,
        }
    }

    fn guarantee(&self) -> Guarantee {
        if self.is_exactly_once { Guarantee::ExactlyOnce } else { Guarantee::AtLeastOnce }
    }

    async fn open(&self, context: &TaskContext) -> Result<Box<dyn Sink>> {
        let mut spec = self.clone();
        if let Some(avro) = &mut spec.avro {
            let registered = avro.writer.clone().registered(&avro.registry, &avro.subject).await;
            avro.writer = registered.map_err(|error| self.at(error))?;
        }
        let sink = epochs::KafkaSink::open(spec, context).await;
        Ok(Box::new(sink.map_err(|error| self.at(error))?))
    }
}

/// Makes the clients of a sink and asks whether the topic is there.
fn connect(spec: &KafkaSinkSpec, transactional_id: Option<&str>) -> Result<transaction::Connection> {
    transaction::Connection::open(spec, transactional_id)
}

type Shared<T> = Arc<std::sync::Mutex<T>>;
