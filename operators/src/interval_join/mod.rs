//! Joins two append-only inputs whose rows match only within an interval of event time: the declared form.
//!
//! It never knows how rows are kept; see `operator` for what is kept and what bounds it.

mod operator;
mod side;

use crate::expression::{check_relabel, duration_words, engine_error, sql};
use crate::join::JoinKind;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion_physical_expr::PhysicalExpr;
use headwater_core::{Error, Operator, OperatorSpec, Result, TaskContext};
use std::sync::Arc;

/// Where a row has its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeOf {
    /// In this column, an event time.
    Column(usize),
    /// In this column, a window: its last instant.
    Window(usize),
    /// In this column, the end of a window: the instant before it.
    End(usize),
}

impl TimeOf {
    /// Returns the column.
    #[must_use]
    pub fn column(self) -> usize {
        match self {
            Self::Column(column) | Self::Window(column) | Self::End(column) => column,
        }
    }
}

/// What an interval join is made of.
#[derive(Debug, Clone)]
pub struct IntervalJoinConfig {
    /// Which rows it yields.
    pub kind: JoinKind,
    /// The columns of input 0.
    pub left: SchemaRef,
    /// The columns of input 1.
    pub right: SchemaRef,
    /// Expressions over left and over right rows that must be equal.
    pub on: Vec<(Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>)>,
    /// What else must be true of a pair, over the left columns followed by the right ones.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
    /// Whether two nulls are equal keys.
    pub null_equals_null: bool,
    /// The times of left and right rows.
    pub times: [TimeOf; 2],
    /// The least difference of the left time and the right one, in nanoseconds.
    pub min_ns: i64,
    /// The greatest difference.
    pub max_ns: i64,
    /// Whether rows without a match are shown at once and taken back when a match comes. Otherwise they are shown
    /// when the watermark says that none can come.
    pub early: bool,
    /// How far behind the watermark a row may come; everything else waits as long.
    pub allowed_lateness_ns: i64,
}

/// Joins two append-only inputs where `left time - right time` is between two bounds. Rows are kept until the watermark
/// says that nothing can match them.
///
/// A row behind the watermark is late: what it matches may be gone, so it becomes a dead letter.
#[derive(Debug, Clone)]
pub struct IntervalJoin {
    pub(crate) config: IntervalJoinConfig,
    pub(crate) schema: SchemaRef,
}

impl IntervalJoin {
    /// Makes a join.
    ///
    /// # Errors
    /// `Internal` when the two sides of a key have different types, or a column is no time.
    pub fn new(config: IntervalJoinConfig) -> Result<Self> {
        if config.kind == JoinKind::LeftMark {
            return Err(Error::internal("an interval join has no marks"));
        }
        for (left, right) in &config.on {
            let types = (left.data_type(&config.left), right.data_type(&config.right));
            let (left_type, right_type) = (types.0.map_err(engine_error)?, types.1.map_err(engine_error)?);
            if left_type != right_type {
                return Err(Error::internal(format!("a join key of types {left_type} and {right_type}")));
            }
        }
        for (schema, time) in [&config.left, &config.right].into_iter().zip(config.times) {
            if !is_time(schema, time) {
                return Err(Error::internal(format!("{time:?} is no time")));
            }
        }
        let nullable = [
            matches!(config.kind, JoinKind::Right | JoinKind::Full),
            matches!(config.kind, JoinKind::Left | JoinKind::Full),
        ];
        let side = |schema: &SchemaRef, nullable: bool| -> Vec<Field> {
            let field = |field: &Arc<Field>| field.as_ref().clone().with_nullable(nullable || field.is_nullable());
            schema.fields().iter().map(field).collect()
        };
        let mut fields = side(&config.left, nullable[0]);
        if config.kind.has_both_sides() {
            fields.extend(side(&config.right, nullable[1]));
        }
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
        self.config.early && self.shows_unmatched()
    }

    /// Returns for each side whether the watermark of the output holds for the time of its rows.
    #[must_use]
    pub fn keeps_time(&self) -> [bool; 2] {
        let left = !matches!(self.config.kind, JoinKind::Right);
        let right = matches!(self.config.kind, JoinKind::Inner | JoinKind::Right | JoinKind::Full);
        [left, right]
    }

    /// Returns whether the two sides have one window.
    #[must_use]
    pub fn is_windowed(&self) -> bool {
        let is_window = |time: &TimeOf| matches!(time, TimeOf::Window(_) | TimeOf::End(_));
        self.config.times.iter().all(is_window) && (self.config.min_ns, self.config.max_ns) == (0, 0)
    }

    fn shows_unmatched(&self) -> bool {
        matches!(self.config.kind, JoinKind::Left | JoinKind::Right | JoinKind::Full | JoinKind::LeftAnti)
    }

    /// How far the times of output rows may be behind the watermark of the inputs; zero or less.
    fn held_back_ns(&self) -> i64 {
        let [left, right] = self.keeps_time();
        let left = if left { self.config.min_ns } else { 0 };
        let right = if right { self.config.max_ns.saturating_neg() } else { 0 };
        left.min(right).min(0)
    }
}

fn is_time(schema: &SchemaRef, time: TimeOf) -> bool {
    let is_nanoseconds = |data_type: &DataType| matches!(data_type, DataType::Timestamp(TimeUnit::Nanosecond, _));
    match time {
        TimeOf::Column(column) | TimeOf::End(column) => {
            schema.fields().get(column).is_some_and(|field| is_nanoseconds(field.data_type()))
        }
        TimeOf::Window(column) => schema.fields().get(column).is_some_and(|field| match field.data_type() {
            DataType::Struct(fields) => fields.find("end").is_some_and(|(_, end)| is_nanoseconds(end.data_type())),
            _ => false,
        }),
    }
}

/// `3 minutes`, `-3 minutes`.
fn signed_words(nanoseconds: i64) -> String {
    let words = duration_words(nanoseconds.saturating_abs());
    if nanoseconds < 0 { format!("-{words}") } else { words }
}

impl OperatorSpec for IntervalJoin {
    fn describe(&self) -> String {
        let config = &self.config;
        let on: Vec<String> = config.on.iter().map(|(l, r)| format!("{} = {}", sql(l), sql(r))).collect();
        let name = |schema: &SchemaRef, time: TimeOf| schema.field(time.column()).name().clone();
        let (left, right) = (name(&config.left, config.times[0]), name(&config.right, config.times[1]));
        let kind = config.kind.name();
        let mut text = if self.is_windowed() {
            format!("windowed join {kind} on [{}]", on.join(", "))
        } else {
            let (min, max) = (signed_words(config.min_ns), signed_words(config.max_ns));
            format!("interval join {kind} on [{}], {left} - {right} from {min} to {max}", on.join(", "))
        };
        if let Some(filter) = &config.filter {
            text.push_str(&format!(" where {}", sql(filter)));
        }
        if config.null_equals_null {
            text.push_str(", nulls are equal");
        }
        if self.output_changing() {
            text.push_str(", changes");
        }
        if config.allowed_lateness_ns > 0 {
            text.push_str(&format!(", waits {} for late rows", duration_words(config.allowed_lateness_ns)));
        }
        text
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn state(&self) -> Option<String> {
        Some("the rows of both sides that can still match; freed by the watermark".to_owned())
    }

    fn build(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(operator::IntervalJoinOperator::new(self, context)?))
    }
}

#[cfg(test)]
mod tests;
