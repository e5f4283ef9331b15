//! The oracle: whatever changes went in, what an operator has emitted after a barrier adds up to what DataFusion
//! computes in one go over the rows that are there.
//!
//! It never looks into an operator: it plans SQL, feeds random changes, and compares tables.

mod aggregates;
mod joins;
mod partitions;
mod set_operations;
mod windows;

use crate::testing::{batch, print};
use crate::{Aggregate, AggregateCall};
use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Float64Type, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::datasource::MemTable;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::aggregate::LoweredAggregateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use headwater_core::{Batch, Message, Operator, Output};
use rand::prelude::*;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::runtime::Builder;

/// How many barriers a case has.
pub(crate) const N_EPOCHS: u64 = 4;
/// How many cases each query is tried on.
pub(crate) const N_CASES: u64 = 12;

pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

/// A table as a multiset of printed rows.
#[derive(Default, Debug, PartialEq, Clone)]
pub(crate) struct Table(pub(crate) BTreeMap<String, i64>);

impl Table {
    pub(crate) fn apply(&mut self, changes: &Batch) {
        for row in 0..changes.n_rows() {
            let text = print(&Batch::append_only(rounded(&changes.rows.slice(row, 1))));
            let count = self.0.entry(text.clone()).or_default();
            *count += changes.diff(row);
            if *count == 0 {
                self.0.remove(&text);
            }
        }
    }
}

/// Rounds floating-point numbers: their sums depend on the order of what is added, which is another one in a batch.
fn rounded(rows: &RecordBatch) -> RecordBatch {
    let round = |column: &ArrayRef| -> ArrayRef {
        match column.as_primitive_opt::<Float64Type>() {
            Some(numbers) => Arc::new(numbers.unary::<_, Float64Type>(|n| (n * 1e9).round() / 1e9 + 0.0)),
            None => column.clone(),
        }
    };
    let columns = rows.columns().iter().map(round).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(rows.schema(), columns, &options).expect("columns of the same types")
}

/// Random rows with deletions of rows that are there.
pub(crate) struct Changes {
    schema: SchemaRef,
    there: Vec<Vec<Option<String>>>,
    changing: bool,
}

impl Changes {
    pub(crate) fn new(schema: &SchemaRef, changing: bool) -> Self {
        Self { schema: schema.clone(), there: Vec::new(), changing }
    }

    pub(crate) fn next(&mut self, rng: &mut ChaCha8Rng) -> Batch {
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

    pub(crate) fn table(&self) -> RecordBatch {
        let rows: Vec<_> = self.there.iter().map(|row| (1, row.clone())).collect();
        batch(&self.schema, &rows).rows
    }
}

pub(crate) fn session(tables: &[(&str, RecordBatch)]) -> SessionContext {
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

pub(crate) fn batch_answer(sql: &str, tables: &[(&str, RecordBatch)]) -> Table {
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

pub(crate) fn feed(operator: &mut dyn Operator, input: usize, batch: Batch, out: &mut Output, table: &mut Table) {
    operator.on_batch(input, batch, out).expect("a good batch");
    collect(out, table);
}

pub(crate) fn collect(out: &mut Output, table: &mut Table) {
    for message in out.take_messages() {
        match message {
            Message::Batch(batch) => table.apply(&batch),
            Message::Watermark(_) => {}
            Message::Barrier(_) | Message::End => panic!("an operator must not emit {message:?}"),
        }
    }
    assert_eq!(out.take_dead_letters(), []);
}
