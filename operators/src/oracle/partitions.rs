//! Ranks, window functions and filters by the present against batch queries, after every epoch and across restarts.

use super::{Changes, N_CASES, Table, batch_answer, collect, feed, session, wait};
use crate::restarts::{report, restarting};
use crate::testing::{barrier, barrier_at, batch, expr, schema};
use crate::{Compare, OrderBy, Over, OverConfig, TemporalBound, TemporalFilter, TopN, TopNConfig};
use arrow::array::RecordBatch;
use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::{LogicalPlan, WindowFunctionDefinition};
use datafusion::physical_expr::window::WindowExpr;
use datafusion::physical_planner::create_window_expr_with_name;
use headwater_core::{EventTime, Operator, OperatorSpec, Output, Watermark};
use rand::prelude::*;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

const COLUMNS: &str = "k int, v int, w int";
const N_EPOCHS: u64 = 8;
/// Rows that are equal in the order are ordered by all of their columns.
const REST: &str = "k NULLS FIRST, v NULLS FIRST, w NULLS FIRST";

fn check(spec: &dyn OperatorSpec, route: &[usize], sql: &str, changing: bool) {
    let schema = schema(COLUMNS);
    for seed in 0..N_CASES {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut changes = Changes::new(&schema, changing);
        let mut operator = restarting(spec, &[route], seed);
        let (mut out, mut table) = (Output::default(), Table::default());
        for epoch in 1..=N_EPOCHS {
            for _ in 0..rng.random_range(0..3) {
                feed(&mut operator, 0, changes.next(&mut rng), &mut out, &mut table);
            }
            barrier(&mut operator, epoch, &mut out);
            collect(&mut out, &mut table);
            assert_eq!(table, batch_answer(sql, &[("t", changes.table())]), "{sql}, seed {seed}, epoch {epoch}");
        }
    }
    report(sql);
}

fn by_v(descending: bool) -> OrderBy {
    OrderBy { column: 1, options: SortOptions { descending, nulls_first: descending } }
}

#[test]
fn ranks_equal_the_batch_answer() {
    for (descending, skip, fetch) in
        [(true, 0, Some(2)), (false, 1, Some(3)), (false, 0, Some(1)), (true, 2, None), (false, 0, Some(0))]
    {
        for partitioned in [true, false] {
            for (rank, changing) in [(true, true), (false, true), (true, false), (false, false)] {
                let partition_by = if partitioned { vec![0] } else { vec![] };
                let by = if partitioned { "PARTITION BY k" } else { "" };
                let config = TopNConfig {
                    partition_by: partition_by.clone(),
                    order_by: vec![by_v(descending)],
                    skip,
                    fetch,
                    rank: rank.then(|| "n".to_owned()),
                    input_changing: changing,
                    ..TopNConfig::default()
                };
                let spec = TopN::new(config, schema(COLUMNS)).expect("a top-n");
                let direction = if descending { "DESC NULLS FIRST" } else { "ASC NULLS LAST" };
                let last = fetch.map_or(String::new(), |fetch| format!("AND n <= {}", skip + fetch));
                let shown = if rank { "k, v, w, n" } else { "k, v, w" };
                let sql = format!(
                    "SELECT {shown} FROM (SELECT *, row_number() OVER ({by} ORDER BY v {direction}, {REST}) AS n FROM t) \
                     WHERE n > {skip} {last}"
                );
                check(&spec, &partition_by, &sql, changing);
            }
        }
    }
}

/// Plans the window functions of a query, which must share partitioning and order.
fn functions(sql: &str, schema: &SchemaRef) -> Vec<Arc<dyn WindowExpr>> {
    let session = session(&[("t", RecordBatch::new_empty(schema.clone()))]);
    let state = session.state();
    let plan = wait(state.create_logical_plan(sql)).expect(sql);
    let mut plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {}).expect(sql);
    while !matches!(plan, LogicalPlan::Window(_)) {
        plan = plan.inputs().first().copied().expect("window functions").clone();
    }
    let LogicalPlan::Window(window) = plan else { unreachable!("the loop ends at one") };
    let functions = window.window_expr.iter().map(|expr| {
        let datafusion::logical_expr::Expr::WindowFunction(call) = expr.clone().unalias() else {
            panic!("no window function: {expr}")
        };
        assert!(matches!(call.fun, WindowFunctionDefinition::WindowUDF(_) | WindowFunctionDefinition::AggregateUDF(_)));
        let (name, properties) = (expr.schema_name().to_string(), ExecutionProps::new());
        create_window_expr_with_name(expr, name, window.input.schema(), &properties, &Default::default()).expect(sql)
    });
    functions.collect()
}

