//! Refuses rows that lack a value where the table says there is one. It never changes a row; it has no state.

use crate::expression::{check_columns, check_relabel, dead_letter};
use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::compute;
use arrow::datatypes::SchemaRef;
use headwater_core::{Batch, Operator, OperatorSpec, Output, Reason, Result, TaskContext};

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
        Ok(Box::new(NotNullOperator { spec: self.clone(), context: context.clone() }))
    }
}

struct NotNullOperator {
    spec: NotNull,
    context: TaskContext,
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
}

impl NotNullOperator {
    /// Keeps the good rows and makes letters of the others.
    fn split(&self, batch: &Batch, good: &BooleanArray, out: &mut Output) -> Result<Batch> {
        let mut keep = Vec::with_capacity(batch.n_rows());
        for row in 0..batch.n_rows() {
            let is_deletion = batch.diff(row) < 0;
            keep.push(good.value(row) || (is_deletion && self.spec.deletions == Deletions::Keep));
            if good.value(row) || is_deletion {
                continue;
            }
            let lacks = |column: &&usize| batch.rows.column(**column).is_null(row);
            let column = self.spec.columns.iter().find(lacks).copied().unwrap_or_default();
            let name = self.spec.schema.field(column).name();
            let message = format!("the column '{name}' has no value");
            out.dead_letter(dead_letter(Reason::MissingField, message, name.clone(), &batch.rows, row, &self.context)?);
        }
        batch.filter(&BooleanArray::from(keep))
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
        output.assert_eq(&run(&not_null, &[input], "+ 1 2\n+ 2 _\n- 3 _\n\n+ _ 4"));
    }

    #[test]
    fn a_row_without_a_value_is_a_dead_letter_and_its_deletion_is_not() {
        check(
            Deletions::Drop,
            expect![[r#"
                + 1 2
                dead letter missing_field [b]: the column 'b' has no value: {"a":2,"b":null}
                + _ 4
            "#]],
        );
        check(
            Deletions::Keep,
            expect![[r#"
                + 1 2
                - 3 _
                dead letter missing_field [b]: the column 'b' has no value: {"a":2,"b":null}
                + _ 4
            "#]],
        );
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
