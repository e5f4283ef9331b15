//! A query's syntax to DataFusion's logical plan, with everything refused that a stream cannot answer. It plans one
//! statement at a time and keeps no state.

use crate::catalog::Context;
use crate::errors::from_datafusion;
use crate::grouping_sets::of_columns;
use crate::optimize::analyzed;
use crate::position::WithPlace;
use crate::refuse::refuse_unsupported;
use crate::set_operations::with_multiplicities;
use crate::settings::Settings;
use crate::subqueries::prepared;
use crate::table::parser_options;
use crate::version_join::make_version_joins;
use crate::windows::resolve_windows;
use datafusion::common::DataFusionError;
use datafusion::common::tree_node::Transformed;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{
    Distinct, DistinctOn, Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, Projection, col, lit,
};
use datafusion::sql::planner::SqlToRel;
use datafusion::sql::sqlparser::ast::{Ident, Query, Statement};
use headwater_core::{Error, Result};
use std::sync::Arc;

/// The function behind `struct.field`.
const GET_FIELD: &str = "get_field";
/// The column that numbers the rows of each group of `DISTINCT ON`.
const ROW_NUMBER: &str = "__row_number";

/// Plans a query.
pub(crate) fn plan_query(query: Box<Query>, settings: &Settings, context: &Context<'_>) -> Result<LogicalPlan> {
    let query = crate::versions::rewrite_versions(query, context)?;
    let query = crate::table_functions::rewrite_table_functions(query, context.place)?;
    let mut query = crate::as_of::rewrite_as_of(query, context.place)?;
    context.catalog.functions.expand(query.as_mut())?;
    refuse_unsupported(&query, context.place)?;
    refuse_unrepeatable(context)?;
    let query = crate::unnest::rewrite_lateral_unnest(query, context.place)?;
    let fail = |error: DataFusionError| from_datafusion(error, context.place, &context.functions.all_names());
    let planner = SqlToRel::new_with_options(context, parser_options());
    let plan = planner.sql_statement_to_plan(Statement::Query(query)).map_err(fail)?;
    let plan = with_multiplicities(plan)
        .and_then(of_columns)
        .and_then(|plan| prepared(plan, context.place))
        // Which times a join yields must be known before windows over it are resolved.
        .and_then(|plan| make_version_joins(plan, context))
        .and_then(|plan| resolve_windows(plan, settings, context.place))
        .and_then(fields_by_name)
        .and_then(first_of_each)
        .map_err(fail)?;
    analyzed(plan, &context.functions.config).map_err(fail)
}

/// Calls a field of a struct that has no alias by the name of the field, as in `SELECT window.start`.
fn fields_by_name(plan: LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
    let LogicalPlan::Projection(projection) = plan else { return Ok(plan) };
    let mut taken: Vec<String> = projection.schema.fields().iter().map(|field| field.name().clone()).collect();
    let mut named = |expr: &Expr| {
        let Expr::ScalarFunction(call) = expr else { return expr.clone() };
        let (GET_FIELD, Some(Expr::Literal(name, _))) = (call.name(), call.args.last()) else { return expr.clone() };
        match name.try_as_str().flatten() {
            Some(name) if !taken.iter().any(|other| other == name) => {
                taken.push(name.to_owned());
                expr.clone().alias(name)
            }
            _ => expr.clone(),
        }
    };
    let exprs = projection.expr.iter().map(&mut named).collect();
    Projection::try_new(exprs, projection.input).map(LogicalPlan::Projection)
}

/// Turns `DISTINCT ON (…)` into the row with number 1 of each group, so that all columns come from one row.
fn first_of_each(plan: LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
    let rewritten = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::Distinct(Distinct::On(on)) = node else { return Ok(Transformed::no(node)) };
        let DistinctOn { on_expr, select_expr, sort_expr, input, schema } = on;
        let number = row_number().partition_by(on_expr);
        let number = match sort_expr {
            Some(order) => number.order_by(order).build()?,
            None => number.build()?,
        };
        let named = select_expr.into_iter().zip(schema.iter()).map(|(expr, (qualifier, field))| {
            if expr.qualified_name() == (qualifier.cloned(), field.name().clone()) {
                return expr;
            }
            expr.alias_qualified(qualifier.cloned(), field.name())
        });
        let first = LogicalPlanBuilder::from(Arc::unwrap_or_clone(input))
            .window(vec![number.alias(ROW_NUMBER)])?
            .filter(col(ROW_NUMBER).lt_eq(lit(1_u64)))?
            .project(named.collect::<Vec<_>>())?
            .build()?;
        Ok(Transformed::yes(first))
    })?;
    Ok(rewritten.data)
}

fn refuse_unrepeatable(context: &Context<'_>) -> Result<()> {
    let words = ["current_time", "localtime"];
    let calls =
        context.functions.unrepeatable.iter().filter_map(|name| Some((name.as_str(), context.place.find_call(name)?)));
    let bare = words.into_iter().filter_map(|name| Some((name, context.place.find_name(name)?)));
    let Some((name, span)) = calls.chain(bare).next() else { return Ok(()) };
    let error =
        Error::invalid(format!("the function {name} has another value at each call, so no result could be corrected"));
    Err(error.with_help("use a column of the row, such as its event time or its id").with_place(span))
}

/// Gives the columns of a view the names that are listed after its own.
pub(crate) fn rename_columns(plan: LogicalPlan, columns: &[Ident], context: &Context<'_>) -> Result<LogicalPlan> {
    if columns.is_empty() {
        return Ok(plan);
    }
    let n_columns = plan.schema().fields().len();
    if n_columns != columns.len() {
        let error = Error::invalid(format!("the view lists {} columns, its query has {n_columns}", columns.len()));
        return Err(crate::errors::at_ident(
            error.with_help("list as many names as the query has columns"),
            &columns[0],
        ));
    }
    let exprs =
        plan.schema().columns().into_iter().zip(columns).map(|(column, ident)| {
            datafusion::logical_expr::Expr::Column(column).alias(crate::parser::normalized(ident))
        });
    let exprs: Vec<_> = exprs.collect();
    let projected = datafusion::logical_expr::LogicalPlanBuilder::from(plan).project(exprs).and_then(|b| b.build());
    projected.map_err(|error| from_datafusion(error, context.place, &[]))
}

/// Checks that no two columns of a result have one name.
pub(crate) fn check_unique_names(plan: &LogicalPlan, context: &Context<'_>) -> Result<()> {
    let mut seen = std::collections::BTreeSet::new();
    for field in plan.schema().fields() {
        if !seen.insert(field.name()) {
            let error = Error::invalid(format!("two columns of the result are called '{}'", field.name()));
            let help = "give one of them another name with AS";
            let span = context.place.find_name(field.name()).unwrap_or_else(|| context.place.start());
            return Err(error.with_help(help).with_place(span));
        }
    }
    Ok(())
}
