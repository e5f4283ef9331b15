//! Passes rows of several inputs on under one schema. It never drops or repeats a row; it has no state.

use crate::expression::check_relabel;
use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use headwater_core::{Batch, Operator, OperatorSpec, Output, Result, TaskContext};

/// Lays the rows of all inputs together (`UNION ALL`) under the names of one schema.
#[derive(Debug, Clone)]
pub struct Union {
    schema: SchemaRef,
}

impl Union {
    /// Makes a union; the columns of every input have the types of `schema`.
    #[must_use]
    pub fn new(schema: SchemaRef) -> Self {
        Self { schema }
    }
}

impl OperatorSpec for Union {
    fn describe(&self) -> String {
        let names: Vec<&str> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        format!("union [{}]", names.join(", "))
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn build(&self, _context: &TaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(UnionOperator { schema: self.schema.clone() }))
    }
}

struct UnionOperator {
    schema: SchemaRef,
}

impl Operator for UnionOperator {
    fn on_batch(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<()> {
        if batch.rows.schema_ref() != &self.schema {
            check_relabel(batch.rows.schema_ref(), &self.schema)?;
            let options = RecordBatchOptions::new().with_row_count(Some(batch.n_rows()));
            let columns = batch.rows.columns().to_vec();
            let rows = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
            out.emit(batch.with_rows(rows));
        } else {
            out.emit(batch);
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
    fn rows_of_all_inputs_get_the_same_names() {
        let union = Union::new(schema("x int"));
        expect!["union [x]"].assert_eq(&union.describe());
        let output = run(&union, &[schema("a int"), schema("b int")], "+ 1\n- 2\n\n#1\n+ 3\nwatermark 5");
        expect![[r#"
            + 1
            - 2
            + 3
            watermark 5
        "#]]
        .assert_eq(&output);
    }
}
