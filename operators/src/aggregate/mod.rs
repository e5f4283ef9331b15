//! Groups rows and aggregates each group, with or without windows: the declared form.
//!
//! It never knows how the state of an aggregate is kept; see `operator` for what is kept and what bounds it.

mod accumulators;
mod calls;
mod empty;
mod multisets;
mod operator;
mod pane_snapshot;
mod panes;
mod snapshot;
mod state;
mod values;
mod weighted;
mod windows;

use crate::expression::{check_relabel, duration_words, engine_error, sql, sql_as};
use crate::functions::WindowRule;
use crate::functions::tumble::window_fields;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::aggregate::AggregateFunctionExpr;
use datafusion_physical_expr::expressions::Column;
pub use empty::WindowColumn;
use headwater_core::{Error, Operator, OperatorSpec, Result, TaskContext};
use std::collections::BTreeMap;
use std::sync::Arc;

/// An aggregate function over some rows of each group.
#[derive(Debug, Clone)]
pub struct AggregateCall {
    /// The function with its arguments, order and `DISTINCT`.
    pub function: Arc<AggregateFunctionExpr>,
    /// Which rows count (`FILTER (WHERE …)`); `None` for all.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
    /// The name of the output column.
    pub name: String,
}

/// When a window shows its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emit {
    /// Once, when the watermark has passed its end.
    Final,
    /// At every barrier, as changes.
    Changes,
}

/// What happens to a row whose window is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// It becomes a dead letter.
    DeadLetter,
    /// It restates the window by retraction, as long as the watermark is less than this past the end of the window.
    Update {
        /// How long a window is kept after its end, in nanoseconds of event time.
        allowed_lateness_ns: i64,
    },
}

/// How a grouping by windows behaves over time.
///
/// A window is `[start, end)` in whole nanoseconds: a row exactly at its end belongs to the next one. A watermark says
/// that no row at or before it is expected, so a window is closed by the watermark `end − 1 ns`, and by no earlier one.
/// Rows without a window (their time is null) form a group that closes when the input ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windowing {
    /// The group column that holds the window, a struct with the fields `start` and `end`, or its end alone.
    pub column: usize,
    /// When results are shown.
    pub emit: Emit,
    /// What happens to late rows.
    pub late: Late,
}

/// Groups rows and aggregates each group; one output row per group, the group columns first.
///
/// Without windows, or with [`Emit::Changes`], the output changes: every barrier brings the net change since the last.
/// Without group columns there is exactly one row, over no input at all too.
#[derive(Debug, Clone)]
pub struct Aggregate {
    pub(crate) group: Vec<Arc<dyn PhysicalExpr>>,
    pub(crate) calls: Vec<AggregateCall>,
    pub(crate) windowing: Option<Windowing>,
    pub(crate) input_changing: bool,
    /// After which time without a row a group is forgotten.
    pub(crate) ttl_ns: Option<i64>,
    pub(crate) input: SchemaRef,
    pub(crate) schema: SchemaRef,
    /// Windows that share panes: their rule.
    panes: Option<Arc<WindowRule>>,
    /// Windows without rows: their rule, and what the group columns say about a window.
    empty: Option<(Arc<WindowRule>, Vec<Option<WindowColumn>>)>,
}

impl Aggregate {
    /// Makes an updating aggregation over rows of `input`; each group expression has the name of its output column.
    ///
    /// # Errors
    /// `Internal` when an expression does not fit the input.
    pub fn new(
        input: &SchemaRef,
        group: Vec<(Arc<dyn PhysicalExpr>, String)>,
        calls: Vec<AggregateCall>,
    ) -> Result<Self> {
        let mut fields = Vec::with_capacity(group.len() + calls.len());
        for (expr, name) in &group {
            let field = expr.return_field(input).map_err(engine_error)?;
            fields.push(field.as_ref().clone().with_name(name.clone()));
        }
        for call in &calls {
            let field: Field = call.function.field().as_ref().clone();
            fields.push(field.with_name(call.name.clone()));
        }
        let group = group.into_iter().map(|(expr, _)| expr).collect();
        let (input, schema) = (input.clone(), Arc::new(Schema::new(fields)));
        Ok(Self {
            group,
            calls,
            windowing: None,
            input_changing: false,
            ttl_ns: None,
            input,
            schema,
            panes: None,
            empty: None,
        })
    }

