//! Joins rows with the version of another table that was valid at their event time: the declared form.
//!
//! It never knows how versions are kept; see `operator` and `versions` for what is kept and what bounds it.

mod operator;
mod versions;

use crate::expression::{check_relabel, duration_words, engine_error, sql};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion_physical_expr::PhysicalExpr;
use headwater_core::{Error, Operator, OperatorSpec, Result, TaskContext};
use std::sync::Arc;
pub use versions::SameTime;

/// What a temporal join is made of.
#[derive(Debug, Clone)]
pub struct TemporalJoinConfig {
    /// The columns of input 0: the rows.
    pub left: SchemaRef,
    /// The columns of input 1: the versions.
    pub right: SchemaRef,
    /// Expressions over left and over right rows that must be equal.
    pub on: Vec<(Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>)>,
    /// The columns of the times of left and right rows.
    pub times: [usize; 2],
    /// Whether a version is valid at its own time, and not only after it.
    pub at_time_too: bool,
    /// Whether rows without a version are in the output.
    pub keeps_left: bool,
    /// Which of several versions of one time is valid.
    pub same_time: SameTime,
    /// How far behind the watermark a row may come; everything else waits as long.
    pub allowed_lateness_ns: i64,
    /// After which time without a version a key is forgotten.
    pub ttl_ns: Option<i64>,
}

/// Joins each left row with the newest version of its key that is not newer than the row.
///
/// A left row waits until the watermark has passed it, because an older version may come until then; so the output is
/// append-only and final. A version is valid until the next one of its key. One that is taken back is forgotten, unless
/// a newer one of its key follows in the same epoch: then it was replaced, and stays valid until then.
///
/// A left row behind the watermark is late and becomes a dead letter. A version behind the watermark counts for the rows
/// to come, and is a dead letter where it has been replaced for all of them.
#[derive(Debug, Clone)]
pub struct TemporalJoin {
    pub(crate) config: TemporalJoinConfig,
    pub(crate) schema: SchemaRef,
}

impl TemporalJoin {
    /// Makes a join.
    ///
    /// # Errors
    /// `Internal` when the two sides of a key have different types, or a column is no time.
    pub fn new(config: TemporalJoinConfig) -> Result<Self> {
        for (left, right) in &config.on {
            let types = (left.data_type(&config.left), right.data_type(&config.right));
            let (left_type, right_type) = (types.0.map_err(engine_error)?, types.1.map_err(engine_error)?);
            if left_type != right_type {
                return Err(Error::internal(format!("a join key of types {left_type} and {right_type}")));
            }
        }
        for (schema, column) in [&config.left, &config.right].into_iter().zip(config.times) {
            if !matches!(schema.field(column).data_type(), DataType::Timestamp(TimeUnit::Nanosecond, _)) {
                return Err(Error::internal(format!("column {column} is no time")));
            }
        }
        let mut fields: Vec<Field> = config.left.fields().iter().map(|field| field.as_ref().clone()).collect();
        let right = config.right.fields().iter();
        fields.extend(right.map(|f| f.as_ref().clone().with_nullable(config.keeps_left || f.is_nullable())));
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
}

impl OperatorSpec for TemporalJoin {
    fn describe(&self) -> String {
        let config = &self.config;
        let on: Vec<String> = config.on.iter().map(|(l, r)| format!("{} = {}", sql(l), sql(r))).collect();
        let kind = if config.keeps_left { "left" } else { "inner" };
        let time = |schema: &SchemaRef, side: usize| schema.field(config.times[side]).name().clone();
        let (left, right) = (time(&config.left, 0), time(&config.right, 1));
        let op = if config.at_time_too { "<=" } else { "<" };
        let mut text = format!("temporal join {kind} on [{}], newest {right} {op} {left}", on.join(", "));
        if config.allowed_lateness_ns > 0 {
            text.push_str(&format!(", waits {} for late rows", duration_words(config.allowed_lateness_ns)));
        }
        if let Some(ttl_ns) = config.ttl_ns {
            text.push_str(&format!(", forgotten after {}", duration_words(ttl_ns)));
        }
        text
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn state(&self) -> Option<String> {
        let keys = match self.config.ttl_ns {
            Some(ttl_ns) => format!("freed {} after its last version", duration_words(ttl_ns)),
            None => "never freed".to_owned(),
        };
        Some(format!("left rows and versions after the watermark, freed by it; one version per key, {keys}"))
    }

    fn build(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(operator::TemporalJoinOperator::new(self, context)?))
    }
}

#[cfg(test)]
mod tests;