fn check_over(function: &str, order: &str, order_by: Vec<OrderBy>, changing: bool) {
    let input = schema(COLUMNS);
    for partitioned in [true, false] {
        let by = if partitioned { "PARTITION BY k" } else { "" };
        let call = function.replace("OVER (", &format!("OVER ({by} {order} "));
        let sql = format!("SELECT k, v, w, {call} FROM t");
        let partition_by = if partitioned { vec![0] } else { vec![] };
        let config = OverConfig {
            partition_by: partition_by.clone(),
            order_by: order_by.clone(),
            functions: functions(&sql, &input),
            ..OverConfig::default()
        };
        check(&Over::new(config, input.clone()).expect("window functions"), &partition_by, &sql, changing);
    }
}

#[test]
fn window_functions_equal_the_batch_answer() {
    let whole = format!("ORDER BY v ASC NULLS LAST, {REST}");
    for function in [
        "row_number() OVER ()",
        "lag(v, 2) OVER ()",
        "sum(w) OVER (ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING)",
        "avg(w) OVER (ROWS UNBOUNDED PRECEDING)",
        "last_value(w) OVER (ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)",
    ] {
        check_over(function, &whole, vec![by_v(false)], true);
    }
    for function in ["rank() OVER ()", "dense_rank() OVER ()", "count(*) OVER ()", "percent_rank() OVER ()"] {
        for changing in [true, false] {
            check_over(function, "ORDER BY v ASC NULLS LAST", vec![by_v(false)], changing);
        }
    }
    check_over("sum(v) OVER ()", "", Vec::new(), true);
}

fn present(compare: Compare, present: &str, input: &SchemaRef) -> TemporalBound {
    let value = expr("t", input);
    TemporalBound { value, compare, present: expr(present, &TemporalFilter::present()) }
}

/// Rows by the present: they come, stay for a while, and leave. Without `changing` no two rows are equal, and the state
/// may go to anybody.
fn check_present(leaves: bool, changing: bool) {
    let input = schema("id int, t time, v int");
    let mut bounds = vec![present(Compare::LessOrEqual, "\"now()\"", &input)];
    if leaves {
        bounds.push(present(Compare::Greater, "\"now()\" - INTERVAL '4 nanoseconds'", &input));
    }
    let spec = TemporalFilter::new(bounds, input.clone()).expect("a filter");
    let spec = if changing { spec.over_changes() } else { spec };
    for seed in 0..2 * N_CASES {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut operator = restarting(&spec, &[&[0, 1, 2]], seed);
        let (mut out, mut table) = (Output::default(), Table::default());
        let mut there: Vec<Vec<Option<String>>> = Vec::new();
        let mut n = 0;
        for now in 1..=14 {
            let mut rows = Vec::new();
            for _ in 0..rng.random_range(0..6) {
                if changing && !there.is_empty() && rng.random_bool(0.4) {
                    rows.push((-1, there.swap_remove(rng.random_range(0..there.len()))));
                    continue;
                }
                n += 1;
                let id = if changing { rng.random_range(0..3) } else { n };
                let time = rng.random_bool(0.9).then(|| rng.random_range(now..now + 6).to_string());
                let row = vec![Some(id.to_string()), time, Some(rng.random_range(0..2).to_string())];
                there.push(row.clone());
                rows.push((1, row));
            }
            if !rows.is_empty() {
                feed(&mut operator, 0, batch(&input, &rows), &mut out, &mut table);
            }
            operator.on_watermark(Watermark::At(EventTime(now)), &mut out).expect("a good watermark");
            barrier_at(&mut operator, now, &mut out);
            collect(&mut out, &mut table);
            let rest = if leaves { format!("AND CAST(t AS BIGINT) > {}", now - 4) } else { String::new() };
            let sql = format!("SELECT * FROM t WHERE CAST(t AS BIGINT) <= {now} {rest}");
            let all: Vec<_> = there.iter().map(|row| (1, row.clone())).collect();
            let expected = batch_answer(&sql, &[("t", batch(&input, &all).rows)]);
            assert_eq!(table, expected, "leaves {leaves}, changing {changing}, seed {seed}, now {now}");
        }
    }
    report("filters by the present");
}

#[test]
fn filters_by_the_present_equal_the_batch_answer() {
    for leaves in [true, false] {
        for changing in [true, false] {
            check_present(leaves, changing);
        }
    }
}
