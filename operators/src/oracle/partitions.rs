//! Ranks, window functions and filters by the present against batch queries, after every epoch and across restarts.

use super::{Changes, N_CASES, Table, aggregate, batch_answer, collect, feed, session, wait};
use crate::restarts::{report, restarting};
use crate::testing::{barrier, barrier_at, batch, context, expr, schema};
use crate::{Compare, OrderBy, Over, OverConfig, TemporalBound, TemporalFilter, TopN, TopNConfig};
use arrow::array::RecordBatch;
use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::{LogicalPlan, WindowFunctionDefinition};
use datafusion::physical_expr::window::WindowExpr;
use datafusion::physical_planner::create_window_expr_with_name;
use headwater_core::{Epoch, EventTime, Operator, OperatorSpec, Output, Watermark};
use rand::prelude::*;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

const COLUMNS: &str = "k int, v int, w int";
const N_EPOCHS: u64 = 6;
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

fn check_ranks(descending: bool, (skip, fetch): (u64, Option<u64>), partitioned: bool, rank: bool, changing: bool) {
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

#[test]
fn ranks_equal_the_batch_answer() {
    for changing in [true, false] {
        check_ranks(true, (0, Some(2)), true, true, changing);
        check_ranks(false, (1, Some(3)), true, false, changing);
        check_ranks(false, (1, Some(3)), false, true, changing);
        check_ranks(false, (0, Some(1)), true, false, changing);
    }
    check_ranks(true, (2, None), true, true, true);
    check_ranks(false, (0, Some(0)), false, false, true);
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
    for seed in 0..N_CASES {
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

/// Partitions that belong to windows, of which some rows come too late: what was not refused is shown, once.
fn check_closing(spec: &dyn OperatorSpec, sql: &str) {
    let input = schema(ENDING);
    for seed in 0..N_CASES {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut operator = restarting(spec, &[&[0]], seed);
        let (mut out, mut table) = (Output::default(), Table::default());
        let mut there: Vec<Vec<Option<String>>> = Vec::new();
        for epoch in 1..=N_EPOCHS {
            let time = i64::try_from(epoch).expect("small") * 5;
            for _ in 0..rng.random_range(0..8) {
                let end = (time / 10 + rng.random_range(-1..3)) * 10;
                let end = rng.random_bool(0.95).then(|| end.to_string());
                let number = |rng: &mut ChaCha8Rng| Some(rng.random_range(0..4).to_string());
                let row = vec![number(&mut rng), end, number(&mut rng)];
                operator.on_batch(0, batch(&input, &[(1, row.clone())]), &mut out).expect("a good batch");
                if out.take_dead_letters().is_empty() {
                    there.push(row);
                }
            }
            let time = if epoch == N_EPOCHS { i64::MAX } else { time };
            operator.on_watermark(Watermark::At(EventTime(time)), &mut out).expect("a good watermark");
            barrier(&mut operator, epoch, &mut out);
            collect(&mut out, &mut table);
        }
        let rows: Vec<_> = there.into_iter().map(|row| (1, row)).collect();
        assert_eq!(table, batch_answer(sql, &[("t", batch(&input, &rows).rows)]), "{sql}, seed {seed}");
        assert_eq!(operator.state_size().rows, 0, "state is left: {sql}");
    }
    report(sql);
}

const ENDING: &str = "k int, e time, v int";

#[test]
fn partitions_of_windows_equal_the_batch_answer() {
    let input = schema(ENDING);
    let order = OrderBy { column: 2, options: SortOptions { descending: false, nulls_first: false } };
    let config = TopNConfig {
        partition_by: vec![0, 1],
        order_by: vec![order],
        fetch: Some(2),
        closing: Some(1),
        ..TopNConfig::default()
    };
    let ranked = "row_number() OVER (PARTITION BY k, e ORDER BY v NULLS LAST)";
    let top = TopN::new(config, input.clone()).expect("a top-n");
    check_closing(&top, &format!("SELECT k, e, v FROM (SELECT *, {ranked} AS n FROM t) WHERE n <= 2"));
    let sql = "SELECT k, e, v, rank() OVER (PARTITION BY k, e ORDER BY v NULLS LAST) FROM t";
    let config = OverConfig {
        partition_by: vec![0, 1],
        order_by: vec![order],
        functions: functions(sql, &input),
        closing: Some(1),
        ..OverConfig::default()
    };
    check_closing(&Over::new(config, input).expect("window functions"), sql);
}

/// What is forgotten after a while, and rows that are taken back after that: the same with and without restarts.
fn check_forgetting(spec: &dyn OperatorSpec, changing: bool) {
    let schema = schema(COLUMNS);
    for seed in 0..2 * N_CASES {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut changes = Changes::new(&schema, changing);
        let mut operator = restarting(spec, &[&[0]], seed);
        let (mut out, mut table) = (Output::default(), Table::default());
        let mut now = 0;
        for _ in 0..2 * N_EPOCHS {
            if rng.random_bool(0.4) {
                feed(&mut operator, 0, changes.next(&mut rng), &mut out, &mut table);
            }
            now += rng.random_range(1..6);
            // The harness holds it against one that is never interrupted.
            barrier_at(&mut operator, now, &mut out);
            collect(&mut out, &mut table);
        }
    }
    report("what is forgotten");
}

#[test]
fn what_is_forgotten_is_forgotten_across_restarts() {
    let input = schema(COLUMNS);
    let (partition_by, order_by, ttl_ns) = (vec![0], vec![by_v(false)], Some(9));
    let sql = format!("SELECT k, v, w, sum(w) OVER (PARTITION BY k ORDER BY v ASC NULLS LAST, {REST}) FROM t");
    for changing in [true, false] {
        let group = aggregate("SELECT k, count(*), sum(v), max(w), count(DISTINCT w) FROM t GROUP BY k", &input);
        let group = if changing { group.over_changes() } else { group };
        check_forgetting(&group.forgetting(ttl_ns), changing);
        let (partition_by, order_by) = (partition_by.clone(), order_by.clone());
        let config = TopNConfig {
            partition_by: partition_by.clone(),
            order_by: order_by.clone(),
            fetch: Some(2),
            input_changing: changing,
            ttl_ns,
            ..TopNConfig::default()
        };
        check_forgetting(&TopN::new(config, input.clone()).expect("a top-n"), changing);
        let functions = functions(&sql, &input);
        let config = OverConfig { partition_by, order_by, functions, closing: None, ttl_ns };
        check_forgetting(&Over::new(config, input.clone()).expect("window functions"), changing);
    }
}

/// Takes everything over from some operators, as one subtask after a restart.
fn taken_over(spec: &dyn OperatorSpec, former: &mut [Box<dyn Operator>]) -> Box<dyn Operator> {
    let mut one = spec.build(&context().with_restored(Some(Epoch(1)))).expect("the operator builds");
    for operator in former {
        for table in operator.snapshot().expect("a snapshot").tables {
            one.restore(table.name, table.rows).expect("its own rows");
        }
    }
    one.restore_end().expect("rows that fit each other");
    one
}

#[test]
fn equal_rows_of_two_subtasks_become_one() {
    let input = schema("id int, t time, v int");
    let bound = present(Compare::Greater, "\"now()\" - INTERVAL '4 nanoseconds'", &input);
    let spec = TemporalFilter::new(vec![bound], input.clone()).expect("a filter");
    let row: Vec<Option<String>> = ["1", "5", "1"].map(|value| Some(value.to_owned())).to_vec();
    let mut out = Output::default();
    let build = |number| spec.build(&context().with_subtask(number, 2)).expect("the operator builds");
    let mut two = vec![build(0), build(1)];
    for operator in &mut two {
        operator.on_batch(0, batch(&input, &[(1, row.clone())]), &mut out).expect("a good batch");
        barrier_at(operator.as_mut(), 5, &mut out);
    }
    out.take_messages();
    let mut one = taken_over(&spec, &mut two);
    assert_eq!(one.state_size().rows, 1);
    // The name that is not needed any more is removed, and what is known by the other is written anew.
    let [table] = &one.snapshot().expect("a snapshot").tables[..] else { panic!("one table") };
    let n_removed = table.removed.as_ref().map(RecordBatch::num_rows);
    assert_eq!((table.rows.num_rows(), n_removed), (1, Some(1)));
    barrier_at(one.as_mut(), 8, &mut out);
    assert!(out.take_messages().is_empty());
    barrier_at(one.as_mut(), 9, &mut out);
    let mut table = Table::default();
    collect(&mut out, &mut table);
    assert_eq!(table.0.values().copied().collect::<Vec<i64>>(), [-2]);
}

#[test]
fn what_accumulators_point_to_is_counted_and_given_back() {
    let input = schema(COLUMNS);
    let spec = aggregate("SELECT k, array_agg(v) FROM t GROUP BY k", &input).forgetting(Some(10));
    let mut operator = spec.build(&context()).expect("the operator builds");
    let mut out = Output::default();
    let row = vec![Some("1".to_owned()), Some("2".to_owned()), None];
    let mut sizes = Vec::new();
    for n in [1, 10_000] {
        let rows: Vec<_> = std::iter::repeat_n((1, row.clone()), n).collect();
        operator.on_batch(0, batch(&input, &rows), &mut out).expect("a good batch");
        barrier_at(operator.as_mut(), 1, &mut out);
        sizes.push(operator.state_size().bytes);
    }
    // Ten thousand numbers of eight bytes, whose value was also shown; without them the group is small.
    assert!(sizes[1] > sizes[0] + 2 * 80_000, "{sizes:?}");
    let mut one = taken_over(&spec, &mut [operator]);
    let kept = one.state_size().bytes;
    assert!(kept > 2 * 80_000, "{kept} after a restart");
    barrier_at(one.as_mut(), 100, &mut out);
    assert!(one.state_size().bytes < sizes[0], "{sizes:?}, and {} in the end", one.state_size().bytes);
}
