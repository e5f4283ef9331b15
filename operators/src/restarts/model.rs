//! A model of how the engine stores state: simple, and as `headwater_core::Snapshot` says it must be.
//!
//! It takes snapshots of the subtasks of one operator, merges them by key, and hands the rows out to the subtasks of
//! another parallelism. What an operator may not do is an assertion here. The tests of operators use it, and those of
//! whole queries.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::ipc::{reader::StreamReader, writer::StreamWriter};
use arrow::row::{RowConverter, SortField};
use headwater_core::{KeyGroups, Operator, Route, Snapshot, StateTable, subtask_of};
use rand::prelude::*;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// What has been stored of one operator.
#[derive(Default)]
pub(crate) struct StoredState {
    tables: BTreeMap<&'static str, StoredTable>,
}

struct StoredTable {
    key: Vec<usize>,
    route: Route,
    /// No rows, but the columns.
    empty: RecordBatch,
    /// By encoded key: the rows that have it, each by itself.
    rows: BTreeMap<Vec<u8>, Vec<RecordBatch>>,
    /// What each former subtask of how many wrote last; of tables for everyone.
    whole: BTreeMap<(usize, usize), RecordBatch>,
}

impl StoredState {
    /// Takes what a subtask (which of how many) has changed.
    pub(crate) fn add(&mut self, subtask: (usize, usize), snapshot: Snapshot) {
        let mut names: Vec<&str> = snapshot.tables.iter().map(|table| table.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "a table occurs twice: {names:?}");
        for table in snapshot.tables {
            let stored = self.tables.entry(table.name).or_insert_with(|| StoredTable {
                key: table.key.clone(),
                route: table.route.clone(),
                empty: table.rows.slice(0, 0),
                rows: BTreeMap::new(),
                whole: BTreeMap::new(),
            });
            stored.add(subtask, table);
        }
    }

    /// Hands a new subtask its rows, in any number of batches and any order.
    pub(crate) fn restore(&self, (subtask, parallelism): (usize, usize), to: &mut dyn Operator, rng: &mut ChaCha8Rng) {
        let mut parts: Vec<(&str, RecordBatch)> = Vec::new();
        for (name, table) in &self.tables {
            let rows = table.rows_of(subtask, parallelism);
            let mut from = 0;
            while from < rows.num_rows() {
                let n_rows = rng.random_range(1..=rows.num_rows() - from);
                parts.push((name, rows.slice(from, n_rows)));
                from += n_rows;
            }
        }
        parts.shuffle(rng);
        for (name, rows) in parts {
            to.restore(name, read_back(&rows)).expect("its own rows");
        }
        to.restore_end().expect("rows that fit each other");
    }
}

impl StoredTable {
    fn add(&mut self, subtask: (usize, usize), table: StateTable) {
        let StateTable { name, key, route, rows, removed } = table;
        assert_eq!((&key, &route), (&self.key, &self.route), "the table {name} changed its form");
        let types = |rows: &RecordBatch| -> Vec<_> { rows.columns().iter().map(|c| c.data_type().clone()).collect() };
        assert_eq!(types(&rows), types(&self.empty), "the table {name} changed its columns");
        if route == Route::Everyone {
            self.whole.insert(subtask, rows);
            return;
        }
        if let Route::Key(columns) = &route {
            assert!(columns.iter().all(|column| key.contains(column)), "{name}: the key lacks columns of the route");
            assert!(!columns.is_empty() || subtask.1 == 1, "{name}: several subtasks, and no route");
            let owners = owners(&rows, columns, subtask.1);
            assert!(owners.iter().all(|owner| *owner == subtask.0), "{name}: a row that another subtask gets");
        }
        let keys_of_rows = rows.project(&key).expect("columns of the table");
        let encoded = encode(&keys_of_rows);
        for key in &encoded {
            self.rows.remove(key);
        }
        if let Some(removed) = &removed {
            assert_eq!(types(removed), types(&keys_of_rows), "{name}: removed keys have other columns");
            for gone in encode(removed) {
                assert!(!encoded.contains(&gone), "{name}: a key has rows and is removed");
                self.rows.remove(&gone);
            }
        }
        for (row, key) in encoded.into_iter().enumerate() {
            self.rows.entry(key).or_default().push(rows.slice(row, 1));
        }
    }

    fn rows_of(&self, subtask: usize, parallelism: usize) -> RecordBatch {
        let schema = self.empty.schema();
        let all = match &self.route {
            Route::Everyone => return concat_batches(&schema, self.whole.values()).expect("one schema"),
            Route::Key(_) | Route::Anyone => concat_batches(&schema, self.rows.values().flatten()).expect("one schema"),
        };
        let columns = match &self.route {
            Route::Key(columns) => columns,
            Route::Anyone | Route::Everyone => &self.key,
        };
        let owners = owners(&all, columns, parallelism);
        let mine: Vec<RecordBatch> =
            (0..all.num_rows()).filter(|row| owners[*row] == subtask).map(|row| all.slice(row, 1)).collect();
        concat_batches(&schema, &mine).expect("one schema")
    }
}

fn owners(rows: &RecordBatch, columns: &[usize], parallelism: usize) -> Vec<usize> {
    let groups = KeyGroups::new(&rows.schema(), columns).expect("columns of the table").of(rows).expect("key groups");
    groups.into_iter().map(|group| subtask_of(group, parallelism)).collect()
}

fn encode(keys: &RecordBatch) -> Vec<Vec<u8>> {
    if keys.num_columns() == 0 {
        return vec![Vec::new(); keys.num_rows()];
    }
    let fields = keys.columns().iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let converter = RowConverter::new(fields).expect("keys have an order");
    let rows = converter.convert_columns(keys.columns()).expect("columns of these types");
    rows.iter().map(|row| row.data().to_vec()).collect()
}

/// Writes rows as a file would have them, and reads them again.
fn read_back(rows: &RecordBatch) -> RecordBatch {
    let mut file = Vec::new();
    let mut writer = StreamWriter::try_new(&mut file, &rows.schema()).expect("a schema that can be stored");
    writer.write(rows).and_then(|()| writer.finish()).expect("rows that can be stored");
    let mut reader = StreamReader::try_new(file.as_slice(), None).expect("what was written");
    reader.next().expect("one batch").expect("what was written")
}
