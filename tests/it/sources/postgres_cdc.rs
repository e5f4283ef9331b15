//! The changes of a PostgreSQL table: the copy beside writers, every position, kills and restarts of either side, and
//! what is refused.

mod refused;

use super::conformance::{Case, check};
use super::{context, spec};
use crate::servers::Postgres;
use crate::support::Workplace;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use async_trait::async_trait;
use headwater_core::{ErrorKind, Polled, Position, Result, Source, SourceSpec, TableDefinition, TaskContext};
use headwater_operators::Debezium;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long anything may take at most.
const DEADLINE: Duration = Duration::from_secs(60);

/// How long a store is left alone between two looks.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
/// How many transactions each writer makes at most.
const TRANSACTIONS_MAX: i64 = 1500;
/// How often the reader is killed.
const KILLS: usize = 12;

fn server() -> Postgres {
    Postgres::start_with(|_| ["wal_level=logical", "listen_addresses="].map(str::to_owned).into())
}

fn columns(names: &[(&str, DataType)]) -> SchemaRef {
    Arc::new(Schema::new(names.iter().map(|(name, of)| Field::new(*name, of.clone(), true)).collect::<Vec<_>>()))
}

fn id_and_v() -> SchemaRef {
    columns(&[("id", DataType::Int64), ("v", DataType::Utf8)])
}

/// The changes of a table as the planner asks for them.
fn declared(url: &str, columns: &SchemaRef, key: &[usize], more: &[(&str, &str)]) -> Result<Arc<dyn SourceSpec>> {
    let url = [("url", url)];
    let options = more.iter().chain(&url);
    let table = TableDefinition {
        name: "t".to_owned(),
        schema: Some(Arc::new(Schema::new(Debezium::envelope(columns)))),
        primary_key: key.to_vec(),
        options: options.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        base: PathBuf::new(),
    };
    spec("postgres_cdc", &table)
}

/// Rows by their first column, as text of the second; each may be there several times.
type Table = BTreeMap<(i64, Option<String>), i64>;

fn side(rows: &RecordBatch, name: &str, row: usize) -> Option<(i64, Option<String>)> {
    let side = rows.column_by_name(name).expect("is there").as_struct();
    side.is_valid(row).then(|| {
        let text = side.column(1).as_string::<i32>();
        (side.column(0).as_primitive::<Int64Type>().value(row), text.is_valid(row).then(|| text.value(row).to_owned()))
    })
}

/// Applies events; with a key the row before is the one that has it.
fn apply(table: &mut Table, rows: &RecordBatch, keyed: bool) {
    let ops = rows.column_by_name("op").expect("is there").as_string::<i32>();
    for row in 0..rows.num_rows() {
        let (before, after) = (side(rows, "before", row), side(rows, "after", row));
        match ops.value(row) {
            "c" | "r" => assert!(after.is_some()),
            "d" => assert!(before.is_some() && after.is_none()),
            op => assert_eq!((op, before.is_some(), after.is_some()), ("u", true, true)),
        }
        for (side, diff) in [(before, -1), (after, 1)] {
            let Some((id, v)) = side else { continue };
            if keyed {
                table.retain(|(other, _), _| *other != id);
                if diff < 0 {
                    continue;
                }
            }
            *table.entry((id, v)).or_default() += diff;
        }
    }
    table.retain(|_, n| *n != 0);
}

/// Polls until there is nothing more for now.
async fn drain(source: &mut dyn Source, rows_max: usize, table: &mut Table, keyed: bool) -> Result<()> {
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < DEADLINE, "there is always more");
        match source.poll(rows_max).await? {
            Polled::Batch(polled) => {
                assert_eq!(polled.dead_letters, []);
                apply(table, &polled.batch.rows, keyed);
            }
            Polled::Idle => return Ok(()),
            Polled::End => panic!("changes do not end"),
        }
    }
}

fn there(server: &Postgres) -> Table {
    let mut table = Table::new();
    for line in server.sql("SELECT id || ' ' || coalesce(v, '-') FROM t") {
        let (id, v) = line.split_once(' ').expect("two columns");
        let v = (v != "-").then(|| v.to_owned());
        *table.entry((id.parse().expect("a number"), v)).or_default() += 1;
    }
    table
}

