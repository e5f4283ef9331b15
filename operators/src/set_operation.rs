//! `INTERSECT ALL` and `EXCEPT ALL` of two changing tables, with the multiplicities of the standard.
//!
//! It never looks at single columns: two rows are the same when all their columns are, nulls included. Its state is,
//! for each different row that is there, how often it is on either side; what bounds it is both tables.

use crate::changed_slots::ChangedSlots;
use crate::expression::check_relabel;
use crate::repeat::repeated;
use crate::row_table::RowTable;
use crate::state_table::{as_numbers, keyed_table, numbers, stored_rows, unknown_table};
use arrow::array::{Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use headwater_core::{Batch, Operator, OperatorSpec, Output, Result, Route, Snapshot, StateSize, TaskContext};
use std::sync::Arc;

/// What is made of how often a row is on the left and on the right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SetOperationKind {
    /// The row is there as often as on the side where it is rarer.
    IntersectAll,
    /// The row is there as often as it is on the left more than on the right.
    ExceptAll,
}

impl SetOperationKind {
    fn multiplicity(self, left: i64, right: i64) -> i64 {
        let (left, right) = (left.max(0), right.max(0));
        match self {
            Self::IntersectAll => left.min(right),
            Self::ExceptAll => (left - right).max(0),
        }
    }
}

/// Intersects two tables, or subtracts one from the other, row by row.
#[derive(Debug, Clone)]
pub struct SetOperation {
    kind: SetOperationKind,
    schema: SchemaRef,
    inputs_changing: bool,
}

impl SetOperation {
    /// Makes it; the output has the names of the left columns.
    ///
    /// # Errors
    /// `Internal` when the types of the two sides differ.
    pub fn new(kind: SetOperationKind, left: &SchemaRef, right: &SchemaRef, inputs_changing: bool) -> Result<Self> {
        check_relabel(right, left)?;
        let field = |(left, right): (&Arc<Field>, &Arc<Field>)| {
            left.as_ref().clone().with_nullable(left.is_nullable() || right.is_nullable())
        };
        let fields: Vec<Field> = left.fields().iter().zip(right.fields()).map(field).collect();
        Ok(Self { kind, schema: Arc::new(Schema::new(fields)), inputs_changing })
    }

    /// Gives the output columns other names, nullability and metadata.
    ///
    /// # Errors
    /// `Internal` when the types differ.
    pub fn with_schema(self, schema: SchemaRef) -> Result<Self> {
        check_relabel(&self.schema, &schema)?;
        Ok(Self { schema, ..self })
    }

    /// Returns whether the output retracts rows.
    #[must_use]
    pub fn output_changing(&self) -> bool {
        self.inputs_changing || self.kind == SetOperationKind::ExceptAll
    }
}