    /// Says that a group column is a window.
    ///
    /// # Errors
    /// `Internal` when the column is no window.
    pub fn windowed(self, windowing: Windowing) -> Result<Self> {
        let is_window = self.group.len() > windowing.column
            && match self.schema.field(windowing.column).data_type() {
                DataType::Struct(fields) => fields.find("start").is_some() && fields.find("end").is_some(),
                data_type => matches!(data_type, DataType::Timestamp(TimeUnit::Nanosecond, _)),
            };
        if !is_window {
            return Err(Error::internal(format!("group column {} is not a window", windowing.column)));
        }
        Ok(Self { windowing: Some(windowing), ..self })
    }

    /// Says that a group column is the time of a row and that the windows of a rule take its place: a row is in each
    /// window that holds its time. Results are final and late rows are dead letters; the input must be append-only.
    ///
    /// # Errors
    /// `Internal` when the column is no time.
    pub fn with_panes(self, column: usize, rule: WindowRule) -> Result<Self> {
        let mut fields: Vec<_> = self.schema.fields().iter().cloned().collect();
        let time = fields.get(column).cloned().ok_or_else(|| Error::internal("there is no such group column"))?;
        if !matches!(time.data_type(), DataType::Timestamp(TimeUnit::Nanosecond, None)) {
            return Err(Error::internal(format!("group column {column} is not a time")));
        }
        let window = DataType::Struct(window_fields(time.is_nullable()));
        fields[column] = Arc::new(time.as_ref().clone().with_data_type(window));
        let windowing = Windowing { column, emit: Emit::Final, late: Late::DeadLetter };
        let (schema, panes) = (Arc::new(Schema::new(fields)), Some(Arc::new(rule)));
        Ok(Self { windowing: Some(windowing), schema, panes, ..self })
    }

    /// Asks for windows without rows: from the first window of each key to the newest that is closed, or, once the input
    /// has ended, the newest that has rows. Says of each group column what it says about the window.
    #[must_use]
    pub fn with_empty_windows(self, rule: WindowRule, columns: Vec<Option<WindowColumn>>) -> Self {
        Self { empty: Some((Arc::new(rule), columns)), ..self }
    }

    /// Says that the input retracts rows.
    #[must_use]
    pub fn over_changes(self) -> Self {
        Self { input_changing: true, ..self }
    }

    /// Says after which time without a row a group is forgotten. The row that was shown of it stays; a row that comes
    /// later begins the group anew. Windows are freed by the watermark, and the only group of a query without `GROUP
    /// BY` is never forgotten.
    #[must_use]
    pub fn forgetting(self, ttl_ns: Option<i64>) -> Self {
        let has_keys = !self.group.is_empty() && self.windowing.is_none();
        Self { ttl_ns: ttl_ns.filter(|_| has_keys), ..self }
    }

    /// Gives the output columns other names, nullability and metadata.
    ///
    /// # Errors
    /// `Internal` when the types differ.
    pub fn with_schema(self, schema: SchemaRef) -> Result<Self> {
        check_relabel(&self.schema, &schema)?;
        Ok(Self { schema, ..self })
    }

    /// Whether the groups alone are asked for, and none ever goes.
    pub(crate) fn only_grows(&self) -> bool {
        self.windowing.is_none() && self.calls.is_empty() && !self.group.is_empty() && !self.input_changing
    }

    /// Returns whether the output retracts rows.
    #[must_use]
    pub fn output_changing(&self) -> bool {
        !self.only_grows()
            && !matches!(self.windowing, Some(Windowing { emit: Emit::Final, late: Late::DeadLetter, .. }))
    }
}

