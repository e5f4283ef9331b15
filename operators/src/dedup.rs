//! Keeps the newest version of each key, so that repeated delivery does nothing and a correction replaces.
//!
//! It never looks at any column other than the key and the version to decide. Its state is the newest row of each
//! key; nothing bounds it but the number of keys, because a repetition may come at any time, or the time after which a
//! key is forgotten.

use crate::changed_slots::ChangedSlots;
use crate::expression::{check_columns, duration_words};
use crate::idle::Idle;
use crate::row_table::{RowCodec, RowTable};
use crate::state_table::{TIME, as_times, named, removed_keys, rows_of, stored_rows, table_of, times, unknown_table};
use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use headwater_core::{
    Barrier, Batch, Counter, Operator, OperatorSpec, Output, Result, Route, Snapshot, StateSize, TaskContext,
    consolidate,
};

/// Turns a stream of facts, each with a key and a version, into a changing table with one row per key: the first
/// sight of a key is an insertion, a newer version replaces the older one, and an equal or older version is dropped
/// and counted as a duplicate.
///
/// Over a changing input, the deletion of the current row of a key removes it; the deletion of a row that is not
/// current does nothing. A version that was dropped before does not come back when the current one is removed.
#[derive(Debug, Clone)]
pub struct Dedup {
    schema: SchemaRef,
    primary_key: Vec<usize>,
    version: usize,
    ttl_ns: Option<i64>,
}

impl Dedup {
    /// Makes it for rows of `schema`, with the indices of the key columns and of the version column.
    ///
    /// # Errors
    /// `Internal` when an index is out of range or the key is empty.
    pub fn new(schema: SchemaRef, primary_key: Vec<usize>, version: usize) -> Result<Self> {
        check_columns(&schema, &primary_key)?;
        check_columns(&schema, &[version])?;
        Ok(Self { schema, primary_key, version, ttl_ns: None })
    }

    /// Says after which time without a row of it a key is forgotten. The row that was shown of it stays; a row that
    /// comes later is a first one.
    #[must_use]
    pub fn forgetting(self, ttl_ns: Option<i64>) -> Self {
        Self { ttl_ns, ..self }
    }
}

