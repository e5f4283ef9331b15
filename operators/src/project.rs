//! Computes columns. It never changes how many rows there are, other than by giving up on rows on which an expression
//! fails; it has no state.

use crate::expression::{Evaluated, check_relabel, engine_error, evaluate_or_bury, sql_as};
use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion_physical_expr::PhysicalExpr;
use headwater_core::{Batch, Operator, OperatorSpec, Output, Result, TaskContext};
use std::sync::Arc;

/// Replaces the columns of each row by the values of expressions.
#[derive(Debug, Clone)]
pub struct Project {
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
}

impl Project {
    /// Makes a projection of expressions over the columns of `input`, each with the name of its output column.
    ///
    /// # Errors
    /// `Internal` when an expression does not fit the input.
    pub fn new(exprs: Vec<(Arc<dyn PhysicalExpr>, String)>, input: &SchemaRef) -> Result<Self> {
        let field = |(expr, name): &(Arc<dyn PhysicalExpr>, String)| -> Result<Field> {
            let field = expr.return_field(input).map_err(engine_error)?;
            Ok(field.as_ref().clone().with_name(name.clone()))
        };
        let fields: Vec<Field> = exprs.iter().map(field).collect::<Result<_>>()?;
        let exprs = exprs.into_iter().map(|(expr, _)| expr).collect();
        Ok(Self { exprs, schema: Arc::new(Schema::new(fields)) })
    }

    /// Gives the output columns other names, nullability and metadata.
    ///
    /// # Errors
    /// `Internal` when the types differ.
    pub fn with_schema(self, schema: SchemaRef) -> Result<Self> {
        check_relabel(&self.schema, &schema)?;
        Ok(Self { schema, ..self })
    }
}

impl OperatorSpec for Project {
    fn describe(&self) -> String {
        let columns = self.exprs.iter().zip(self.schema.fields()).map(|(expr, field)| sql_as(expr, field.name()));
        format!("project [{}]", columns.collect::<Vec<_>>().join(", "))
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn build(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(ProjectOperator { spec: self.clone(), context: context.clone() }))
    }
}

struct ProjectOperator {
    spec: Project,
    context: TaskContext,
}

impl Operator for ProjectOperator {
    fn on_batch(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<()> {
        let Evaluated { batch, columns } = evaluate_or_bury(&self.spec.exprs, batch, &self.context, out)?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.n_rows()));
        let rows = RecordBatch::try_new_with_options(self.spec.schema.clone(), columns, &options)?;
        out.emit(batch.with_rows(rows));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{expr, run, schema};
    use expect_test::expect;

    fn project(exprs: &[(&str, &str)], columns: &str) -> (Project, SchemaRef) {
        let input = schema(columns);
        let exprs = exprs.iter().map(|(sql, name)| (expr(sql, &input), (*name).to_owned())).collect();
        (Project::new(exprs, &input).expect("a projection"), input)
    }

    #[test]
    fn computes_columns_and_keeps_multiplicities() {
        let (project, input) = project(&[("a + b", "sum"), ("b", "b")], "a int, b int");
        expect!["project [a + b AS sum, b]"].assert_eq(&project.describe());
        let output = run(&project, &[input], "+ 1 2\n- 3 4\n+3 _ 1");
        expect![[r#"
            + 3 2
            - 7 4
            +3 _ 1
        "#]]
        .assert_eq(&output);
    }

    #[test]
    fn rows_on_which_an_expression_fails_become_dead_letters_and_the_rest_goes_on() {
        let (project, input) = project(&[("a / b", "q"), ("CAST(s AS INT)", "n")], "a int, b int, s text");
        let script = "+ 6 2 7\n+ 6 0 7\n+ 8 2 x\n+ 9 3 1\n\n- 6 0 7\n- 9 3 1\n\n+ 1 0 1";
        let output = run(&project, &[input], script);
        expect![[r#"
            + 3 7
            + 3 1
            dead letter failed_expression [a, b]: Divide by zero error: {"a":6,"b":0,"s":"7"}
            dead letter failed_expression [s]: Cast error: Cannot cast string 'x' to value of Int32 type: {"a":8,"b":2,"s":"x"}
            - 3 1
            dead letter failed_expression [a, b]: Divide by zero error: {"a":1,"b":0,"s":"1"}
        "#]].assert_eq(&output);
    }
}
