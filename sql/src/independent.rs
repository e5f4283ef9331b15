//! What unnesting does to what is known of columns: where one column determined another, it no longer does once a list
//! of the row has become rows. DataFusion keeps such dependencies above an `UNNEST` and then leaves out columns of a
//! `GROUP BY` or an order that matter. Here a node without dependencies is put above it; it computes nothing, and
//! lowering looks through it. No state.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, DFSchemaRef, FunctionalDependencies, Result, plan_err};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore};
use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

/// The rows of its input, of which no column determines another.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Independent {
    pub(crate) input: LogicalPlan,
    schema: DFSchemaRef,
}

impl Independent {
    fn new(input: LogicalPlan) -> Result<Self> {
        let schema: DFSchema = input.schema().as_ref().clone();
        let schema = Arc::new(schema.with_functional_dependencies(FunctionalDependencies::empty())?);
        Ok(Self { input, schema })
    }
}

impl PartialOrd for Independent {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.input.partial_cmp(&other.input)
    }
}

impl UserDefinedLogicalNodeCore for Independent {
    fn name(&self) -> &str {
        "Independent"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        HashSet::new()
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![output_columns.to_vec()])
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Independent")
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        match (inputs.pop(), inputs.is_empty()) {
            (Some(input), true) => Self::new(input),
            _ => plan_err!("a node of one input"),
        }
    }
}

/// Puts a node without dependencies above each `UNNEST` that has some.
pub(crate) fn independent(plan: LogicalPlan) -> Result<LogicalPlan> {
    let is_dependent = |node: &LogicalPlan| matches!(node, LogicalPlan::Unnest(unnest) if unnest.schema.functional_dependencies().iter().next().is_some());
    if !plan.exists(|node| Ok(is_dependent(node)))? {
        return Ok(plan);
    }
    let rewritten = plan.transform_up_with_subqueries(|node| {
        if is_dependent(&node) {
            let node = Arc::new(Independent::new(node)?);
            return Ok(Transformed::yes(LogicalPlan::Extension(Extension { node })));
        }
        // What was known below is known above until the schema is made anew.
        Ok(Transformed::yes(node.recompute_schema()?))
    })?;
    Ok(rewritten.data)
}