impl OperatorSpec for Dedup {
    fn describe(&self) -> String {
        let name = |index: &usize| self.schema.field(*index).name().as_str();
        let key: Vec<&str> = self.primary_key.iter().map(name).collect();
        let mut text = format!("dedup by [{}], newest {}", key.join(", "), name(&self.version));
        if let Some(ttl_ns) = self.ttl_ns {
            text.push_str(&format!(", forgotten after {}", duration_words(ttl_ns)));
        }
        text
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn state(&self) -> Option<String> {
        let names: Vec<&str> = self.primary_key.iter().map(|index| self.schema.field(*index).name().as_str()).collect();
        let freed = match self.ttl_ns {
            Some(ttl_ns) => format!("freed {} after its last row", duration_words(ttl_ns)),
            None => "never freed".to_owned(),
        };
        Some(format!("the newest row of each ({}); {freed}", names.join(", ")))
    }

    fn build(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        let data_type = |index: &usize| self.schema.field(*index).data_type().clone();
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        Ok(Box::new(DedupOperator {
            keys: RowTable::new(self.primary_key.iter().map(data_type))?,
            versions: RowCodec::new(std::iter::once(data_type(&self.version)))?,
            rows: RowCodec::new(all.iter().map(data_type))?,
            current: Vec::new(),
            n_bytes: 0,
            idle: self.ttl_ns.map(Idle::new),
            route: Route::Key(context.route(0).to_vec()),
            changed: ChangedSlots::default(),
            spec: self.clone(),
        }))
    }
}

/// The row that stands for a key. Versions are compared by their bytes, which are in the order of the values.
#[derive(Default)]
struct Current {
    version: Box<[u8]>,
    row: Box<[u8]>,
}

struct DedupOperator {
    spec: Dedup,
    keys: RowTable,
    versions: RowCodec,
    rows: RowCodec,
    /// By the number of the key.
    current: Vec<Current>,
    /// Of the current rows and their versions.
    n_bytes: usize,
    idle: Option<Idle>,
    route: Route,
    changed: ChangedSlots,
}

/// The table of the state: the current row of each key, and when the key was touched last if that matters.
const ROWS: &str = "rows";

impl Operator for DedupOperator {
    fn on_batch(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<()> {
        let columns = batch.rows.columns();
        let key_columns: Vec<_> = self.spec.primary_key.iter().map(|index| columns[*index].clone()).collect();
        let keys = self.keys.encode(&key_columns)?;
        let versions = self.versions.encode(&[columns[self.spec.version].clone()])?;
        let rows = self.rows.encode(columns)?;
        let mut changes: Vec<(Box<[u8]>, i64)> = Vec::with_capacity(batch.n_rows());
        let (mut duplicates, mut corrections) = (0, 0);
        for index in 0..batch.n_rows() {
            let (key, version, row) = (keys.get(index), versions.get(index), rows.get(index));
            if batch.diff(index) < 0 {
                if let Some(slot) = self.keys.find(key).filter(|slot| *self.current[*slot as usize].row == *row) {
                    self.idle.iter_mut().for_each(|idle| idle.gone(slot));
                    self.changed.gone(slot, key);
                    changes.push((self.forget(slot), -1));
                }
                continue;
            }
            let (slot, is_new) = self.keys.intern(key);
            if let Some(idle) = &mut self.idle {
                idle.touch(slot);
                self.changed.touch(slot);
            }
            if !is_new && *version <= *self.current[slot as usize].version {
                duplicates += 1;
                continue;
            }
            self.changed.touch(slot);
            let older = self.replace(slot, Current { version: version.into(), row: row.into() });
            if !is_new {
                corrections += 1;
                changes.push((older.row, -1));
            }
            changes.push((row.into(), 1));
        }
        for (counter, n) in [(Counter::Duplicates, duplicates), (Counter::Corrections, corrections)] {
            if n > 0 {
                out.count(counter, n);
            }
        }
        out.emit(self.net(&changes)?);
        Ok(())
    }

    fn on_barrier(&mut self, barrier: &Barrier, _out: &mut Output) -> Result<()> {
        for slot in self.idle.as_mut().map(|idle| idle.expire(barrier.time)).unwrap_or_default() {
            self.changed.gone(slot, self.keys.row(slot));
            self.forget(slot);
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        let Self { spec, keys, current, changed, .. } = self;
        let mut taken = changed.take(|| keys.slots());
        taken.removed.retain(|key| keys.find(key).is_none());
        let rows = taken.slots.iter().map(|slot| &*current[*slot as usize].row);
        let mut columns = named(spec.schema.fields(), self.rows.decode(rows)?);
        if let Some(idle) = &self.idle {
            columns.push(("touched".to_owned(), times(taken.slots.iter().map(|slot| idle.last(*slot)))));
        }
        let rows = rows_of(columns, taken.slots.len())?;
        let removed = keys.decode(taken.removed.iter().map(AsRef::as_ref))?;
        let removed =
            removed_keys(named(spec.schema.project(&spec.primary_key)?.fields(), removed), taken.removed.len())?;
        let table = table_of((ROWS, self.route.clone()), spec.primary_key.clone(), rows, removed);
        Ok(Snapshot { tables: table.into_iter().collect() })
    }

    fn restore(&mut self, table: &str, rows: RecordBatch) -> Result<()> {
        if table != ROWS {
            return Err(unknown_table(table));
        }
        let more = if self.idle.is_some() { vec![TIME] } else { Vec::new() };
        let (rows, more) = stored_rows(table, &rows, &self.spec.schema, &more)?;
        let touched = more.first().map(as_times).transpose()?;
        let keys = self.keys.encode(rows.project(&self.spec.primary_key)?.columns())?;
        let versions = self.versions.encode(&[rows.column(self.spec.version).clone()])?;
        let encoded = self.rows.encode(rows.columns())?;
        for row in 0..rows.num_rows() {
            let (slot, _) = self.keys.intern(keys.get(row));
            self.replace(slot, Current { version: versions.get(row).into(), row: encoded.get(row).into() });
            self.changed.restored(slot);
            if let (Some(idle), Some(touched)) = (&mut self.idle, &touched) {
                idle.restore(slot, touched[row]);
            }
        }
        Ok(())
    }

    fn state_size(&self) -> StateSize {
        let current = self.n_bytes + size_of_val(self.current.as_slice());
        self.keys.size() + StateSize { rows: 0, bytes: current as u64 }
    }
}

impl Current {
    fn n_bytes(&self) -> usize {
        self.version.len() + self.row.len()
    }
}

impl DedupOperator {
    /// Lets a row stand for a key, and returns the one that did before.
    fn replace(&mut self, slot: u32, newest: Current) -> Current {
        self.current.resize_with(self.keys.n_slots().max(self.current.len()), Current::default);
        self.n_bytes += newest.n_bytes();
        let older = std::mem::replace(&mut self.current[slot as usize], newest);
        self.n_bytes -= older.n_bytes();
        older
    }

    /// Forgets a key and returns the row that stood for it.
    fn forget(&mut self, slot: u32) -> Box<[u8]> {
        self.keys.remove(slot);
        let current = std::mem::take(&mut self.current[slot as usize]);
        self.n_bytes -= current.n_bytes();
        current.row
    }

    fn net(&self, changes: &[(Box<[u8]>, i64)]) -> Result<Batch> {
        let replaces = changes.iter().any(|(_, diff)| *diff < 0);
        let columns = self.rows.decode(changes.iter().map(|(row, _)| &**row))?;
        let rows = RecordBatch::try_new(self.spec.schema.clone(), columns)?;
        let batch = Batch::changing(rows, Int64Array::from_iter_values(changes.iter().map(|(_, diff)| *diff)))?;
        if replaces { consolidate(&batch) } else { Ok(batch) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restarts::{report, restarting};
    use crate::testing::{barrier_at, batch, context, run, schema};
    use expect_test::expect;
    use rand::prelude::*;
    use rand_chacha::ChaCha8Rng;

    fn dedup(script: &str) -> String {
        let input = schema("id text, at int, v int");
        let dedup = Dedup::new(input.clone(), vec![0], 1).expect("a key and a version");
        expect!["dedup by [id], newest at"].assert_eq(&dedup.describe());
        run(&dedup, &[input], script)
    }

    #[test]
    fn newer_versions_replace_and_equal_or_older_ones_are_counted() {
        expect![[r#"
            + a 1 10
            + b 1 20
            - a 1 10
            + a 2 11
            duplicates 2
            corrections 1
            duplicates 1
        "#]]
        .assert_eq(&dedup("+ a 1 10\n+ b 1 20\n\n+ a 1 10\n+ a 2 11\n+ a 1 10\n\n+ b 0 19"));
    }

    #[test]
    fn a_key_that_nothing_came_for_is_forgotten() {
        let input = schema("id text, at int, v int");
        let dedup = Dedup::new(input.clone(), vec![0], 1).expect("a key and a version").forgetting(Some(10));
        expect!["dedup by [id], newest at, forgotten after 10 nanoseconds"].assert_eq(&dedup.describe());
        let mut operator = dedup.build(&context()).expect("the operator builds");
        let mut out = Output::default();
        let row = |id: &str, at: &str| (1, vec![Some(id.to_owned()), Some(at.to_owned()), None]);
        operator.on_batch(0, batch(&input, &[row("a", "1"), row("b", "1")]), &mut out).expect("a good batch");
        barrier_at(operator.as_mut(), 100, &mut out);
        operator.on_batch(0, batch(&input, &[row("b", "2")]), &mut out).expect("a good batch");
        barrier_at(operator.as_mut(), 109, &mut out);
        assert_eq!(operator.state_size().rows, 2);
        barrier_at(operator.as_mut(), 110, &mut out);
        assert_eq!(operator.state_size().rows, 1);
        barrier_at(operator.as_mut(), 119, &mut out);
        assert_eq!((operator.state_size().rows, operator.state_size().bytes > 0), (0, true));
    }

    /// What is restored behaves as what was never interrupted; `restarting` compares them.
    #[test]
    fn keys_survive_restarts_with_their_versions_and_times() {
        let input = schema("id int, at int, v int");
        for seed in 0..200 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let ttl_ns = [None, Some(20)][rng.random_range(0..2)];
            let dedup = Dedup::new(input.clone(), vec![0], 1).expect("a key and a version").forgetting(ttl_ns);
            let mut operator = restarting(&dedup, &[&[0]], seed);
            let (mut out, mut there) = (Output::default(), Vec::new());
            for step in 1..30 {
                for _ in 0..rng.random_range(0..3) {
                    let row = [6, 9, 3].map(|n| Some(rng.random_range(0..n).to_string())).to_vec();
                    let gone = (!there.is_empty() && rng.random_bool(0.2)).then(|| there.choose(&mut rng).cloned());
                    let row = match gone.flatten() {
                        Some(row) => (-1, row),
                        None => {
                            there.push(row.clone());
                            (1, row)
                        }
                    };
                    operator.on_batch(0, batch(&input, &[row]), &mut out).expect("a good batch");
                }
                barrier_at(&mut operator, step * 5, &mut out);
            }
        }
        report("dedup");
    }

    #[test]
    fn a_correction_within_one_batch_leaves_only_the_newest() {
        expect![[r#"
            + a 3 12
            corrections 2
        "#]]
        .assert_eq(&dedup("+ a 1 10\n+ a 2 11\n+ a 3 12"));
    }

    #[test]
    fn the_deletion_of_the_current_row_removes_it_and_of_another_does_nothing() {
        expect![[r#"
            + a 2 11
            corrections 1
            - a 2 11
            + a 1 10
        "#]]
        .assert_eq(&dedup("+ a 1 10\n+ a 2 11\n\n- a 1 10\n\n- a 2 11\n\n+ a 1 10"));
    }
}
