//! The oracle: whatever changes went in, what an operator has emitted after a barrier adds up to what DataFusion
//! computes in one go over the rows that are there.
//!
//! It never looks into an operator: it plans SQL, feeds random changes, and compares tables.

use crate::testing::{barrier, batch, context, print};
use crate::{Aggregate, AggregateCall, Emit, Join, JoinConfig, JoinKind, Late, Windowing};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::DFSchema;
use datafusion::datasource::MemTable;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::aggregate::LoweredAggregateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use headwater_core::{Batch, EventTime, Message, Operator, OperatorSpec, Output, Watermark};
use rand::prelude::*;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::runtime::Builder;

/// How many barriers a case has.
const N_EPOCHS: u64 = 4;
/// How many cases each query is tried on.
const N_CASES: u64 = 12;

fn wait<T>(future: impl Future<Output = T>) -> T {
    Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

/// A table as a multiset of printed rows.
#[derive(Default, Debug, PartialEq, Clone)]
struct Table(BTreeMap<String, i64>);

impl Table {
    fn apply(&mut self, changes: &Batch) {
        for row in 0..changes.n_rows() {
            let text = print(&Batch::append_only(changes.rows.slice(row, 1)));
            let count = self.0.entry(text.clone()).or_default();
            *count += changes.diff(row);
            if *count == 0 {
                self.0.remove(&text);
            }
        }
    }
}

/// Random rows with deletions of rows that are there.
struct Changes {
    schema: SchemaRef,
    there: Vec<Vec<Option<String>>>,
    changing: bool,
}

impl Changes {
    fn new(schema: &SchemaRef, changing: bool) -> Self {
        Self { schema: schema.clone(), there: Vec::new(), changing }
    }

    fn next(&mut self, rng: &mut ChaCha8Rng) -> Batch {
        let mut rows = Vec::new();
        for _ in 0..rng.random_range(1..8) {
            if self.changing && !self.there.is_empty() && rng.random_bool(0.45) {
                let gone = rng.random_range(0..self.there.len());
                rows.push((-1, self.there.swap_remove(gone)));
            } else {
                let value =
                    |rng: &mut ChaCha8Rng, n: i64| rng.random_bool(0.85).then(|| rng.random_range(0..n).to_string());
                let row: Vec<_> =
                    (0..self.schema.fields().len()).map(|column| value(rng, if column == 0 { 3 } else { 6 })).collect();
                self.there.push(row.clone());
                rows.push((1, row));
            }
        }
        batch(&self.schema, &rows)
    }

    fn table(&self) -> RecordBatch {
        let rows: Vec<_> = self.there.iter().map(|row| (1, row.clone())).collect();
        batch(&self.schema, &rows).rows
    }
}

fn session(tables: &[(&str, RecordBatch)]) -> SessionContext {
    let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    for function in crate::functions::all() {
        session.register_udf(function.as_ref().clone());
    }
    for (name, rows) in tables {
        let table = MemTable::try_new(rows.schema(), vec![vec![rows.clone()]]).expect("a table");
        session.register_table(*name, Arc::new(table)).expect("a new name");
    }
    session
}

fn batch_answer(sql: &str, tables: &[(&str, RecordBatch)]) -> Table {
    let rows = wait(async { session(tables).sql(sql).await.expect(sql).collect().await.expect(sql) });
    let mut table = Table::default();
    for rows in rows {
        table.apply(&Batch::append_only(rows));
    }
    table
}

/// Answers a query without tables, one line per row.
pub(crate) fn print_query(sql: &str) -> String {
    batch_answer(sql, &[]).0.into_keys().collect()
}

/// Returns why a query is refused, in one line.
pub(crate) fn refusal(sql: &str) -> String {
    let planned = wait(async { session(&[]).sql(sql).await.and_then(|frame| frame.into_optimized_plan()) });
    let text = planned.expect_err(sql).find_root().strip_backtrace();
    text.lines().next().unwrap_or_default().to_owned()
}

/// Finds the aggregation in `SELECT … FROM t GROUP BY …` and makes an operator of it. The select list must be the
/// group columns and then the calls.
pub(crate) fn aggregate(sql: &str, input: &SchemaRef) -> Aggregate {
    let session = session(&[("t", RecordBatch::new_empty(input.clone()))]);
    let state = session.state();
    let plan = wait(state.create_logical_plan(sql)).expect(sql);
    let mut plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {}).expect(sql);
    while !matches!(plan, LogicalPlan::Aggregate(_)) {
        plan = plan.inputs().first().copied().expect("an aggregation").clone();
    }
    let LogicalPlan::Aggregate(plan) = plan else { unreachable!("the loop ends at one") };
    let logical: &DFSchema = plan.input.schema();
    let group = plan.group_expr.iter().map(|expr| {
        let physical = session.create_physical_expr(expr.clone(), logical).expect("a physical expression");
        (physical, expr.schema_name().to_string())
    });
    let calls = plan.aggr_expr.iter().map(|expr| {
        let lowered =
            LoweredAggregateBuilder::new(expr, logical, input, state.execution_props(), &Default::default()).build();
        let lowered = lowered.expect("a physical aggregate");
        AggregateCall { name: lowered.aggregate.name().to_owned(), function: lowered.aggregate, filter: lowered.filter }
    });
    Aggregate::new(input, group.collect(), calls.collect()).expect("an aggregation")
}