impl OperatorSpec for SetOperation {
    fn describe(&self) -> String {
        let name = match self.kind {
            SetOperationKind::IntersectAll => "intersect all",
            SetOperationKind::ExceptAll => "except all",
        };
        let names: Vec<&str> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        format!("{name} [{}]", names.join(", "))
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn state(&self) -> Option<String> {
        Some("how often each row is on either side; freed when it is on neither".to_owned())
    }

    fn build(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        let rows = RowTable::new(self.schema.fields().iter().map(|field| field.data_type().clone()))?;
        // Each side finds its subtask by all columns, so one of them stands for both.
        let route = Route::Key(context.route(0).to_vec());
        let changed = ChangedSlots::default();
        Ok(Box::new(SetOperationOperator { spec: self.clone(), rows, counts: Vec::new(), route, changed }))
    }
}

struct SetOperationOperator {
    spec: SetOperation,
    rows: RowTable,
    /// For each row by its number, how often it is on the left and on the right.
    counts: Vec<[i64; 2]>,
    route: Route,
    changed: ChangedSlots,
}

/// The table of the state.
const ROWS: &str = "rows";

impl SetOperationOperator {
    fn put(&mut self, row: &[u8]) -> u32 {
        let (slot, is_new) = self.rows.intern(row);
        if is_new {
            self.counts.resize(self.rows.n_slots().max(self.counts.len()), [0, 0]);
            self.counts[slot as usize] = [0, 0];
        }
        slot
    }
}

impl Operator for SetOperationOperator {
    fn on_batch(&mut self, input: usize, batch: Batch, out: &mut Output) -> Result<()> {
        let encoded = self.rows.encode(batch.rows.columns())?;
        let mut touched: Vec<(u32, i64)> = Vec::new();
        let mut is_noted = hashbrown::HashSet::new();
        for row in 0..batch.n_rows() {
            let slot = self.put(encoded.get(row));
            self.changed.touch(slot);
            let [left, right] = self.counts[slot as usize];
            if is_noted.insert(slot) {
                touched.push((slot, self.spec.kind.multiplicity(left, right)));
            }
            self.counts[slot as usize][input] += batch.diff(row);
        }
        let now = |slot: u32| {
            let [left, right] = self.counts[slot as usize];
            self.spec.kind.multiplicity(left, right)
        };
        let mut net: Vec<(u32, i64)> = touched.iter().map(|(slot, before)| (*slot, now(*slot) - before)).collect();
        net.retain(|(_, diff)| *diff != 0);
        // Deletions first, so that a store with a key can apply the result in order.
        net.sort_by_key(|(_, diff)| *diff > 0);
        let (slots, diffs): (Vec<u32>, Vec<i64>) = net.into_iter().unzip();
        let options = RecordBatchOptions::new().with_row_count(Some(slots.len()));
        let columns = self.rows.columns(&slots)?;
        let rows = RecordBatch::try_new_with_options(self.spec.schema.clone(), columns, &options)?;
        let changes = Batch::changing(rows, Int64Array::from(diffs))?;
        out.emit(if self.spec.output_changing() { changes } else { repeated(&changes)? });
        for (slot, _) in touched {
            if self.counts[slot as usize] == [0, 0] {
                self.changed.gone(slot, self.rows.row(slot));
                self.rows.remove(slot);
            }
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        let taken = self.changed.take(|| self.rows.slots());
        let side = |side: usize| numbers(taken.slots.iter().map(|slot| self.counts[*slot as usize][side]));
        let values = vec![("left".to_owned(), side(0)), ("right".to_owned(), side(1))];
        let fields = self.spec.schema.fields();
        let table = keyed_table((ROWS, self.route.clone()), (&self.rows, fields), taken, values)?;
        Ok(Snapshot { tables: table.into_iter().collect() })
    }

    fn restore(&mut self, table: &str, rows: RecordBatch) -> Result<()> {
        if table != ROWS {
            return Err(unknown_table(table));
        }
        let (rows, counts) = stored_rows(table, &rows, &self.spec.schema, &[DataType::Int64, DataType::Int64])?;
        let (left, right) = (as_numbers(&counts[0])?, as_numbers(&counts[1])?);
        let encoded = self.rows.encode(rows.columns())?;
        for row in 0..rows.num_rows() {
            let slot = self.put(encoded.get(row));
            self.counts[slot as usize] = [left[row], right[row]];
            self.changed.restored(slot);
        }
        Ok(())
    }

    fn state_size(&self) -> StateSize {
        self.rows.size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{run, schema};
    use expect_test::{Expect, expect};

    fn check(kind: SetOperationKind, changing: bool, script: &str, output: Expect) {
        let inputs = [schema("a int, b int"), schema("c int, d int")];
        let spec = SetOperation::new(kind, &inputs[0], &inputs[1], changing).expect("a set operation");
        output.assert_eq(&run(&spec, &inputs, script));
    }

    #[test]
    fn an_intersection_has_each_row_as_often_as_the_rarer_side() {
        check(
            SetOperationKind::IntersectAll,
            true,
            "+ 1 _\n+ 1 _\n+ 2 2\n\n#1\n+ 1 _\n+ 3 3\n\n+2 1 _\n\n- 1 _\n\n#0\n-2 1 _",
            expect![[r#"
                + 1 _
                + 1 _
                -2 1 _
            "#]],
        );
    }

    #[test]
    fn an_intersection_of_insertions_never_takes_back() {
        check(
            SetOperationKind::IntersectAll,
            false,
            "+ 1 1\n+ 1 1\n+ 1 1\n\n#1\n+ 1 1\n+ 1 1",
            expect![[r#"
                + 1 1
                + 1 1
            "#]],
        );
    }

    #[test]
    fn a_difference_takes_back_what_comes_on_the_right() {
        check(
            SetOperationKind::ExceptAll,
            true,
            "#1\n+ 1 1\n\n#0\n+ 1 1\n+ 1 1\n+ 2 _\n\n#1\n+ 2 _\n+ 9 9\n\n- 2 _\n- 1 1\n\n#0\n- 1 1",
            expect![[r#"
                + 1 1
                + 2 _
                - 2 _
                + 2 _
                + 1 1
                - 1 1
            "#]],
        );
    }

    #[test]
    fn describes_itself() {
        let inputs = [schema("a int"), schema("b int")];
        let spec = SetOperation::new(SetOperationKind::ExceptAll, &inputs[0], &inputs[1], true);
        expect!["except all [a]"].assert_eq(&spec.expect("a set operation").describe());
    }
}