/// A source that begins at a position instead of with a copy.
#[derive(Debug)]
struct Later {
    inner: Arc<dyn SourceSpec>,
    base: Position,
}

struct LaterSource {
    inner: Box<dyn Source>,
    base: Option<Position>,
}

#[async_trait]
impl SourceSpec for Later {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }

    fn parallelism_max(&self) -> usize {
        1
    }

    async fn open(&self, context: &TaskContext) -> Result<Box<dyn Source>> {
        Ok(Box::new(LaterSource { inner: self.inner.open(context).await?, base: Some(self.base.clone()) }))
    }
}

#[async_trait]
impl Source for LaterSource {
    async fn poll(&mut self, rows_max: usize) -> Result<Polled> {
        if let Some(base) = &self.base {
            self.inner.seek(base).await?;
            self.base = None;
        }
        self.inner.poll(rows_max).await
    }

    fn position(&self) -> Position {
        self.base.clone().unwrap_or_else(|| self.inner.position())
    }

    async fn seek(&mut self, position: &Position) -> Result<()> {
        self.base = None;
        self.inner.seek(position).await
    }

    fn holds_barrier(&self) -> bool {
        self.inner.holds_barrier()
    }

    async fn ack(&mut self, position: &Position) -> Result<()> {
        self.inner.ack(position).await
    }
}

#[tokio::test]
async fn the_copy_and_the_changes_conform() {
    let server = server();
    server.sql("CREATE TABLE t (id BIGINT PRIMARY KEY, v TEXT); INSERT INTO t SELECT n, 'v' || n FROM generate_series(1, 60) n");
    let url = server.url();
    let of = |more: &[(&str, &str)]| declared(&url, &id_and_v(), &[0], more);
    let nowhere = "postgresql:///x?host=/nowhere&user=u&password=s3cret";
    let nowhere = || (declared(nowhere, &id_and_v(), &[0], &[]).expect("fits"), ErrorKind::Unavailable);
    let inner = of(&[]).expect("fits");
    check(Case {
        name: "postgres_cdc, copy",
        spec: inner.clone(),
        bad_address: nowhere(),
        refused: vec![
            declared("nonsense", &id_and_v(), &[0], &[]),
            of(&[("slot", "No Slot")]),
            of(&[("create", "perhaps")]),
            of(&[("pth", "x")]),
        ],
        parallelisms: &[1],
    })
    .await;
    let mut source = inner.open(&context(0, 1)).await.expect("opens");
    let mut table = Table::new();
    drain(source.as_mut(), 1000, &mut table, true).await.expect("reads");
    let base = source.position();
    drop(source);
    for n in 1..=12 {
        server.sql(&format!(
            "BEGIN; INSERT INTO t SELECT {n} * 1000 + i, 'x' FROM generate_series(1, {n}) i; \
             UPDATE t SET v = 'u{n}' WHERE id % 10 = {n} % 10; DELETE FROM t WHERE id = {n} * 2; \
             UPDATE t SET id = id + 100000 WHERE id = {n} * 2 + 1; COMMIT"
        ));
    }
    let from = Arc::new(Later { inner, base: base.clone() });
    check(Case {
        name: "postgres_cdc, changes",
        spec: from,
        bad_address: nowhere(),
        refused: vec![],
        parallelisms: &[1],
    })
    .await;
    // Acknowledged changes are gone: what began before them cannot be gone on with.
    let mut late = of(&[]).expect("fits").open(&context(0, 1)).await.expect("opens");
    let error = late.seek(&base).await.expect_err("was moved");
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.message().contains("was moved to "), "{error}");
}

