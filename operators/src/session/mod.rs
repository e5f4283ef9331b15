//! Puts rows into sessions: rows of one key with no longer gap between neighbours than allowed. The declared form.
//!
//! It never computes anything else of a session; what follows groups by the window that is added to each row. See
//! `operator` for what is kept and what bounds it.

mod operator;
mod partition;

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
