//! Keeps rows for which a predicate is true. It never changes a row; it has no state.

use crate::expression::{Evaluated, evaluate_or_bury, sql};
use arrow::array::{Array, AsArray};
use arrow::datatypes::SchemaRef;
use datafusion_physical_expr::PhysicalExpr;
use headwater_core::{Batch, Error, Operator, OperatorSpec, Output, Result, TaskContext};
use std::sync::Arc;

/// Keeps the rows for which the predicate is true; false and null go.
#[derive(Debug, Clone)]
pub struct Filter {
    predicate: Arc<dyn PhysicalExpr>,
    schema: SchemaRef,
}

impl Filter {
    /// Makes a filter of rows of `schema` by a Boolean expression.
    #[must_use]
    pub fn new(predicate: Arc<dyn PhysicalExpr>, schema: SchemaRef) -> Self {
        Self { predicate, schema }
    }
}

impl OperatorSpec for Filter {
    fn describe(&self) -> String {
        format!("filter {}", sql(&self.predicate))
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn build(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(FilterOperator { predicate: [self.predicate.clone()], context: context.clone() }))
    }
}

struct FilterOperator {
    predicate: [Arc<dyn PhysicalExpr>; 1],
    context: TaskContext,
}

impl Operator for FilterOperator {
    fn on_batch(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<()> {
        let Evaluated { batch, columns } = evaluate_or_bury(&self.predicate, batch, &self.context, out)?;
        let mask = columns[0].as_boolean_opt().ok_or_else(|| Error::internal("the predicate is not Boolean"))?;
        if mask.null_count() == 0 && mask.true_count() == mask.len() {
            out.emit(batch);
        } else {
            out.emit(batch.filter(mask)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{expr, run, schema};
    use expect_test::expect;

    #[test]
    fn keeps_rows_for_which_the_predicate_is_true_and_not_null() {
        let input = schema("a int, b int");
        let filter = Filter::new(expr("a > b", &input), input.clone());
        expect!["filter a > b"].assert_eq(&filter.describe());
        let output = run(&filter, &[input], "+ 2 1\n+ 1 2\n- 5 4\n+ _ 1\n\n+ 1 2");
        expect![[r#"
            + 2 1
            - 5 4
        "#]]
        .assert_eq(&output);
    }

    #[test]
    fn gives_up_on_rows_on_which_the_predicate_fails() {
        let input = schema("a int, b int");
        let output = run(&Filter::new(expr("a / b > 1", &input), input.clone()), &[input], "+ 4 2\n+ 4 0");
        expect![[r#"
            + 4 2
            dead letter failed_expression [a, b]: Divide by zero error: {"a":4,"b":0}
        "#]]
        .assert_eq(&output);
    }
}