/// A writer that changes rows all the time, in transactions that overlap, until it is dropped.
struct Writers {
    stop: Arc<std::sync::atomic::AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Writers {
    fn start(url: &str, n_writers: i64) -> Self {
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let threads = (0..n_writers).map(|writer| {
            let (stop, url) = (stop.clone(), url.to_owned());
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("starts");
                runtime.block_on(async {
                    let (client, connection) =
                        tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("connects");
                    let mut service = tokio::task::JoinSet::new();
                    service.spawn(connection);
                    let mut n = 0_i64;
                    while n < TRANSACTIONS_MAX && !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        n += 1;
                        let id = 1_000_000 * (writer + 1) + n;
                        let end = if n % 5 == 0 { "ROLLBACK" } else { "COMMIT" };
                        let sql = format!(
                            "BEGIN; INSERT INTO t VALUES ({id}, 'new'); \
                             UPDATE t SET v = v || '.' WHERE id = {} ; SAVEPOINT s; DELETE FROM t WHERE id = {}; \
                             {} UPDATE t SET v = 'w{n}' WHERE id = {}; {end}",
                            n % 50 + 50 * writer + 1,
                            id - 3,
                            if n % 3 == 0 { "ROLLBACK TO SAVEPOINT s;" } else { "" },
                            1_000_000 * (writer + 1) + n / 2,
                        );
                        client.batch_execute(&sql).await.expect("writes");
                    }
                });
            })
        });
        Self { stop: stop.clone(), threads: threads.collect() }
    }

    fn end(self) {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().expect("writes"));
    }
}

/// Reads beside writers, killed at every other poll and gone on with from its last position, checked against the table.
async fn beside_writers(keyed: bool) {
    let server = server();
    let key = if keyed { " PRIMARY KEY" } else { "" };
    server.sql(&format!(
        "CREATE TABLE t (id BIGINT{key}, v TEXT); INSERT INTO t SELECT n, 'v' FROM generate_series(1, 3000) n; \
         CREATE INDEX ON t (id)"
    ));
    if !keyed {
        server.sql("ALTER TABLE t REPLICA IDENTITY FULL");
    }
    let keys: &[usize] = if keyed { &[0] } else { &[] };
    let spec = declared(&server.url(), &id_and_v(), keys, &[]).expect("fits");
    let writers = Writers::start(&server.url(), 3);
    let mut source = spec.open(&context(0, 1)).await.expect("opens");
    let (mut table, mut n_kills) = (Table::new(), 0);
    let begun = Instant::now();
    let mut writers = Some(writers);
    loop {
        assert!(begun.elapsed() < DEADLINE, "there is always more");
        match source.poll(100).await.expect("reads") {
            Polled::Batch(polled) => apply(&mut table, &polled.batch.rows, keyed),
            Polled::Idle if writers.is_none() => break,
            Polled::Idle => {}
            Polled::End => panic!("changes do not end"),
        }
        if source.holds_barrier() || n_kills == KILLS {
            continue;
        }
        let (position, kept) = (source.position(), table.clone());
        if n_kills % 4 == 1 {
            source.ack(&source.position()).await.expect("acknowledges");
        }
        // What is read after the checkpoint is lost with the process.
        if let Polled::Batch(polled) = source.poll(7).await.expect("reads") {
            apply(&mut table, &polled.batch.rows, keyed);
        }
        drop(source);
        table = kept;
        source = spec.open(&context(0, 1)).await.expect("opens");
        source.seek(&position).await.expect("seeks");
        n_kills += 1;
        if n_kills == KILLS {
            writers.take().expect("are there").end();
        }
    }
    assert_eq!(n_kills, KILLS);
    assert_eq!(table, there(&server));
}

#[tokio::test]
async fn a_table_with_a_key_is_followed_beside_writers_and_kills() {
    beside_writers(true).await;
}

#[tokio::test]
async fn a_table_without_a_key_is_followed_beside_writers_and_kills() {
    beside_writers(false).await;
}

