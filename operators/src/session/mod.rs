//! Puts rows into sessions: rows of one key with no longer gap between neighbours than allowed. The declared form.
//!
//! It never computes anything else of a session; what follows groups by the window that is added to each row. See
//! `operator` for what is kept and what bounds it.

mod operator;
mod partition;
mod snapshot;

use crate::aggregate::{Emit, Late};
use crate::expression::{check_columns, check_relabel, interval_words, sql};
use arrow::datatypes::{DataType, Field, IntervalMonthDayNano, Schema, SchemaRef, TimeUnit};
use datafusion_physical_expr::PhysicalExpr;
use headwater_core::{Operator, OperatorSpec, Result, TaskContext};
use std::sync::Arc;

/// What sessions are made of.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// The rows that come.
    pub input: SchemaRef,
    /// The event time of a row, in nanoseconds. Rows without one are in no session and have a null for a window.
    pub time: Arc<dyn PhysicalExpr>,
    /// The columns that sessions are kept apart by.
    pub keys: Vec<usize>,
    /// The longest time between two neighbours, in nanoseconds: rows exactly this far apart are in one session.
    pub gap_ns: i64,
    /// Whether rows wait until their session is complete.
    pub emit: Emit,
    /// What happens to a row that would change a session which is complete.
    pub late: Late,
    /// Whether the input retracts rows.
    pub input_changing: bool,
}

/// Adds to each row the session that it is in: from its first row to one gap after its last.
///
/// With [`Emit::Final`] rows are emitted when the watermark has reached the end of their session. Otherwise, or when late
/// rows are taken, the output changes: rows of sessions that grow, merge or fall apart are emitted anew.
#[derive(Debug, Clone)]
pub struct Session {
    pub(crate) config: SessionConfig,
    pub(crate) schema: SchemaRef,
}

impl Session {
    /// Makes it; the window is added as a column of this name.
    ///
    /// # Errors
    /// `Internal` when a key is not there.
    pub fn new(config: SessionConfig, name: &str) -> Result<Self> {
        if !config.keys.is_empty() {
            check_columns(&config.input, &config.keys)?;
        }
        let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
        let nullable = config.time.nullable(&config.input).unwrap_or(true);
        let parts = vec![Field::new("start", time.clone(), nullable), Field::new("end", time, nullable)];
        let window = Field::new(name, DataType::Struct(parts.into()), nullable);
        let mut fields: Vec<_> = config.input.fields().iter().cloned().collect();
        fields.push(Arc::new(window));
        Ok(Self { config, schema: Arc::new(Schema::new(fields)) })
    }

    /// Gives the output columns other names, nullability and metadata.
    ///
    /// # Errors
    /// `Internal` when the types differ.
    pub fn with_schema(self, schema: SchemaRef) -> Result<Self> {
        check_relabel(&self.schema, &schema)?;
        Ok(Self { schema, ..self })
    }

    /// Returns whether the output retracts rows.
    #[must_use]
    pub fn output_changing(&self) -> bool {
        !matches!((self.config.emit, self.config.late), (Emit::Final, Late::DeadLetter))
    }
}

impl OperatorSpec for Session {
    fn describe(&self) -> String {
        let config = &self.config;
        let keys: Vec<&str> = config.keys.iter().map(|key| config.input.field(*key).name().as_str()).collect();
        let emit = match config.emit {
            Emit::Final => "final",
            Emit::Changes => "changes",
        };
        let late = match config.late {
            Late::DeadLetter => "late rows to dead letters".to_owned(),
            Late::Update { allowed_lateness_ns } => format!("late rows update for {allowed_lateness_ns} ns"),
        };
        let (time, gap) = (sql(&config.time), config.gap_ns);
        format!("session of {time} by [{}], gap {gap} ns, {emit}, {late}", keys.join(", "))
    }

