//! Refuses rows that lack a value where the table says there is one. It never changes a row. Its state is the rows of an
//! epoch that lack one, where the deletion of such a row may still come: a join may show a row before its match.

use crate::expression::{check_columns, check_relabel, dead_letter};
use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::compute;
use arrow::datatypes::SchemaRef;
use headwater_core::{Barrier, Batch, Operator, OperatorSpec, Output, Reason, Result, TaskContext, consolidate};

/// What becomes of the deletion of a row that lacks a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletions {
    /// It goes no further: the row itself never did.
    Drop,
    /// It goes on: it only names the key of the row that goes.
    Keep,
}

/// Passes rows on that have a value in each of some columns; a row without is a dead letter `missing_field`.
#[derive(Debug, Clone)]
pub struct NotNull {
    columns: Vec<usize>,
    deletions: Deletions,
    schema: SchemaRef,
}

impl NotNull {
    /// Makes it for rows of `input`; what passes has the schema `output`, whose columns may say that they are not null.
    ///
    /// # Errors
    /// `Internal` when a column is not there or the types of the schemas differ.
    pub fn new(input: &SchemaRef, columns: Vec<usize>, deletions: Deletions, output: SchemaRef) -> Result<Self> {
        check_columns(input, &columns)?;
        check_relabel(input, &output)?;
        Ok(Self { columns, deletions, schema: output })
    }
}

impl OperatorSpec for NotNull {
    fn describe(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|index| self.schema.field(*index).name().as_str()).collect();
        format!("not null [{}]", names.join(", "))
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn build(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(NotNullOperator { spec: self.clone(), context: context.clone(), lacking: Vec::new() }))
    }
}

struct NotNullOperator {
    spec: NotNull,
    context: TaskContext,
    /// Rows of this epoch without a value.
    lacking: Vec<Batch>,
}

impl Operator for NotNullOperator {
    fn on_batch(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<()> {
        let mut good: Option<BooleanArray> = None;
        for column in &self.spec.columns {
            let values = batch.rows.column(*column);
            if values.logical_null_count() > 0 {
                let there = compute::is_not_null(values)?;
                good = Some(good.map_or(Ok(there.clone()), |good| compute::and(&good, &there))?);
            }
        }
        let batch = match good {
            None => batch,
            Some(good) => self.split(&batch, &good, out)?,
        };
        let rows = RecordBatch::try_new(self.spec.schema.clone(), batch.rows.columns().to_vec())?;
        out.emit(batch.with_rows(rows));
        Ok(())
    }

    fn on_barrier(&mut self, _barrier: &Barrier, out: &mut Output) -> Result<()> {
        let lacking = std::mem::take(&mut self.lacking);
        let Some(first) = lacking.first() else { return Ok(()) };
        self.bury(&consolidate(&Batch::concat(&first.schema(), &lacking)?)?, out)
    }
}

impl NotNullOperator {
    /// Keeps the good rows; the others become letters, at once or when the epoch ends.
    fn split(&mut self, batch: &Batch, good: &BooleanArray, out: &mut Output) -> Result<Batch> {
        let lacking = batch.filter(&compute::not(good)?)?;
        match self.spec.deletions {
            Deletions::Drop => {
                self.lacking.push(lacking);
                batch.filter(good)
            }
            Deletions::Keep => {
                self.bury(&lacking, out)?;
                let keep = (0..batch.n_rows()).map(|row| good.value(row) || batch.diff(row) < 0);
                batch.filter(&keep.map(Some).collect())
            }
        }
    }

    /// Makes a letter of each row that is there.
    fn bury(&self, batch: &Batch, out: &mut Output) -> Result<()> {
        let times = |row: usize| std::iter::repeat_n(row, usize::try_from(batch.diff(row)).unwrap_or(0));
        for row in (0..batch.n_rows()).flat_map(times) {
            let lacks = |column: &&usize| batch.rows.column(**column).is_null(row);
            let column = self.spec.columns.iter().find(lacks).copied().unwrap_or_default();
            let name = self.spec.schema.field(column).name();
            let message = format!("the column '{name}' has no value");
            out.dead_letter(dead_letter(Reason::MissingField, message, name.clone(), &batch.rows, row, &self.context)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{run, schema};
    use arrow::datatypes::Schema;
    use expect_test::{Expect, expect};
    use std::sync::Arc;

    fn check(deletions: Deletions, output: Expect) {
        let input = schema("a int, b int");
        let not_null = NotNull::new(&input, vec![1], deletions, input.clone()).expect("the column is there");
        output.assert_eq(&run(&not_null, &[input], "+ 1 2\n+ 2 _\n- 3 _\n\n+ _ 4\nbarrier"));
    }

    #[test]
    fn a_row_without_a_value_is_a_dead_letter_and_its_deletion_is_not() {
        check(
            Deletions::Drop,
            expect![[r#"
                + 1 2
                + _ 4
                dead letter missing_field [b]: the column 'b' has no value: {"a":2,"b":null}
                barrier
            "#]],
        );
        check(
            Deletions::Keep,
            expect![[r#"
                + 1 2
                - 3 _
                dead letter missing_field [b]: the column 'b' has no value: {"a":2,"b":null}
                + _ 4
                barrier
            "#]],
        );
    }

    #[test]
    fn a_row_that_is_taken_back_within_its_epoch_is_none() {
        let input = schema("a int, b int");
        let not_null = NotNull::new(&input, vec![1], Deletions::Drop, input.clone()).expect("the column is there");
        expect![[r#"
            + 1 5
            barrier
            dead letter missing_field [b]: the column 'b' has no value: {"a":2,"b":null}
            dead letter missing_field [b]: the column 'b' has no value: {"a":2,"b":null}
            barrier
        "#]]
        .assert_eq(&run(&not_null, &[input], "+ 1 _\n\n- 1 _\n+ 1 5\nbarrier\n+2 2 _\n- 3 _\nbarrier"));
    }

    #[test]
    fn what_passes_is_declared_to_have_a_value() {
        let input = schema("a int");
        let output = Arc::new(Schema::new(vec![input.field(0).clone().with_nullable(false)]));
        let not_null = NotNull::new(&input, vec![0], Deletions::Drop, output.clone()).expect("the column is there");
        assert_eq!(not_null.schema(), output);
        assert_eq!(not_null.describe(), "not null [a]");
        assert!(run(&not_null, &[input], "+ 1").starts_with("+ 1"));
    }
}