#[tokio::test]
async fn a_server_that_restarts_is_gone_on_with() {
    let mut server = server();
    server.sql(
        "CREATE TABLE t (id BIGINT PRIMARY KEY, v TEXT); INSERT INTO t SELECT n, 'v' FROM generate_series(1, 50) n",
    );
    let spec = declared(&server.url(), &id_and_v(), &[0], &[]).expect("fits");
    let mut source = spec.open(&context(0, 1)).await.expect("opens");
    let mut table = Table::new();
    drain(source.as_mut(), 10, &mut table, true).await.expect("reads");
    source.ack(&source.position()).await.expect("acknowledges");
    for round in 0..2 {
        server.sql(&format!("UPDATE t SET v = 'r{round}' WHERE id < 20; DELETE FROM t WHERE id = 40 + {round}"));
        server.stop();
        let error = drain(source.as_mut(), 10, &mut table, true).await.expect_err("the server is down");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        if let Err(error) = source.ack(&source.position()).await {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        }
        server.again();
        drain(source.as_mut(), 10, &mut table, true).await.expect("goes on");
        assert_eq!(table, there(&server));
    }
    // In the middle of a copy there is nothing to go on from.
    let mut copy = spec.open(&context(0, 1)).await.expect("opens");
    copy.poll(5).await.expect("reads");
    assert!(copy.holds_barrier());
    server.stop();
    let error = drain(copy.as_mut(), 5, &mut Table::new(), true).await.expect_err("the server is down");
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.message().contains("the copy of 't' broke off after 5 rows"), "{error}");
    server.again();
}

#[test]
fn a_pipeline_keeps_a_copy_of_a_table() {
    let server = server();
    server.sql(
        "CREATE TABLE orders (id BIGINT PRIMARY KEY, city TEXT, amount NUMERIC(9, 2), paid BOOLEAN, at TIMESTAMPTZ, data JSONB); \
         INSERT INTO orders SELECT n, 'c' || n % 3, n / 4.0, n % 2 = 0, '2026-01-01 12:00+01', '{\"a\": [1]}' FROM generate_series(1, 100) n",
    );
    let place = Workplace::new();
    place.write(
        "pipeline.sql",
        format!(
            "CREATE TABLE orders (id BIGINT PRIMARY KEY, city TEXT, amount DECIMAL(9, 2), paid BOOLEAN, at TIMESTAMP,
               data STRUCT<a BIGINT[]>) WITH (connector = 'postgres_cdc', url = '{}');
             CREATE TABLE cities (city TEXT PRIMARY KEY, n BIGINT, amount DECIMAL(19, 2), paid BIGINT, at TIMESTAMP)
               WITH (connector = 'sqlite', path = 'out.db');
             INSERT INTO cities SELECT city, count(*), sum(amount), count(*) FILTER (WHERE paid), max(at) FROM orders GROUP BY city;",
            server.url()
        ),
    );
    // A store does not say when it changes: it is looked at again and again.
    let (_silent, nobody) = std::sync::mpsc::channel::<()>();
    let mut running = place
        .command(&["run", "pipeline.sql"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let expected = |server: &Postgres| {
        let mut rows = server.sql("SELECT city || ' ' || count(*) || ' ' || sum(amount)::float8 || ' ' || count(*) FILTER (WHERE paid) FROM orders GROUP BY city");
        rows.sort();
        rows
    };
    let found = || -> Option<Vec<String>> {
        let file = rusqlite::Connection::open(place.path().join("out.db")).ok()?;
        let sql = "SELECT city || ' ' || n || ' ' || CAST(amount AS REAL) || ' ' || paid FROM cities ORDER BY 1";
        let mut query = file.prepare(sql).ok()?;
        query.query_map([], |row| row.get::<_, String>(0)).ok()?.collect::<Result<_, _>>().ok()
    };
    let plain = |rows: Vec<String>| rows.into_iter().map(|row| row.replace(".0 ", " ")).collect::<Vec<_>>();
    let changes = [
        "SELECT 1",
        "UPDATE orders SET city = 'c9', amount = amount + 1 WHERE id % 7 = 0; DELETE FROM orders WHERE id > 90",
        "INSERT INTO orders SELECT id + 1000, 'new', 1, true, now(), NULL FROM orders; UPDATE orders SET id = id + 5000 WHERE id < 10",
        "DELETE FROM orders WHERE city <> 'new'",
    ];
    for change in changes {
        server.sql(change);
        let (wanted, begun) = (plain(expected(&server)), Instant::now());
        while found().map(plain).as_ref() != Some(&wanted) {
            let ended = running.try_wait().expect("is known");
            assert!(ended.is_none(), "the pipeline ended: {ended:?}");
            assert!(begun.elapsed() < DEADLINE, "{change}: {:?} is not {wanted:?}", found());
            let _ = nobody.recv_timeout(BETWEEN_LOOKS);
        }
    }
    running.kill().expect("is killed");
    running.wait().expect("has ended");
}