    fn state(&self) -> Option<String> {
        Some(match self.config.late {
            Late::DeadLetter => "the rows of each session; freed when the watermark passes its end".to_owned(),
            Late::Update { allowed_lateness_ns: i64::MAX } => {
                "the rows of each session; a row is freed when it is taken back".to_owned()
            }
            Late::Update { allowed_lateness_ns } => {
                let allowed = interval_words(IntervalMonthDayNano::new(0, 0, allowed_lateness_ns));
                format!("the rows of each session; freed when the watermark is {allowed} past its end")
            }
        })
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn build(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(operator::SessionOperator::new(self, context)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{expr, run, schema};
    use expect_test::{Expect, expect};

    /// Sessions of rows at most ten nanoseconds apart.
    fn check(emit: Emit, late: Late, input_changing: bool, script: &str, output: Expect) {
        let input = schema("k text, t time");
        let time = expr("t", &input);
        let config =
            SessionConfig { input: input.clone(), time, keys: vec![0], gap_ns: 10, emit, late, input_changing };
        let spec = Session::new(config, "w").expect("sessions");
        let text = run(&spec, &[input], script)
            .replace("1970-01-01T00:00:00.0000000", "")
            .replace("1970-01-01T00:00:00", "00");
        output.assert_eq(&text);
    }

    #[test]
    fn a_session_is_complete_when_no_row_can_join_it() {
        // Rows exactly one gap apart are in one session, so it is complete at its end and not a moment before.
        let script = "+ a 1\n+ b 5\n\n+ a 11\nwatermark 20\nwatermark 21\n+ a 40\n+ _ 41\n+ a _\nwatermark max";
        check(
            Emit::Final,
            Late::DeadLetter,
            false,
            script,
            expect![[r#"
            + b 05 {start: 05, end: 15}
            watermark 19
            + a 01 {start: 01, end: 21}
            + a 11 {start: 01, end: 21}
            watermark 20
            + a _ _
            + a 40 {start: 40, end: 50}
            + _ 41 {start: 41, end: 51}
            watermark 9223372036854775807
        "#]],
        );
    }

    #[test]
    fn a_row_that_belongs_to_a_complete_session_is_late_and_one_by_itself_is_not() {
        let script = "+ a 1\nwatermark 11\n+ a 11\n+ a 2\n+ a 12\n+ b 2\n+ b 1\nwatermark 21\n+ a 21\nwatermark max";
        check(
            Emit::Final,
            Late::DeadLetter,
            false,
            script,
            expect![[r#"
                + a 01 {start: 01, end: 11}
                watermark 10
                + b 02 {start: 02, end: 12}
                watermark 20
                dead letter late []: the row came after its session, which ended at 0.000000011, was closed: {"k":"a","t":"11"}
                dead letter late []: the row came after its session, which ended at 0.000000011, was closed: {"k":"a","t":"02"}
                dead letter late []: the row came after its session, which ended at 0.000000011, was closed: {"k":"b","t":"01"}
                late 1
                late 1
                late 1
                + a 12 {start: 12, end: 31}
                + a 21 {start: 12, end: 31}
                watermark 9223372036854775807
            "#]],
        );
    }

    #[test]
    fn sessions_that_grow_merge_and_fall_apart_are_restated() {
        let script =
            "+ a 1\n+ a 20\nbarrier\n+ a 11\nbarrier\n- a 11\nbarrier\n- a 20\nwatermark 11\nbarrier\nwatermark max";
        check(
            Emit::Changes,
            Late::DeadLetter,
            true,
            script,
            expect![[r#"
            + a 01 {start: 01, end: 11}
            + a 20 {start: 20, end: 30}
            barrier
            - a 01 {start: 01, end: 11}
            + a 01 {start: 01, end: 30}
            + a 11 {start: 01, end: 30}
            - a 20 {start: 20, end: 30}
            + a 20 {start: 01, end: 30}
            barrier
            - a 01 {start: 01, end: 30}
            + a 01 {start: 01, end: 11}
            - a 11 {start: 01, end: 30}
            - a 20 {start: 01, end: 30}
            + a 20 {start: 20, end: 30}
            barrier
            - a 20 {start: 20, end: 30}
            watermark 10
            barrier
            watermark 9223372036854775807
        "#]],
        );
    }

    #[test]
    fn what_was_shown_is_taken_back_before_the_watermark_that_would_make_that_late() {
        let script = "+ a 1\nbarrier\n+ a 8\nwatermark 11\nbarrier\nwatermark 18";
        check(
            Emit::Changes,
            Late::DeadLetter,
            false,
            script,
            expect![[r#"
            + a 01 {start: 01, end: 11}
            barrier
            - a 01 {start: 01, end: 11}
            + a 01 {start: 01, end: 18}
            + a 08 {start: 01, end: 18}
            watermark 10
            barrier
            watermark 17
        "#]],
        );
    }

    #[test]
    fn late_rows_restate_a_session_while_it_is_kept() {
        let late = Late::Update { allowed_lateness_ns: 5 };
        let script =
            "+ a 1\nwatermark 11\n+ a 5\nbarrier\nwatermark 16\n+ a 30\nbarrier\nwatermark 20\n+ a 2\nwatermark max";
        check(
            Emit::Final,
            late,
            false,
            script,
            expect![[r#"
            + a 01 {start: 01, end: 11}
            watermark 10
            - a 01 {start: 01, end: 11}
            barrier
            + a 01 {start: 01, end: 15}
            + a 05 {start: 01, end: 15}
            watermark 15
            barrier
            watermark 19
            + a 30 {start: 30, end: 40}
            watermark 9223372036854775807
            dead letter late []: the row came after its session, which ended at 0.000000015, was closed: {"k":"a","t":"02"}
            late 1
        "#]],
        );
    }
}
