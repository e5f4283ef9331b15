//! Who groups by a part of a window groups by the window, where the part says which window it is: then it can close. It
//! adds the end of the window to such a grouping and takes it off again above. No state.

use super::marks::{Part, function_of, part_of, window_of};
use super::{CUMULATE, SESSION};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable, LogicalPlan, Projection};
use std::sync::Arc;

/// Completes the windows of a grouping.
pub(super) fn with_whole_windows(plan: LogicalPlan) -> Result<LogicalPlan> {
    let LogicalPlan::Aggregate(aggregate) = plan else { return Ok(plan) };
    let input = aggregate.input.schema().clone();
    let fields = aggregate.group_expr.iter().map(|expr| expr.to_field(input.as_ref()).map(|(_, field)| field));
    let fields = fields.collect::<Result<Vec<_>>>()?;
    if aggregate.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_))) {
        return Ok(LogicalPlan::Aggregate(aggregate));
    }
    let can_close = |window: &str| {
        fields.iter().any(|field| window_of(field) == Some(window) || part_of(field) == Some((Part::End, window)))
    };
    let mut ends: Vec<Expr> = Vec::new();
    for field in &fields {
        let Some((part, window)) = part_of(field) else { continue };
        // Several of these windows start together.
        let is_ambiguous = part == Part::Start && matches!(function_of(window), CUMULATE | SESSION);
        if is_ambiguous || can_close(window) {
            continue;
        }
        let end = input.iter().find(|(_, field)| part_of(field) == Some((Part::End, window)));
        if let Some(end) = end.map(|end| Expr::Column(Column::from(end)))
            && !ends.contains(&end)
        {
            ends.push(end);
        }
    }
    if ends.is_empty() {
        return Ok(LogicalPlan::Aggregate(aggregate));
    }
    let columns: Vec<Expr> = aggregate.schema.columns().into_iter().map(Expr::Column).collect();
    let Aggregate { input, mut group_expr, aggr_expr, .. } = aggregate;
    group_expr.extend(ends);
    let whole = LogicalPlan::Aggregate(Aggregate::try_new(input, group_expr, aggr_expr)?);
    Projection::try_new(columns, Arc::new(whole)).map(LogicalPlan::Projection)
}
