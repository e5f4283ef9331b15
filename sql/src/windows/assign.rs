//! The step of a plan that gives rows their windows: `hop` and `cumulate` put a row into several windows or none, a
//! `session` depends on the rows around it. The step adds one column and keeps all others. No state.

use super::SESSION;
use super::calls::{Resolved, as_assignment};
use datafusion::arrow::datatypes::{Field, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, DFSchemaRef, Result, ScalarValue, TableReference};
use datafusion::logical_expr::{
    Aggregate, Expr, ExprSchemable, Extension, LogicalPlan, Projection, UserDefinedLogicalNodeCore,
};
use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

/// Gives each row of its input its windows, in a column at the end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct AssignWindows {
    pub(crate) input: Arc<LogicalPlan>,
    /// `hop`, `cumulate` or `session`.
    pub(crate) function: &'static str,
    pub(crate) time: Expr,
    /// What follows the time: intervals, time zone, origin.
    pub(crate) constants: Vec<ScalarValue>,
    /// What sessions are kept apart by.
    pub(crate) partition: Vec<Expr>,
    call: Expr,
    schema: DFSchemaRef,
}

impl AssignWindows {
    /// Makes it of a resolved call; sessions are kept apart by what follows the gap, and by `partition`.
    fn new(input: Arc<LogicalPlan>, call: Expr, partition: &[Expr]) -> Result<Self> {
        let Some((resolved, args)) = as_assignment(&call) else {
            return datafusion::common::internal_err!("{call} assigns no windows");
        };
        let function = resolved.function();
        let time = args[0].clone();
        let n_constants = if function == SESSION { 1 } else { args.len() - 1 };
        let literal = |arg: &Expr| match arg {
            Expr::Literal(value, _) => Ok(value.clone()),
            other => datafusion::common::plan_err!("an argument of {function} must be a constant, not {other}"),
        };
        let constants = args[1..=n_constants].iter().map(literal).collect::<Result<_>>()?;
        let partition = args[1 + n_constants..].iter().chain(partition).cloned().collect();
        let (_, field) = call.to_field(input.schema().as_ref())?;
        let mut fields: Vec<(Option<TableReference>, FieldRef)> =
            input.schema().iter().map(|(qualifier, field)| (qualifier.cloned(), field.clone())).collect();
        fields.push((None, Arc::new(field.as_ref().clone().with_name(call.schema_name().to_string()))));
        let schema = Arc::new(DFSchema::new_with_metadata(fields, input.schema().metadata().clone())?);
        Ok(Self { input, function, time, constants, partition, call, schema })
    }

    /// Returns the step, if a plan is one.
    pub(crate) fn of(plan: &LogicalPlan) -> Option<&Self> {
        let LogicalPlan::Extension(extension) = plan else { return None };
        extension.node.as_any().downcast_ref()
    }

    /// The name of the column that is added.
    pub(crate) fn window_column(&self) -> Column {
        Column::new_unqualified(self.schema.field(self.n_inputs()).name())
    }

    /// The schema, with the window at the end.
    pub(crate) fn output(&self) -> &DFSchemaRef {
        &self.schema
    }

    /// The column that is added, over rows that may carry other marks than the plan says.
    pub(crate) fn window(&self, input: &DFSchema) -> Result<Field> {
        let (_, field) = self.call.to_field(input)?;
        Ok(field.as_ref().clone().with_name(self.schema.field(self.n_inputs()).name().clone()))
    }

    /// The call with another expression for the time.
    fn with_time(&self, time: Expr) -> Expr {
        let Expr::ScalarFunction(mut call) = self.call.clone() else { return self.call.clone() };
        call.args[0] = time;
        Expr::ScalarFunction(call)
    }

    fn n_inputs(&self) -> usize {
        self.schema.fields().len() - 1
    }
}

impl PartialOrd for AssignWindows {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.call.partial_cmp(&other.call)
    }
}

