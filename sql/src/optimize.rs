//! The rules of DataFusion that a stream can live with: types are made to fit, subqueries become joins, filters and
//! projections move towards the sources. Rules that sort, limit, count on bounded input or ask for the current time
//! are left out. No state.

use crate::grouping_sets::expanded;
use crate::independent::independent;
use crate::subqueries::{Domains, LateralRows, Marks};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::analyzer::Analyzer;
use datafusion::optimizer::common_subexpr_eliminate::CommonSubexprEliminate;
use datafusion::optimizer::decorrelate_lateral_join::DecorrelateLateralJoin;
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::eliminate_cross_join::EliminateCrossJoin;
use datafusion::optimizer::eliminate_duplicated_expr::EliminateDuplicatedExpr;
use datafusion::optimizer::eliminate_filter::EliminateFilter;
use datafusion::optimizer::eliminate_join::EliminateJoin;
use datafusion::optimizer::eliminate_outer_join::EliminateOuterJoin;
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::filter_null_join_keys::FilterNullJoinKeys;
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::optimize_unions::OptimizeUnions;
use datafusion::optimizer::propagate_empty_relation::PropagateEmptyRelation;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::replace_distinct_aggregate::ReplaceDistinctWithAggregate;
use datafusion::optimizer::rewrite_set_comparison::RewriteSetComparison;
use datafusion::optimizer::scalar_subquery_to_join::ScalarSubqueryToJoin;
use datafusion::optimizer::simplify_expressions::{ExprSimplifier, SimplifyExpressions};
use datafusion::optimizer::{Optimizer, OptimizerContext, OptimizerRule};
use std::sync::Arc;

/// Makes types fit: only then are the types of a query's columns known.
pub(crate) fn analyzed(plan: LogicalPlan, config: &Arc<ConfigOptions>) -> Result<LogicalPlan> {
    Analyzer::new().execute_and_check(plan, config, |_, _| {})
}

/// Makes types fit and applies the rules.
pub(crate) fn optimized(plan: LogicalPlan, config: &Arc<ConfigOptions>) -> Result<LogicalPlan> {
    let plan = independent(analyzed(plan, config)?)?;
    let rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = vec![
        Arc::new(RewriteSetComparison::new()),
        Arc::new(OptimizeUnions::new()),
        Arc::new(SimplifyExpressions::new()),
        Arc::new(ReplaceDistinctWithAggregate::new()),
        Arc::new(EliminateJoin::new()),
        Arc::new(LateralRows),
        Arc::new(Domains { first: true }),
        Arc::new(Marks),
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(ScalarSubqueryToJoin::new()),
        Arc::new(DecorrelateLateralJoin::new()),
        Arc::new(Domains { first: false }),
        Arc::new(ExtractEquijoinPredicate::new()),
        Arc::new(EliminateDuplicatedExpr::new()),
        Arc::new(EliminateFilter::new()),
        Arc::new(EliminateCrossJoin::new()),
        Arc::new(PropagateEmptyRelation::new()),
        Arc::new(FilterNullJoinKeys::default()),
        Arc::new(EliminateOuterJoin::new()),
        Arc::new(PushDownFilter::new()),
        Arc::new(CommonSubexprEliminate::new()),
        Arc::new(OptimizeProjections::new()),
    ];
    let context = OptimizerContext::new_with_config_options(config.clone()).without_query_execution_start_time();
    let plan = Optimizer::with_rules(rules).optimize(plan, &context, |_, _| {})?;
    expanded(plan)
}

/// Makes the types of one expression fit, and computes what is constant in it.
pub(crate) fn coerced(expr: Expr, schema: &DFSchema, config: &Arc<ConfigOptions>) -> Result<Expr> {
    let context =
        SimplifyContext::builder().with_schema(Arc::new(schema.clone())).with_config_options(config.clone()).build();
    let simplifier = ExprSimplifier::new(context);
    let expr = simplifier.coerce(expr, schema)?;
    simplifier.simplify(expr)
}

/// Returns the calls of aggregate functions in expressions, each once.
pub(crate) fn aggregates_of<'a>(exprs: impl IntoIterator<Item = &'a Expr>) -> Vec<Expr> {
    datafusion::logical_expr::utils::find_aggregate_exprs(exprs)
}
