//! Rows with a key of two columns, and a table that grows part by part in memory.

use crate::state::{EncodedPart, Manifest, OperatorState, Part, StateStore, TableState, encode};
use arrow::array::{Array, AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema};
use bytes::Bytes;
use headwater_core::{Epoch, EventTime, KeyEncoder, Route, StateTable, key_group};
use object_store::memory::InMemory;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The key of a row: a text and a number whose bits decide, −0 being 0.
pub(super) type Key = (Option<String>, Option<u64>);
/// A row: its key as it was written, and a value.
pub(super) type Row = (Option<String>, Option<u64>, i64);

/// A table of state as a model: the rows of each key.
pub(super) type Model = BTreeMap<Key, Vec<Row>>;

pub(super) fn key_of((text, number, _): &Row) -> Key {
    (text.clone(), number.map(|bits| if bits == (-0.0_f64).to_bits() { 0 } else { bits }))
}

pub(super) fn schema() -> Arc<Schema> {
    let fields = vec![
        Field::new("n", DataType::Int64, false),
        Field::new("text", DataType::Utf8, true),
        Field::new("number", DataType::Float64, true),
    ];
    Arc::new(Schema::new(fields))
}

pub(super) fn batch(rows: &[Row]) -> RecordBatch {
    let numbers = Int64Array::from_iter_values(rows.iter().map(|row| row.2));
    let (texts, floats) = key_columns(rows.iter().map(|row| (row.0.clone(), row.1)));
    RecordBatch::try_new(schema(), vec![Arc::new(numbers), Arc::new(texts), Arc::new(floats)]).unwrap()
}

fn key_columns(keys: impl Iterator<Item = Key> + Clone) -> (StringArray, Float64Array) {
    let texts = keys.clone().map(|key| key.0).collect();
    (texts, keys.map(|key| key.1.map(f64::from_bits)).collect())
}

fn keys_batch(keys: &[Key]) -> RecordBatch {
    let (texts, floats) = key_columns(keys.iter().cloned());
    let fields = vec![schema().field(1).clone(), schema().field(2).clone()];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![Arc::new(texts), Arc::new(floats)]).unwrap()
}

pub(super) fn rows_of(batch: &RecordBatch) -> Vec<Row> {
    let numbers = batch.column(0).as_primitive::<Int64Type>();
    let texts = batch.column(1).as_string::<i32>();
    let floats = batch.column(2).as_primitive::<Float64Type>();
    let row = |at: usize| {
        let text = texts.is_valid(at).then(|| texts.value(at).to_owned());
        (text, floats.is_valid(at).then(|| floats.value(at).to_bits()), numbers.value(at))
    };
    (0..batch.num_rows()).map(row).collect()
}

/// The key group of a key, as the exchange finds it.
pub(super) fn group_of(key: &Key) -> usize {
    let rows = keys_batch(std::slice::from_ref(key));
    let encoder = KeyEncoder::new(&rows.schema(), &[0, 1]).unwrap();
    let mut encoded = encoder.room();
    encoder.encode(&rows, &mut encoded).unwrap();
    key_group(encoded.row(0).data())
}

/// The changes of one subtask: the present rows of a key, or none when it is gone.
pub(super) fn changes(route: &Route, changed: &Model) -> StateTable {
    let rows: Vec<Row> = changed.values().flatten().cloned().collect();
    let removed: Vec<Key> = changed.iter().filter(|(_, rows)| rows.is_empty()).map(|(key, _)| key.clone()).collect();
    let removed = (!removed.is_empty()).then(|| keys_batch(&removed));
    StateTable { name: "t", key: vec![1, 2], route: route.clone(), rows: batch(&rows), removed }
}

/// A table whose parts are in memory.
pub(super) struct Table {
    pub(super) state: TableState,
    files: HashMap<String, Bytes>,
}

impl Table {
    pub(super) fn new(route: Route) -> Self {
        let state = TableState { name: "t".to_owned(), key: vec![1, 2], route, parts: Vec::new() };
        Self { state, files: HashMap::new() }
    }

    pub(super) fn part(&mut self, encoded: EncodedPart, subtask: (usize, usize)) -> Part {
        let EncodedPart { bytes, rows, removed, checksum } = encoded;
        let file = format!("{}-{checksum}", self.files.len());
        let length = bytes.len() as u64;
        self.files.insert(file.clone(), bytes);
        Part { file, bytes: length, rows, removed, checksum, subtask }
    }

    pub(super) fn snapshot(&mut self, changed: &Model, subtask: (usize, usize)) {
        let table = changes(&self.state.route, changed);
        if let Some(encoded) = encode(&table).unwrap() {
            let part = self.part(encoded, subtask);
            self.state.add(part);
        }
    }

    pub(super) fn parts(&self) -> Vec<Bytes> {
        self.state.parts.iter().map(|part| self.files[&part.file].clone()).collect()
    }

    /// What one subtask gets, sorted.
    pub(super) fn restored(&self, subtask: usize, parallelism: usize) -> Vec<Row> {
        let mut rows = Vec::new();
        let parts = self.parts();
        let each = |batch: RecordBatch| {
            assert_eq!(batch.schema(), schema());
            rows.extend(rows_of(&batch));
            Ok(())
        };
        crate::state::restore_table(&self.state, &parts, subtask, parallelism, each).unwrap();
        rows.sort();
        rows
    }
}

pub(super) fn store() -> StateStore {
    StateStore::new(Arc::new(InMemory::new()), "p")
}

pub(super) fn manifest(epoch: u64, parts: Vec<Part>) -> Manifest {
    let table = TableState { name: "t".to_owned(), key: vec![1, 2], route: Route::Key(vec![1]), parts };
    let operator = OperatorState {
        identity: "abc".to_owned(),
        node: "view_1".to_owned(),
        description: "dedup text".to_owned(),
        tables: vec![table],
    };
    Manifest {
        format: crate::state::FORMAT,
        pipeline: "p".to_owned(),
        epoch: Epoch(epoch),
        savepoint: None,
        time: EventTime(1_000_000_000),
        parallelism: 1,
        definition: "SELECT 1".to_owned(),
        sources: Vec::new(),
        operators: vec![operator],
        sinks: Vec::new(),
    }
}
