//! Tests of the connector against brokers in the same process: librdkafka's mock cluster. It speaks the whole protocol
//! but keeps no transactions: what is aborted stays, and offsets that a transaction commits are not kept. What rests on
//! those is tested against another broker in `tests/it/kafka`.

mod avro;
mod options;
mod reading;
mod types;
mod writing;

use super::Kafka;
use crate::formats::write::JsonRows;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use headwater_core::{
    Connector, DeadLetter, Error, Polled, Result, Source, SourceSpec, SystemClock, TableDefinition, TaskContext,
};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(20);

/// A cluster of one broker.
struct Brokers {
    cluster: MockCluster<'static, DefaultProducerContext>,
    producer: BaseProducer,
}

/// What a message holds: partition, key and value.
type Kept = (i32, Option<String>, Option<String>);

impl Brokers {
    fn new(topics: &[(&str, i32)]) -> Self {
        let cluster = MockCluster::new(1).expect("a cluster");
        for (topic, n_partitions) in topics {
            cluster.create_topic(topic, *n_partitions, 1).expect("a topic");
        }
        let producer = producer(&cluster.bootstrap_servers(), "none");
        Self { cluster, producer }
    }

    fn servers(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    fn send(&self, topic: &str, partition: i32, key: Option<&str>, value: Option<&[u8]>) {
        let headers = OwnedHeaders::new().insert(Header { key: "h", value: Some("1") });
        let mut record: BaseRecord<'_, str, [u8]> =
            BaseRecord::to(topic).partition(partition).timestamp(1_700_000_000_000).headers(headers);
        (record.key, record.payload) = (key, value);
        self.producer.send(record).map_err(|(error, _)| error).expect("is queued");
    }

    fn flush(&self) {
        self.producer.flush(DEADLINE).expect("is sent");
    }

    /// Writes values to a partition.
    fn fill(&self, topic: &str, partition: i32, values: &[&str]) {
        values.iter().for_each(|value| self.send(topic, partition, None, Some(value.as_bytes())));
        self.flush();
    }

    /// Returns all messages of a topic, by partition.
    fn messages(&self, topic: &str, n_partitions: i32) -> Vec<Kept> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.servers()).set("group.id", "looker").set("enable.partition.eof", "true");
        config.set("fetch.wait.max.ms", "10");
        let consumer: BaseConsumer = config.create().expect("a consumer");
        let mut list = TopicPartitionList::new();
        for partition in 0..n_partitions {
            list.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset");
        }
        consumer.assign(&list).expect("assigns");
        let (mut found, mut n_ended, started) = (Vec::new(), 0, Instant::now());
        while n_ended < n_partitions {
            assert!(started.elapsed() < DEADLINE, "{found:?}");
            match consumer.poll(Duration::from_millis(50)) {
                Some(Ok(message)) => {
                    let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
                    found.push((message.partition(), text(message.key()), text(message.payload())));
                }
                Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => n_ended += 1,
                Some(Err(error)) => panic!("{error}"),
                None => {}
            }
        }
        found.sort_by_key(|(partition, ..)| *partition);
        found
    }
}

fn producer(servers: &str, compression: &str) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers).set("compression.type", compression).set("linger.ms", "1");
    config.create().expect("a producer")
}

fn columns(fields: &[(&str, DataType)]) -> SchemaRef {
    Arc::new(Schema::new(fields.iter().map(|(name, t)| Field::new(*name, t.clone(), true)).collect::<Vec<_>>()))
}

fn id_and_name() -> SchemaRef {
    columns(&[("id", DataType::Int64), ("name", DataType::Utf8)])
}

/// Declares a table; `options` is `name = value` a line.
fn table(servers: &str, schema: SchemaRef, primary_key: &[usize], options: &str) -> TableDefinition {
    let pair = |line: &str| line.split_once(" = ").map(|(name, value)| (name.trim().to_owned(), value.to_owned()));
    let mut all: Vec<(String, String)> =
        vec![("bootstrap_servers".into(), servers.into()), ("topic".into(), "t".into())];
    all.extend(options.lines().filter_map(pair));
    TableDefinition {
        name: "orders".into(),
        schema: Some(schema),
        primary_key: primary_key.to_vec(),
        options: all.into_iter().collect(),
        base: PathBuf::new(),
    }
}

fn context() -> TaskContext {
    TaskContext::new("pipe", "node", Arc::new(SystemClock))
}

fn source(table: &TableDefinition) -> Result<Arc<dyn SourceSpec>> {
    let source = Kafka.source(table)?;
    table.options.check_all_known()?;
    Ok(source)
}

/// What was read: partition and row as JSON.
#[derive(Debug, Default)]
struct ReadSoFar {
    rows: Vec<(u32, String)>,
    letters: Vec<DeadLetter>,
}

impl ReadSoFar {
    /// Polls until there are `n` rows and letters, or the source ends; returns whether it ended.
    async fn until(&mut self, source: &mut dyn Source, n: usize) -> Result<bool, Error> {
        let started = Instant::now();
        while self.rows.len() + self.letters.len() < n {
            assert!(started.elapsed() < DEADLINE, "{self:?}");
            match source.poll(3).await? {
                Polled::Batch(read) => {
                    assert!(read.batch.n_rows() + read.dead_letters.len() <= 3);
                    let json = JsonRows::new(&read.batch.rows)?;
                    let row = |row| (read.partition, String::from_utf8_lossy(json.row(row)).into_owned());
                    self.rows.extend((0..read.batch.n_rows()).map(row));
                    self.letters.extend(read.dead_letters);
                }
                Polled::Idle => tokio::time::sleep(Duration::from_millis(2)).await,
                Polled::End => return Ok(true),
            }
        }
        Ok(false)
    }
}

/// Reads a table to its end.
async fn read_all(table: &TableDefinition) -> Result<ReadSoFar> {
    let mut source = source(table)?.open(&context()).await?;
    let mut read = ReadSoFar::default();
    assert!(read.until(source.as_mut(), usize::MAX).await?, "ends");
    Ok(read)
}
