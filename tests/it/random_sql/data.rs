//! Random rows for the two tables of the random queries: `t`, to which rows are only added, and `u`, whose rows are
//! updated and deleted. Each epoch has some batches of both, out of order in event time.

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use headwater_core::{Batch, EventTime};
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A row of either table; `ver` and `deleted` are of `u` alone.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) k: Option<i64>,
    pub(super) v: Option<i64>,
    pub(super) s: Option<&'static str>,
    pub(super) b: Option<bool>,
    pub(super) ts: i64,
    pub(super) ver: i64,
    pub(super) deleted: bool,
}

/// What comes in one epoch, in order: batches of `t` (false) and of `u` (true).
pub(super) type Epoch = Vec<(bool, Vec<Row>)>;

/// How far a row may be behind the newest, in seconds.
pub(super) const DISORDER_S: i64 = 20;

/// The schema of `t`, and with the columns of versions of the table under `u`.
pub(super) fn schema(is_versioned: bool) -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
    let mut fields = vec![
        Field::new("id", DataType::Int64, true),
        Field::new("k", DataType::Int64, true),
        Field::new("v", DataType::Int64, true),
        Field::new("s", DataType::Utf8, true),
        Field::new("b", DataType::Boolean, true),
        Field::new("ts", time, true),
    ];
    if is_versioned {
        fields[0] = Field::new("id", DataType::Int64, false);
        fields.push(Field::new("ver", DataType::Int64, true));
        fields.push(Field::new("deleted", DataType::Boolean, true));
    }
    Arc::new(Schema::new(fields))
}

/// Lays rows out in columns.
pub(super) fn rows(rows: &[Row], is_versioned: bool) -> RecordBatch {
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.id))),
        Arc::new(rows.iter().map(|row| row.k).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.v).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.s).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.b).collect::<BooleanArray>()),
        Arc::new(TimestampNanosecondArray::from_iter_values(rows.iter().map(|row| row.ts))),
    ];
    if is_versioned {
        columns.push(Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.ver))));
        columns.push(Arc::new(rows.iter().map(|row| Some(row.deleted)).collect::<BooleanArray>()));
    }
    RecordBatch::try_new(schema(is_versioned), columns).expect("columns of the schema")
}

/// Lays rows out as a batch of a source.
pub(super) fn batch(of: &[Row], is_versioned: bool) -> Batch {
    Batch::append_only(rows(of, is_versioned))
}

/// Returns what stands in `u` after some epochs: the newest version of each row that is not deleted.
pub(super) fn current(epochs: &[Epoch]) -> Vec<Row> {
    let mut newest: BTreeMap<i64, &Row> = BTreeMap::new();
    for row in epochs.iter().flatten().filter(|(is_u, _)| *is_u).flat_map(|(_, rows)| rows) {
        let place = newest.entry(row.id).or_insert(row);
        if row.ver > place.ver {
            *place = row;
        }
    }
    newest.into_values().filter(|row| !row.deleted).cloned().collect()
}

/// Returns what has been added to `t` in some epochs.
pub(super) fn added(epochs: &[Epoch]) -> Vec<Row> {
    epochs.iter().flatten().filter(|(is_u, _)| !is_u).flat_map(|(_, rows)| rows.clone()).collect()
}

/// Makes the rows of some epochs.
pub(super) fn epochs(chance: &mut impl Rng, n_epochs: usize) -> Vec<Epoch> {
    let mut ids = (0..40).collect::<Vec<i64>>();
    let mut version = 0;
    let mut clock = 100;
    let mut all = Vec::new();
    for _ in 0..n_epochs {
        let mut epoch = Vec::new();
        for _ in 0..chance.random_range(0..5) {
            let is_u = chance.random_bool(0.5);
            let mut rows = Vec::new();
            for _ in 0..chance.random_range(1..6) {
                version += 1;
                clock += chance.random_range(0..15);
                let id = if is_u { chance.random_range(0..8) } else { ids.pop().unwrap_or(99) };
                rows.push(row(chance, id, version, clock));
            }
            // A row that is repeated is one more row of `t`, and nothing new in `u`.
            if chance.random_bool(0.2) {
                rows.push(rows[0].clone());
            }
            epoch.push((is_u, rows));
        }
        all.push(epoch);
    }
    all
}

fn row(chance: &mut impl Rng, id: i64, ver: i64, clock: i64) -> Row {
    let maybe = |chance: &mut dyn FnMut() -> i64, is_null: bool| (!is_null).then(chance);
    let (null_k, null_v) = (chance.random_bool(0.15), chance.random_bool(0.15));
    let k = maybe(&mut || chance.random_range(0..4), null_k);
    let v = maybe(&mut || chance.random_range(0..7), null_v);
    let s = *[None, Some("a"), Some("b"), Some("ab"), Some("")].choose(chance).expect("there is a choice");
    let b = *[None, Some(true), Some(false)].choose(chance).expect("there is a choice");
    let ts = (clock - chance.random_range(0..DISORDER_S)) * EventTime::SECOND;
    let deleted = chance.random_bool(0.25);
    Row { id, k, v, s, b, ts, ver, deleted }
}
