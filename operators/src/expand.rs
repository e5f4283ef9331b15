//! Lays every row out once per grouping set, for `GROUPING SETS`, `ROLLUP` and `CUBE`.
//!
//! It never groups: the aggregation that follows groups by the copies of the columns, which are null where their set
//! leaves them out, and by the number of the set. The columns themselves stay as they are, because an aggregate of a
//! grouped column looks at its value. It has no state.

use arrow::array::{ArrayRef, RecordBatch, UInt64Array, new_null_array};
use arrow::compute;
use arrow::datatypes::SchemaRef;
use headwater_core::{Batch, Error, Operator, OperatorSpec, Output, Result, TaskContext};
use std::sync::Arc;

/// One grouping set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupingSet {
    /// Its number, which no other set has.
    pub id: u64,
    /// Whether it groups by each of the columns.
    pub groups_by: Vec<bool>,
}

/// Repeats each row for every grouping set.
#[derive(Debug, Clone)]
pub struct Expand {
    columns: Vec<usize>,
    sets: Vec<GroupingSet>,
    schema: SchemaRef,
}

impl Expand {
    /// Makes it for rows of `input`. `output` has the columns of `input`, then a copy of each of `columns`, and the
    /// number of the set.
    ///
    /// # Errors
    /// `Internal` when a column is not there, or a set is not about all of them.
    pub fn new(columns: Vec<usize>, sets: Vec<GroupingSet>, input: &SchemaRef, output: SchemaRef) -> Result<Self> {
        let n_columns = input.fields().len();
        let fits = output.fields().len() == n_columns + columns.len() + 1
            && columns.iter().all(|column| *column < n_columns)
            && sets.iter().all(|set| set.groups_by.len() == columns.len());
        if !fits {
            return Err(Error::internal(format!("grouping sets {sets:?} over columns {columns:?} of {n_columns}")));
        }
        Ok(Self { columns, sets, schema: output })
    }
}

impl OperatorSpec for Expand {
    fn describe(&self) -> String {
        let n_columns = self.schema.fields().len() - self.columns.len() - 1;
        let set = |set: &GroupingSet| {
            let names = set.groups_by.iter().enumerate().filter(|(_, is_in)| **is_in);
            let names: Vec<&str> = names.map(|(n, _)| self.schema.field(n_columns + n).name().as_str()).collect();
            format!("({})", names.join(", "))
        };
        format!("expand [{}]", self.sets.iter().map(set).collect::<Vec<_>>().join(", "))
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn build(&self, _context: &TaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(ExpandOperator { spec: self.clone() }))
    }
}

struct ExpandOperator {
    spec: Expand,
}

impl Operator for ExpandOperator {
    fn on_batch(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<()> {
        let n_rows = batch.n_rows();
        let Some(id) = self.spec.schema.fields().last() else { return Ok(()) };
        for set in &self.spec.sets {
            let mut columns = batch.rows.columns().to_vec();
            for (column, groups_by) in self.spec.columns.iter().zip(&set.groups_by) {
                let column = batch.rows.column(*column);
                columns.push(if *groups_by { column.clone() } else { new_null_array(column.data_type(), n_rows) });
            }
            let ids: ArrayRef = Arc::new(UInt64Array::from_value(set.id, n_rows));
            columns.push(compute::cast(&ids, id.data_type())?);
            out.emit(batch.with_rows(RecordBatch::try_new(self.spec.schema.clone(), columns)?));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{run, schema};
    use expect_test::expect;

    #[test]
    fn every_row_comes_once_per_set_with_nulls_for_what_the_set_leaves_out() {
        let input = schema("a int, b int, v int");
        let output = schema("a int, b int, v int, ga int, gb int, id int");
        let sets = vec![
            GroupingSet { id: 0, groups_by: vec![true, true] },
            GroupingSet { id: 1, groups_by: vec![true, false] },
            GroupingSet { id: 3, groups_by: vec![false, false] },
        ];
        let spec = Expand::new(vec![0, 1], sets, &input, output).expect("grouping sets");
        expect!["expand [(ga, gb), (ga), ()]"].assert_eq(&spec.describe());
        expect![[r#"
            + 1 2 3 1 2 0
            - _ 2 4 _ 2 0
            + 1 2 3 1 _ 1
            - _ 2 4 _ _ 1
            + 1 2 3 _ _ 3
            - _ 2 4 _ _ 3
        "#]]
        .assert_eq(&run(&spec, &[input], "+ 1 2 3\n- _ 2 4"));
    }
}
