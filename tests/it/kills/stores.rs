//! The stores of one pipeline, all of which get every row, and what is in them in the end.

use super::pipeline::BEGIN_NS;
use crate::servers::{ClickHouse, Postgres};
use crate::support::Workplace;
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Every store of the pipeline.
pub(super) struct Stores {
    postgres: Postgres,
    clickhouse: ClickHouse,
    folder: PathBuf,
}

impl Stores {
    pub(super) fn start(place: &Workplace) -> Self {
        Self { postgres: Postgres::start(), clickhouse: ClickHouse::start(), folder: place.path().to_owned() }
    }

    /// The SQL of what is done with the table `rows`.
    pub(super) fn sql(&self) -> String {
        let (postgres, clickhouse) = (self.postgres.url(), self.clickhouse.url());
        let clickhouse = format!("connector = 'clickhouse', url = '{clickhouse}', password = 's3cret'");
        let windows = "w TIMESTAMP NOT NULL, k BIGINT NOT NULL, n BIGINT, s BIGINT, PRIMARY KEY (w, k)";
        let select = "SELECT tumble(ts, INTERVAL '1 second').start AS w, k, count(*) AS n, sum(v) AS s FROM rows \
                      WHERE id >= 0 GROUP BY tumble(ts, INTERVAL '1 second'), k";
        let mut sql = format!(
            "CREATE TABLE pg (id BIGINT) WITH (connector = 'postgres', url = '{postgres}', type = 'sink');
             CREATE TABLE ch (id BIGINT) WITH ({clickhouse}, type = 'sink');
             CREATE TABLE lite (id BIGINT) WITH (connector = 'sqlite', path = 'rows.db');
             CREATE TABLE parq (id BIGINT) WITH (connector = 'parquet', path = 'parquet', type = 'sink');
             CREATE TABLE one (id BIGINT) WITH (connector = 'single_file', path = 'rows.json', format = 'json', type = 'sink');
             CREATE TABLE pgw ({windows}) WITH (connector = 'postgres', url = '{postgres}', type = 'sink');
             CREATE TABLE chw ({windows}) WITH ({clickhouse}, type = 'sink');\n"
        );
        for sink in ["pg", "ch", "lite", "parq", "one"] {
            sql.push_str(&format!("INSERT INTO {sink} SELECT id FROM rows WHERE id >= 0;\n"));
        }
        for sink in ["pgw", "chw"] {
            sql.push_str(&format!("INSERT INTO {sink} {select};\n"));
        }
        sql
    }

    pub(super) fn restart_postgres(&mut self) {
        self.postgres.stop();
        self.postgres.again();
    }

    pub(super) fn restart_clickhouse(&mut self) {
        self.clickhouse.stop();
        self.clickhouse.again();
    }

    /// Whether every store has as many rows as there are; what they are is looked at later.
    pub(super) fn are_complete(&self, n: i64) -> bool {
        let n = usize::try_from(n).expect("a count");
        let n_windows = super::rows_of_windows(n as i64).len();
        self.ids().iter().all(|(_, ids)| ids.len() >= n)
            && self.windows().iter().all(|(_, rows)| rows.len() >= n_windows)
    }

    /// The ids in each store.
    pub(super) fn ids(&self) -> Vec<(&'static str, Vec<i64>)> {
        let numbers = |lines: Vec<String>| lines.iter().map(|line| line.parse().expect("a number")).collect();
        vec![
            ("PostgreSQL", numbers(self.of_postgres("pg", "SELECT id FROM pg"))),
            ("ClickHouse", numbers(self.of_clickhouse("ch", "SELECT id FROM ch FORMAT TSV"))),
            ("SQLite", of_sqlite(&self.folder.join("rows.db"))),
            ("Parquet", of_parquet(&self.folder.join("parquet"))),
            ("single file", of_file(&self.folder.join("rows.json"))),
        ]
    }

    /// The windows in each store, sorted.
    pub(super) fn windows(&self) -> Vec<(&'static str, Vec<String>)> {
        let begin = BEGIN_NS / 1_000_000_000;
        let sorted = |mut rows: Vec<String>| {
            rows.sort_unstable();
            rows
        };
        let postgres = format!("SELECT concat_ws('|', extract(epoch FROM w)::bigint - {begin}, k, n, s) FROM pgw");
        let clickhouse = format!(
            "SELECT concat(toUnixTimestamp64Second(w) - {begin}, '|', k, '|', n, '|', s) FROM chw FINAL FORMAT TSV"
        );
        vec![
            ("PostgreSQL", sorted(self.of_postgres("pgw", &postgres))),
            ("ClickHouse", sorted(self.of_clickhouse("chw", &clickhouse))),
        ]
    }

    fn of_postgres(&self, table: &str, sql: &str) -> Vec<String> {
        if self.postgres.sql(&format!("SELECT to_regclass('{table}') IS NULL")) == ["t"] {
            Vec::new()
        } else {
            self.postgres.sql(sql)
        }
    }

    fn of_clickhouse(&self, table: &str, sql: &str) -> Vec<String> {
        let there =
            self.clickhouse.sql(&format!("SELECT count() FROM system.tables WHERE name = '{table}' FORMAT TSV"));
        if there == ["0"] { Vec::new() } else { self.clickhouse.sql(sql) }
    }
}

fn of_sqlite(path: &Path) -> Vec<i64> {
    let Ok(store) = rusqlite::Connection::open(path) else { return Vec::new() };
    let Ok(mut query) = store.prepare("SELECT id FROM lite") else { return Vec::new() };
    query.query_map([], |row| row.get(0)).expect("rows").map(|id| id.expect("a number")).collect()
}

fn of_parquet(folder: &Path) -> Vec<i64> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut ids = Vec::new();
    for entry in entries {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if name.starts_with(['.', '_']) || !name.ends_with(".parquet") {
            continue;
        }
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).expect("opens")).expect("is Parquet");
        for batch in reader.build().expect("is read") {
            ids.extend(batch.expect("is whole").column(0).as_primitive::<Int64Type>().values());
        }
    }
    ids
}

fn of_file(path: &Path) -> Vec<i64> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    // A part of an epoch that is not committed may be there while it is written.
    let ids = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    ids.filter_map(|row| row["id"].as_i64()).collect()
}