impl OperatorSpec for Aggregate {
    fn describe(&self) -> String {
        let names = self.schema.fields();
        let group: Vec<String> = self.group.iter().zip(names).map(|(e, field)| sql_as(e, field.name())).collect();
        let calls: Vec<String> = self.calls.iter().map(describe_call).collect();
        let mut text = format!("aggregate [{}]", calls.join(", "));
        if !group.is_empty() {
            text.push_str(&format!(" by [{}]", group.join(", ")));
        }
        if let Some(windowing) = self.windowing {
            let emit = match windowing.emit {
                Emit::Final => "final",
                Emit::Changes => "changes",
            };
            let late = match windowing.late {
                Late::DeadLetter => "late rows to dead letters".to_owned(),
                Late::Update { allowed_lateness_ns: i64::MAX } => "late rows update".to_owned(),
                Late::Update { allowed_lateness_ns } => format!("late rows update for {allowed_lateness_ns} ns"),
            };
            let panes = if self.panes.is_some() { " of panes" } else { "" };
            text.push_str(&format!(", window {}{panes}, {emit}, {late}", names[windowing.column].name()));
            if self.empty.is_some() {
                text.push_str(", windows without rows too");
            }
        }
        if let Some(ttl_ns) = self.ttl_ns {
            text.push_str(&format!(", forgotten after {}", duration_words(ttl_ns)));
        }
        text
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn state(&self) -> Option<String> {
        let names: Vec<&str> = self.schema.fields()[..self.group.len()].iter().map(|f| f.name().as_str()).collect();
        if names.is_empty() {
            return Some("one group; never freed".to_owned());
        }
        let freed = match self.windowing.map(|windowing| windowing.late) {
            Some(Late::DeadLetter) => "freed when the watermark passes the end of its window".to_owned(),
            Some(Late::Update { allowed_lateness_ns: i64::MAX }) | None => match self.input_changing {
                true => "freed when all of its rows are taken back".to_owned(),
                false => "never freed".to_owned(),
            },
            Some(Late::Update { allowed_lateness_ns }) => {
                let allowed = duration_words(allowed_lateness_ns);
                format!("freed when the watermark is {allowed} past the end of its window")
            }
        };
        let freed = match self.ttl_ns {
            Some(ttl_ns) => format!("freed {} after its last row", duration_words(ttl_ns)),
            None => freed,
        };
        Some(format!("one group for each ({}); {freed}", names.join(", ")))
    }

    fn build(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        match (&self.panes, self.windowing) {
            (Some(rule), Some(windowing)) => {
                Ok(Box::new(panes::PaneOperator::new(self, rule.clone(), windowing.column, context)?))
            }
            _ => Ok(Box::new(operator::AggregateOperator::new(self, context)?)),
        }
    }
}

/// Finds the group expressions that are columns of the input: for each such column, which group column it is.
fn places(group: &[Arc<dyn PhysicalExpr>]) -> BTreeMap<usize, usize> {
    let place = |(place, expr): (usize, &Arc<dyn PhysicalExpr>)| {
        expr.downcast_ref::<Column>().map(|column| (column.index(), place))
    };
    group.iter().enumerate().filter_map(place).collect()
}

fn describe_call(call: &AggregateCall) -> String {
    let function = &call.function;
    let args: Vec<String> = function.expressions().iter().map(sql).collect();
    let distinct = if function.is_distinct() { "DISTINCT " } else { "" };
    let order: Vec<String> = function
        .order_bys()
        .iter()
        .map(|by| format!("{}{}", sql(&by.expr), if by.options.descending { " DESC" } else { "" }))
        .collect();
    let order = if order.is_empty() { String::new() } else { format!(" ORDER BY {}", order.join(", ")) };
    let mut text = format!("{}({distinct}{}{order})", function.fun().name(), args.join(", "));
    if let Some(filter) = &call.filter {
        text.push_str(&format!(" FILTER ({})", sql(filter)));
    }
    if text == call.name { text } else { format!("{text} AS {}", call.name) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::aggregate;
    use crate::testing::{run, schema};
    use expect_test::{Expect, expect};

    fn check(sql: &str, changing: bool, script: &str, output: Expect) {
        let input = schema("k text, v int");
        let spec = aggregate(sql, &input);
        let spec = if changing { spec.over_changes() } else { spec };
        output.assert_eq(&run(&spec, &[input], script));
    }

    /// Windows of ten nanoseconds.
    fn windowed(emit: Emit, late: Late) -> (Aggregate, SchemaRef) {
        let input = schema("t time, v int");
        let tumble = "tumble(t, INTERVAL '10 nanoseconds')";
        let spec = aggregate(&format!("SELECT {tumble}, count(*), sum(v) FROM t GROUP BY {tumble}"), &input);
        (spec.windowed(Windowing { column: 0, emit, late }).expect("a window"), input)
    }

    fn check_windowed(emit: Emit, late: Late, script: &str, output: Expect) {
        let (spec, input) = windowed(emit, late);
        output.assert_eq(&run(&spec, &[input], script));
    }

    #[test]
    fn describes_itself() {
        let spec = aggregate(
            "SELECT k, sum(v), count(distinct v) FILTER (WHERE v > 1) FROM t GROUP BY k",
            &schema("k text, v int"),
        );
        expect!["aggregate [sum(v) AS sum(t.v), count(DISTINCT v) FILTER (v > 1) AS count(DISTINCT t.v) FILTER (WHERE t.v > Int64(1))] by [k AS t.k]"].assert_eq(&spec.describe());
        expect![[r#"aggregate [count(1) AS count(Int64(1)), sum(v) AS sum(t.v)] by [tumble(t, interval '10 nanoseconds') AS tumble(t.t,IntervalMonthDayNano("IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 10 }"))], window tumble(t.t,IntervalMonthDayNano("IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 10 }")), final, late rows to dead letters"#]].assert_eq(&windowed(Emit::Final, Late::DeadLetter).0.describe());
    }

    #[test]
    fn emits_the_net_change_of_touched_groups_at_barriers() {
        let script = "+ a 1\n+ b 2\n+ a 3\nbarrier\n+ a 1\n\n+ b 0\nbarrier\nbarrier";
        check(
            "SELECT k, sum(v) FROM t GROUP BY k",
            false,
            script,
            expect![[r#"
            + a 4
            + b 2
            barrier
            - a 4
            + a 5
            barrier
            barrier
        "#]],
        );
    }

    #[test]
    fn a_group_is_retracted_when_its_last_row_goes_and_may_come_back() {
        let script = "+ a 1\n+ a 2\nbarrier\n- a 2\nbarrier\n- a 1\nbarrier\n+ a 5\n- a 5\nbarrier\n+ a 7\nbarrier";
        check(
            "SELECT k, max(v), count(*) FROM t GROUP BY k",
            true,
            script,
            expect![[r#"
            + a 2 2
            barrier
            - a 2 2
            + a 1 1
            barrier
            - a 1 1
            barrier
            barrier
            + a 7 1
            barrier
        "#]],
        );
    }

    #[test]
    fn a_global_aggregate_has_one_row_over_no_input_too() {
        let script = "barrier\n+ a 1\nbarrier\n- a 1\nbarrier";
        check(
            "SELECT count(*), sum(v) FROM t",
            true,
            script,
            expect![[r#"
            + 0 _
            barrier
            - 0 _
            + 1 1
            barrier
            - 1 1
            + 0 _
            barrier
        "#]],
        );
    }

    #[test]
    fn a_watermark_waits_for_the_rows_that_it_must_not_overtake() {
        let script = "+ a 1\nwatermark 5\nwatermark 6\nidle\nbarrier\nwatermark 7\nbarrier";
        check(
            "SELECT k, count(*) FROM t GROUP BY k",
            false,
            script,
            expect![[r#"
            + a 1
            watermark 6
            idle
            barrier
            watermark 7
            barrier
        "#]],
        );
    }

    #[test]
    fn a_window_is_shown_once_when_the_watermark_passes_its_end() {
        let script =
            "+ 0 1\n+ 9 2\n+ 10 4\nwatermark 8\nbarrier\nwatermark 9\nwatermark 10\n+ 19 8\nbarrier\nwatermark max";
        check_windowed(
            Emit::Final,
            Late::DeadLetter,
            script,
            expect![[r#"
            watermark 8
            barrier
            + {start: 1970-01-01T00:00:00, end: 1970-01-01T00:00:00.000000010} 2 3
            watermark 9
            watermark 10
            barrier
            + {start: 1970-01-01T00:00:00.000000010, end: 1970-01-01T00:00:00.000000020} 2 12
            watermark 9223372036854775807
        "#]],
        );
    }

    #[test]
    fn a_row_is_late_only_when_its_own_window_is_closed() {
        let script =
            "+ 5 1\n+ 15 2\nwatermark 18\n+ 17 4\n+ 9 8\n+ 10 16\nwatermark 19\n+ 19 32\n+ 20 64\nwatermark max";
        check_windowed(
            Emit::Final,
            Late::DeadLetter,
            script,
            expect![[r#"
            + {start: 1970-01-01T00:00:00, end: 1970-01-01T00:00:00.000000010} 1 1
            watermark 18
            + {start: 1970-01-01T00:00:00.000000010, end: 1970-01-01T00:00:00.000000020} 3 22
            watermark 19
            dead letter late []: the row came after its window, which ended at 0.000000010, was closed: {"t":"1970-01-01T00:00:00.000000009","v":8}
            late 1
            + {start: 1970-01-01T00:00:00.000000020, end: 1970-01-01T00:00:00.000000030} 1 64
            watermark 9223372036854775807
            dead letter late []: the row came after its window, which ended at 0.000000020, was closed: {"t":"1970-01-01T00:00:00.000000019","v":32}
            late 1
        "#]],
        );
    }

    #[test]
    fn equal_times_and_a_watermark_that_does_not_move_change_nothing() {
        let script = "+ 5 1\n+ 5 1\nwatermark 5\nwatermark 5\n+ 5 1\nwatermark 3\n+ 4 1\nwatermark 9";
        check_windowed(
            Emit::Final,
            Late::DeadLetter,
            script,
            expect![[r#"
            watermark 5
            watermark 5
            watermark 3
            + {start: 1970-01-01T00:00:00, end: 1970-01-01T00:00:00.000000010} 4 4
            watermark 9
        "#]],
        );
    }

    #[test]
    fn rows_without_a_time_are_a_group_that_closes_at_the_end() {
        check_windowed(
            Emit::Final,
            Late::DeadLetter,
            "+ _ 1\n+ 5 2\nwatermark 50\n+ _ 4\nwatermark max",
            expect![[r#"
            + {start: 1970-01-01T00:00:00, end: 1970-01-01T00:00:00.000000010} 1 2
            watermark 50
            + _ 2 5
            watermark 9223372036854775807
        "#]],
        );
    }

    #[test]
    fn a_late_row_restates_its_window_while_it_is_kept() {
        let late = Late::Update { allowed_lateness_ns: 10 };
        let script = "+ 5 1\nwatermark 9\n+ 6 2\nbarrier\nwatermark 18\n+ 7 4\n+ 18 1\nwatermark 19\nbarrier\n+ 8 8\n+ 15 1\nbarrier\nwatermark max";
        check_windowed(
            Emit::Final,
            late,
            script,
            expect![[r#"
            + {start: 1970-01-01T00:00:00, end: 1970-01-01T00:00:00.000000010} 1 1
            watermark 9
            - {start: 1970-01-01T00:00:00, end: 1970-01-01T00:00:00.000000010} 1 1
            + {start: 1970-01-01T00:00:00, end: 1970-01-01T00:00:00.000000010} 2 3
            barrier
            watermark 18
            + {start: 1970-01-01T00:00:00.000000010, end: 1970-01-01T00:00:00.000000020} 1 1
            - {start: 1970-01-01T00:00:00, end: 1970-01-01T00:00:00.000000010} 2 3
            + {start: 1970-01-01T00:00:00, end: 1970-01-01T00:00:00.000000010} 3 7
            watermark 19
            barrier
            - {start: 1970-01-01T00:00:00.000000010, end: 1970-01-01T00:00:00.000000020} 1 1
            + {start: 1970-01-01T00:00:00.000000010, end: 1970-01-01T00:00:00.000000020} 2 2
            dead letter late []: the row came after its window, which ended at 0.000000010, was closed: {"t":"1970-01-01T00:00:00.000000008","v":8}
            late 1
            barrier
            watermark 9223372036854775807
        "#]],
        );
    }

    #[test]
    fn early_results_are_restated_and_their_state_is_freed_without_retraction() {
        let script = "+ 5 1\nbarrier\n+ 6 2\n+ 15 1\nwatermark 9\nbarrier\n+ 7 4\nbarrier\nwatermark max";
        check_windowed(
            Emit::Changes,
            Late::DeadLetter,
            script,
            expect![[r#"
            + {start: 1970-01-01T00:00:00, end: 1970-01-01T00:00:00.000000010} 1 1
            barrier
            - {start: 1970-01-01T00:00:00, end: 1970-01-01T00:00:00.000000010} 1 1
            + {start: 1970-01-01T00:00:00, end: 1970-01-01T00:00:00.000000010} 2 3
            + {start: 1970-01-01T00:00:00.000000010, end: 1970-01-01T00:00:00.000000020} 1 1
            watermark 9
            barrier
            dead letter late []: the row came after its window, which ended at 0.000000010, was closed: {"t":"1970-01-01T00:00:00.000000007","v":4}
            late 1
            barrier
        "#]],
        );
    }

    #[test]
    fn a_retraction_before_the_window_closes_leaves_no_trace() {
        let input = schema("t time, v int");
        let (spec, _) = windowed(Emit::Final, Late::DeadLetter);
        let script = "+ 5 1\n+ 15 7\n\n- 5 1\n- 15 7\n+ 15 8\nwatermark 9\n- 5 1\nwatermark max";
        expect![[r#"
            watermark 9
            + {start: 1970-01-01T00:00:00.000000010, end: 1970-01-01T00:00:00.000000020} 1 8
            watermark 9223372036854775807
            dead letter late []: the retraction came after its window, which ended at 0.000000010, was closed: {"t":"1970-01-01T00:00:00.000000005","v":1}
            late 1
        "#]].assert_eq(&run(&spec.over_changes(), &[input], script));
    }
}