fn feed(operator: &mut dyn Operator, input: usize, batch: Batch, out: &mut Output, table: &mut Table) {
    operator.on_batch(input, batch, out).expect("a good batch");
    collect(out, table);
}

fn collect(out: &mut Output, table: &mut Table) {
    for message in out.take_messages() {
        match message {
            Message::Batch(batch) => table.apply(&batch),
            Message::Watermark(_) => {}
            Message::Barrier(_) | Message::End => panic!("an operator must not emit {message:?}"),
        }
    }
    assert_eq!(out.take_dead_letters(), []);
}

fn check_aggregate(sql: &str, columns: &str, changing: bool) {
    let schema = crate::testing::schema(columns);
    let spec = aggregate(sql, &schema);
    let spec = if changing { spec.over_changes() } else { spec };
    for seed in 0..N_CASES {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut changes = Changes::new(&schema, changing);
        let mut operator = spec.build(&context()).expect("the operator builds");
        let (mut out, mut table) = (Output::default(), Table::default());
        for epoch in 1..=N_EPOCHS {
            for _ in 0..rng.random_range(0..4) {
                feed(operator.as_mut(), 0, changes.next(&mut rng), &mut out, &mut table);
            }
            barrier(operator.as_mut(), epoch, &mut out);
            collect(&mut out, &mut table);
            assert_eq!(table, batch_answer(sql, &[("t", changes.table())]), "{sql}, seed {seed}, epoch {epoch}");
        }
    }
}

/// Aggregates whose value does not depend on the order of rows.
const CALLS: &str = "count(*), count(v), sum(v), avg(v), min(v), max(v), count(distinct v), sum(distinct v), \
    sum(v) FILTER (WHERE w > 2), min(w) FILTER (WHERE v > 1), array_agg(v ORDER BY v, w), median(v), \
    approx_distinct(v), bit_xor(v), bool_or(v > 4), string_agg(v, ',' ORDER BY v DESC), \
    first_value(w ORDER BY v, w), last_value(w ORDER BY v NULLS FIRST, w), nth_value(w, 2 ORDER BY v, w)";

#[test]
fn grouped_aggregates_equal_the_batch_answer_over_changes() {
    check_aggregate(&format!("SELECT k, {CALLS} FROM t GROUP BY k"), "k int, v int, w int", true);
}

#[test]
fn grouped_aggregates_equal_the_batch_answer_over_insertions() {
    check_aggregate(&format!("SELECT k, {CALLS} FROM t GROUP BY k"), "k int, v int, w int", false);
}

#[test]
fn global_aggregates_equal_the_batch_answer() {
    for changing in [true, false] {
        check_aggregate(&format!("SELECT {CALLS} FROM t"), "k int, v int, w int", changing);
    }
}

#[test]
fn other_types_equal_the_batch_answer() {
    let calls =
        "sum(d), avg(d), min(d), max(s), sum(f), avg(f), stddev(f), percentile_cont(0.5) WITHIN GROUP (ORDER BY f)";
    for changing in [true, false] {
        check_aggregate(
            &format!("SELECT k, s, {calls} FROM t GROUP BY k, s"),
            "k text, s text, d decimal, f float",
            changing,
        );
    }
}

#[test]
fn distinct_rows_equal_the_batch_answer() {
    check_aggregate("SELECT k, v FROM t GROUP BY k, v", "k int, v int", true);
}

