//! Keeps the row of each key, so that a change which only says the key, or the new row, takes the old one back.
//!
//! It never looks at a column other than the key to decide which row is meant, and trusts the order in which changes
//! come. Its state is the current row of each key; a key is freed when its row is deleted, and nothing else bounds it.

use crate::changed_slots::ChangedSlots;
use crate::expression::{check_columns, check_relabel};
use crate::row_table::{RowCodec, RowTable};
use crate::state_table::{named, removed_keys, rows_of, stored_rows, table_of, unknown_table};
use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use headwater_core::{
    Batch, Counter, Operator, OperatorSpec, Output, Result, Route, Snapshot, StateSize, TaskContext, consolidate,
};

/// Turns changes by key into a changing table with one row per key: a row replaces the one that has its key, an equal
/// one changes nothing and is counted as a duplicate, and a deletion removes the row of its key, whatever else it says.
#[derive(Debug, Clone)]
pub struct Upsert {
    input: SchemaRef,
    schema: SchemaRef,
    key: Vec<usize>,
}

impl Upsert {
    /// Makes it for rows of `input`, whose deletions may have nothing but the key; what comes out are rows of `output`.
    ///
    /// # Errors
    /// `Internal` when a column is not there, the key is empty or the types of the schemas differ.
    pub fn new(input: SchemaRef, key: Vec<usize>, output: SchemaRef) -> Result<Self> {
        check_columns(&input, &key)?;
        check_relabel(&input, &output)?;
        Ok(Self { input, schema: output, key })
    }

    fn key_names(&self) -> String {
        let names: Vec<&str> = self.key.iter().map(|index| self.schema.field(*index).name().as_str()).collect();
        names.join(", ")
    }
}