impl UserDefinedLogicalNodeCore for AssignWindows {
    fn name(&self) -> &str {
        "AssignWindows"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        std::iter::once(&self.time).chain(&self.partition).cloned().collect()
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        let name = |index: usize| self.schema.field(index).name().clone();
        if self.function != SESSION {
            return HashSet::from([name(self.n_inputs())]);
        }
        // Without a row its session is another one, unless the whole partition goes.
        let is_key = |index: &usize| {
            let column = Expr::from(self.schema.qualified_field(*index));
            self.partition.contains(&column)
        };
        (0..=self.n_inputs()).filter(|index| !is_key(index)).map(name).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "AssignWindows: {}", self.call.schema_name())
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let (Some(input), Some((time, partition))) = (inputs.pop(), exprs.split_first()) else {
            return datafusion::common::internal_err!("windows need an input and a time");
        };
        // The name of the column stays, whatever happened to the time.
        let name = self.schema.field(self.n_inputs()).name().clone();
        let call = self.with_time(time.clone());
        let (_, field) = call.to_field(input.schema().as_ref())?;
        let mut fields: Vec<(Option<TableReference>, FieldRef)> =
            input.schema().iter().map(|(qualifier, field)| (qualifier.cloned(), field.clone())).collect();
        fields.push((None, Arc::new(field.as_ref().clone().with_name(name))));
        let schema = Arc::new(DFSchema::new_with_metadata(fields, input.schema().metadata().clone())?);
        let (function, constants) = (self.function, self.constants.clone());
        let (time, partition) = (time.clone(), partition.to_vec());
        Ok(Self { input: Arc::new(input), function, time, constants, partition, call, schema })
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![output_columns.iter().copied().filter(|index| *index < self.n_inputs()).collect()])
    }
}

/// Puts the step below an aggregation or projection that calls `hop`, `cumulate` or `session`; the call becomes the
/// column that the step adds. Returns the call that is left over where it cannot be.
pub(super) fn assign_windows(plan: LogicalPlan) -> Result<(LogicalPlan, Option<&'static str>)> {
    let mut calls: Vec<Expr> = Vec::new();
    let mut last: Option<&'static str> = None;
    for expr in plan.expressions() {
        expr.apply(|expr| {
            if let Some((resolved, _)) = as_assignment(expr) {
                last = Some(Resolved::function(resolved));
                if !calls.contains(expr) {
                    calls.push(expr.clone());
                }
            }
            Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
        })?;
    }
    if calls.is_empty() {
        return Ok((plan, None));
    }
    match plan {
        LogicalPlan::Aggregate(aggregate) => {
            let has_call = |expr: &Expr| expr.exists(|expr| Ok(as_assignment(expr).is_some())).unwrap_or(false);
            let partition: Vec<Expr> =
                aggregate.group_expr.iter().filter(|expr| !has_call(expr)).map(|expr| expr.clone().unalias()).collect();
            let input = assigned(aggregate.input, &calls, &partition)?;
            let group = aggregate.group_expr.into_iter().map(with_columns).collect::<Result<_>>()?;
            let calls = aggregate.aggr_expr.into_iter().map(with_columns).collect::<Result<_>>()?;
            Ok((LogicalPlan::Aggregate(Aggregate::try_new(input, group, calls)?), None))
        }
        LogicalPlan::Projection(projection) => {
            let input = assigned(projection.input, &calls, &[])?;
            let exprs = projection.expr.into_iter().map(with_columns).collect::<Result<_>>()?;
            Ok((LogicalPlan::Projection(Projection::try_new(exprs, input)?), None))
        }
        other => Ok((other, last)),
    }
}

fn assigned(mut input: Arc<LogicalPlan>, calls: &[Expr], partition: &[Expr]) -> Result<Arc<LogicalPlan>> {
    for call in calls {
        let partition = if as_assignment(call).is_some_and(|(resolved, _)| resolved.function() == SESSION) {
            partition
        } else {
            &[]
        };
        let node = Arc::new(AssignWindows::new(input, call.clone(), partition)?);
        input = Arc::new(LogicalPlan::Extension(Extension { node }));
    }
    Ok(input)
}

fn with_columns(expr: Expr) -> Result<Expr> {
    let replaced = expr.transform_down(|expr| {
        Ok(match as_assignment(&expr) {
            Some(_) => {
                let name = expr.schema_name().to_string();
                Transformed::yes(Expr::Column(Column::new_unqualified(name)))
            }
            None => Transformed::no(expr),
        })
    })?;
    Ok(replaced.data)
}