/// Feeds rows out of order, but never behind the watermark; once the input has ended, what is shown is the answer.
fn check_windows(emit: Emit, late: Late, changing: bool) {
    let schema = crate::testing::schema("t time, v int");
    let window = "tumble(t, INTERVAL '7 nanoseconds')";
    let sql = format!("SELECT {window}, v % 2, count(*), max(v), sum(v) FROM t GROUP BY {window}, v % 2");
    let spec = aggregate(&sql, &schema).windowed(Windowing { column: 0, emit, late }).expect("a window");
    let spec = if changing { spec.over_changes() } else { spec };
    for seed in 0..N_CASES {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut operator = spec.build(&context()).expect("the operator builds");
        let (mut out, mut table) = (Output::default(), Table::default());
        let mut there: Vec<Vec<Option<String>>> = Vec::new();
        for epoch in 1..=8 {
            let watermark = epoch * 5;
            for _ in 0..rng.random_range(0..4) {
                let mut rows = Vec::new();
                for _ in 0..rng.random_range(1..5) {
                    if changing && !there.is_empty() && rng.random_bool(0.3) {
                        rows.push((-1, there.swap_remove(rng.random_range(0..there.len()))));
                    } else {
                        let time = watermark - 4 + rng.random_range(0..20);
                        let row = vec![Some(time.to_string()), Some(rng.random_range(0..9).to_string())];
                        there.push(row.clone());
                        rows.push((1, row));
                    }
                }
                feed(operator.as_mut(), 0, batch(&schema, &rows), &mut out, &mut table);
            }
            let watermark = Watermark::At(EventTime(if epoch == 8 { i64::MAX } else { watermark }));
            operator.on_watermark(watermark, &mut out).expect("a good watermark");
            collect(&mut out, &mut table);
            barrier(operator.as_mut(), epoch as u64, &mut out);
            collect(&mut out, &mut table);
        }
        let rows: Vec<_> = there.into_iter().map(|row| (1, row)).collect();
        assert_eq!(table, batch_answer(&sql, &[("t", batch(&schema, &rows).rows)]), "{emit:?}, {late:?}, seed {seed}");
    }
}

#[test]
fn windows_equal_the_batch_answer_when_no_row_is_late() {
    let long = Late::Update { allowed_lateness_ns: 1_000 };
    for emit in [Emit::Final, Emit::Changes] {
        check_windows(emit, Late::DeadLetter, false);
        check_windows(emit, long, false);
        check_windows(emit, long, true);
    }
}

fn check_join(kind: JoinKind, keyword: &str, with_filter: bool, changing: bool) {
    let (left, right) = (crate::testing::schema("a int, b int"), crate::testing::schema("c int, d int"));
    let both = crate::testing::schema("a int, b int, c int, d int");
    let on = vec![(crate::testing::expr("a", &left), crate::testing::expr("c", &right))];
    let filter = with_filter.then(|| crate::testing::expr("b < d", &both));
    let config = JoinConfig {
        kind,
        left: left.clone(),
        right: right.clone(),
        on,
        filter,
        null_equals_null: false,
        inputs_changing: changing,
    };
    let spec = Join::new(config).expect("a join");
    let filter = if with_filter { "AND b < d" } else { "" };
    let sql = format!("SELECT * FROM l {keyword} JOIN r ON a = c {filter}");
    for seed in 0..N_CASES {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut changes = [Changes::new(&left, changing), Changes::new(&right, changing)];
        let mut operator = spec.build(&context()).expect("the operator builds");
        let (mut out, mut table) = (Output::default(), Table::default());
        for step in 0..2 * N_EPOCHS {
            let input = rng.random_range(0..2);
            feed(operator.as_mut(), input, changes[input].next(&mut rng), &mut out, &mut table);
            let tables = [("l", changes[0].table()), ("r", changes[1].table())];
            assert_eq!(table, batch_answer(&sql, &tables), "{sql}, seed {seed}, step {step}");
        }
    }
}

#[test]
fn joins_equal_the_batch_answer() {
    let kinds = [
        (JoinKind::Inner, "INNER"),
        (JoinKind::Left, "LEFT"),
        (JoinKind::Right, "RIGHT"),
        (JoinKind::Full, "FULL"),
        (JoinKind::LeftSemi, "LEFT SEMI"),
        (JoinKind::LeftAnti, "LEFT ANTI"),
    ];
    for (kind, keyword) in kinds {
        for with_filter in [false, true] {
            check_join(kind, keyword, with_filter, true);
        }
    }
    check_join(JoinKind::Inner, "INNER", false, false);
}