impl OperatorSpec for Upsert {
    fn describe(&self) -> String {
        format!("upsert by [{}]", self.key_names())
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn state(&self) -> Option<String> {
        Some(format!("the current row of each ({}); freed when it is deleted", self.key_names()))
    }

    fn build(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        let data_type = |index: &usize| self.input.field(*index).data_type().clone();
        let all: Vec<usize> = (0..self.input.fields().len()).collect();
        Ok(Box::new(UpsertOperator {
            keys: RowTable::new(self.key.iter().map(data_type))?,
            rows: RowCodec::new(all.iter().map(data_type))?,
            current: Vec::new(),
            n_rows: 0,
            n_bytes: 0,
            route: Route::Key(context.route(0).to_vec()),
            changed: ChangedSlots::default(),
            spec: self.clone(),
        }))
    }
}

struct UpsertOperator {
    spec: Upsert,
    keys: RowTable,
    rows: RowCodec,
    /// The row of each key, by the number of the key.
    current: Vec<Box<[u8]>>,
    n_rows: usize,
    n_bytes: usize,
    route: Route,
    changed: ChangedSlots,
}

/// The table of the state: the current row of each key.
const ROWS: &str = "rows";

impl Operator for UpsertOperator {
    fn on_batch(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<()> {
        let columns = batch.rows.columns();
        let key_columns: Vec<_> = self.spec.key.iter().map(|index| columns[*index].clone()).collect();
        let keys = self.keys.encode(&key_columns)?;
        let rows = self.rows.encode(columns)?;
        let mut changes: Vec<(Box<[u8]>, i64)> = Vec::with_capacity(batch.n_rows());
        let (mut duplicates, mut corrections) = (0, 0);
        for index in 0..batch.n_rows() {
            let (key, row) = (keys.get(index), rows.get(index));
            if batch.diff(index) < 0 {
                match self.keys.find(key) {
                    Some(slot) => changes.push((self.remove(slot), -1)),
                    None => duplicates += 1,
                }
                continue;
            }
            let (slot, is_new) = self.keys.intern(key);
            if !is_new && *self.current[slot as usize] == *row {
                duplicates += 1;
                continue;
            }
            self.changed.touch(slot);
            let older = self.replace(slot, row, is_new);
            if !is_new {
                corrections += 1;
                changes.push((older, -1));
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

    fn snapshot(&mut self) -> Result<Snapshot> {
        let Self { spec, keys, current, changed, .. } = self;
        let mut taken = changed.take(|| keys.slots());
        taken.removed.retain(|key| keys.find(key).is_none());
        let rows = self.rows.decode(taken.slots.iter().map(|slot| &*current[*slot as usize]))?;
        let rows = rows_of(named(spec.input.fields(), rows), taken.slots.len())?;
        let removed = keys.decode(taken.removed.iter().map(AsRef::as_ref))?;
        let removed = removed_keys(named(spec.input.project(&spec.key)?.fields(), removed), taken.removed.len())?;
        let table = table_of((ROWS, self.route.clone()), spec.key.clone(), rows, removed);
        Ok(Snapshot { tables: table.into_iter().collect() })
    }

    fn restore(&mut self, table: &str, rows: RecordBatch) -> Result<()> {
        if table != ROWS {
            return Err(unknown_table(table));
        }
        let (rows, _) = stored_rows(table, &rows, &self.spec.input, &[])?;
        let keys = self.keys.encode(rows.project(&self.spec.key)?.columns())?;
        let encoded = self.rows.encode(rows.columns())?;
        for row in 0..rows.num_rows() {
            let (slot, is_new) = self.keys.intern(keys.get(row));
            self.replace(slot, encoded.get(row), is_new);
            self.changed.restored(slot);
        }
        Ok(())
    }

    fn state_size(&self) -> StateSize {
        StateSize { rows: self.n_rows as u64, bytes: self.n_bytes as u64 }
    }
}

impl UpsertOperator {
    /// Lets a row be that of a key, and returns the one that was.
    fn replace(&mut self, slot: u32, row: &[u8], is_new: bool) -> Box<[u8]> {
        self.current.resize_with(self.keys.n_slots().max(self.current.len()), Default::default);
        let older = std::mem::replace(&mut self.current[slot as usize], row.into());
        self.n_bytes = self.n_bytes + row.len() - older.len();
        self.n_rows += usize::from(is_new);
        older
    }

    fn remove(&mut self, slot: u32) -> Box<[u8]> {
        self.changed.gone(slot, self.keys.row(slot));
        self.keys.remove(slot);
        let row = std::mem::take(&mut self.current[slot as usize]);
        self.n_rows -= 1;
        self.n_bytes -= row.len();
        row
    }

    fn net(&self, changes: &[(Box<[u8]>, i64)]) -> Result<Batch> {
        let columns = self.rows.decode(changes.iter().map(|(row, _)| &**row))?;
        let rows = RecordBatch::try_new(self.spec.schema.clone(), columns)?;
        consolidate(&Batch::changing(rows, Int64Array::from_iter_values(changes.iter().map(|(_, diff)| *diff)))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{print, run, schema};
    use expect_test::expect;
    use headwater_core::Message;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_row_replaces_the_one_of_its_key_and_a_deletion_needs_the_key_alone() {
        let input = schema("id int, v text");
        let upsert = Upsert::new(input.clone(), vec![0], input.clone()).expect("a key");
        expect!["upsert by [id]"].assert_eq(&upsert.describe());
        expect![[r#"
            + 1 a
            + 2 b
            - 1 a
            + 1 c
            duplicates 1
            corrections 1
            - 1 c
            - 2 b
            duplicates 1
        "#]]
        .assert_eq(&run(&upsert, &[input], "+ 1 a\n+ 2 b\n\n+ 1 c\n+ 2 b\n\n- 1 _\n- 2 zzz\n- 3 _"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_left_is_the_last_row_of_each_key(
            changes in prop::collection::vec((0_i64..4, prop::option::of(0_i64..3)), 0..40),
            at_once in 1_usize..7,
            seed in any::<u64>(),
        ) {
            let input = schema("id int, v int");
            let spec = Upsert::new(input.clone(), vec![0], input.clone()).expect("a key");
            let mut operator = crate::restarts::restarting(&spec, &[&[0]], seed);
            let (mut left, mut expected) = (BTreeMap::<String, i64>::new(), BTreeMap::new());
            for part in changes.chunks(at_once) {
                let rows: Vec<_> = part.iter().map(|(id, v)| {
                    let diff = if v.is_some() { 1 } else { -1 };
                    (diff, vec![Some(id.to_string()), v.map(|v| v.to_string())])
                }).collect();
                for (id, v) in part {
                    match v {
                        Some(v) => expected.insert(*id, *v),
                        None => expected.remove(id),
                    };
                }
                let mut out = Output::default();
                operator.on_batch(0, crate::testing::batch(&input, &rows), &mut out).expect("a good batch");
                crate::testing::barrier(&mut operator, 1, &mut out);
                for message in out.take_messages() {
                    let Message::Batch(batch) = message else { panic!("{message:?}") };
                    for line in print(&batch).lines() {
                        let (sign, row) = line.split_once(' ').expect("a sign");
                        *left.entry(row.to_owned()).or_default() += if sign == "+" { 1 } else { -1 };
                    }
                }
                left.retain(|_, n| *n != 0);
                let wanted: BTreeMap<String, i64> = expected.iter().map(|(id, v)| (format!("{id} {v}"), 1)).collect();
                prop_assert_eq!(&left, &wanted);
            }
            prop_assert_eq!(operator.state_size().rows, expected.len() as u64);
        }
    }
}
