//! `INTERSECT ALL` and `EXCEPT ALL` with the multiplicities of the standard. DataFusion plans them as joins that keep
//! every left row with a match, or every one without; here they become a node of their own. Without `ALL` the joins
//! are right: their left side has no row twice. No state.

use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, DFSchemaRef, JoinType, NullEquality, Result, plan_err};
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;
use datafusion::logical_expr::{
    Distinct, Expr, Extension, Join, LogicalPlan, LogicalPlanBuilder, UserDefinedLogicalNodeCore, cast,
};
use headwater_operators::SetOperationKind;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Rows of the left as often as the kind says, given how often they are on the right.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct SetOperation {
    pub(crate) kind: SetOperationKind,
    pub(crate) left: LogicalPlan,
    pub(crate) right: LogicalPlan,
    schema: DFSchemaRef,
}

impl SetOperation {
    fn new(kind: SetOperationKind, left: LogicalPlan, right: LogicalPlan) -> Result<Self> {
        let fields = left.schema().iter().zip(right.schema().fields()).map(|((qualifier, field), other)| {
            let nullable = field.is_nullable() || other.is_nullable();
            (qualifier.cloned(), Arc::new(field.as_ref().clone().with_nullable(nullable)))
        });
        let schema = Arc::new(DFSchema::new_with_metadata(fields.collect(), HashMap::new())?);
        Ok(Self { kind, left, right, schema })
    }
}

impl PartialOrd for SetOperation {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let own = (&self.kind, &self.left, &self.right);
        own.partial_cmp(&(&other.kind, &other.left, &other.right)).filter(|o| *o != Ordering::Equal || self == other)
    }
}

impl UserDefinedLogicalNodeCore for SetOperation {
    fn name(&self) -> &str {
        "SetOperation"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.left, &self.right]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SetOperation: {:?}", self.kind)
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        match (inputs.pop(), inputs.pop()) {
            (Some(right), Some(left)) => Self::new(self.kind, left, right),
            _ => plan_err!("a set operation has two inputs"),
        }
    }
}

/// Puts a node of its own in the place of each join that stands for `INTERSECT ALL` or `EXCEPT ALL`. Before any
/// optimization no other join of these kinds holds nulls for equal.
pub(crate) fn with_multiplicities(plan: LogicalPlan) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Join(join) if stands_for_all(&join) => {
            let kind = match join.join_type {
                JoinType::LeftSemi => SetOperationKind::IntersectAll,
                _ => SetOperationKind::ExceptAll,
            };
            let (left, right) = of_one_type(Arc::unwrap_or_clone(join.left), Arc::unwrap_or_clone(join.right))?;
            let node = Arc::new(SetOperation::new(kind, left, right)?);
            Ok(Transformed::yes(LogicalPlan::Extension(Extension { node })))
        }
        other => Ok(Transformed::no(other)),
    });
    Ok(rewritten?.data)
}

fn stands_for_all(join: &Join) -> bool {
    matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti)
        && join.null_equality == NullEquality::NullEqualsNull
        && join.filter.is_none()
        && join.on.len() == join.left.schema().fields().len()
        && !matches!(join.left.as_ref(), LogicalPlan::Distinct(Distinct::All(_)))
}

/// Casts both sides to types that hold the values of either.
fn of_one_type(left: LogicalPlan, right: LogicalPlan) -> Result<(LogicalPlan, LogicalPlan)> {
    let mut types = Vec::with_capacity(left.schema().fields().len());
    for (a, b) in left.schema().fields().iter().zip(right.schema().fields()) {
        let Some(data_type) = comparison_coercion(a.data_type(), b.data_type()) else {
            let (a_type, b_type) = (a.data_type(), b.data_type());
            return plan_err!("Cannot coerce {a_type} and {b_type} to one type in the column '{}'", a.name());
        };
        types.push(data_type);
    }
    let cast_to = |plan: LogicalPlan| {
        if plan.schema().fields().iter().zip(&types).all(|(field, data_type)| field.data_type() == data_type) {
            return Ok(plan);
        }
        let exprs = plan.schema().iter().zip(&types).map(|((qualifier, field), data_type)| {
            let column = Expr::from((qualifier, field));
            match field.data_type() == data_type {
                true => column,
                false => cast(column, data_type.clone()).alias_qualified(qualifier.cloned(), field.name()),
            }
        });
        let exprs: Vec<Expr> = exprs.collect();
        LogicalPlanBuilder::from(plan).project(exprs)?.build()
    };
    Ok((cast_to(left)?, cast_to(right)?))
}
