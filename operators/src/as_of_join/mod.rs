//! Joins each left row with the nearest right row of its key: the declared form.
//!
//! It never knows how rows are kept; see `operator` for what is kept and what bounds it.

mod operator;

use crate::expression::{check_relabel, duration_words, engine_error, sql};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion_physical_expr::PhysicalExpr;
use headwater_core::{Error, Operator, OperatorSpec, Result, TaskContext};
use std::sync::Arc;

/// Which right rows are near a left row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd)]
pub enum Near {
    /// `left >= right`: the greatest that is not greater.
    AtOrBefore,
    /// `left > right`: the greatest that is less.
    Before,
    /// `left <= right`: the least that is not less.
    AtOrAfter,
    /// `left < right`: the least that is greater.
    After,
}

impl Near {
    fn op(self) -> &'static str {
        match self {
            Self::AtOrBefore => ">=",
            Self::Before => ">",
            Self::AtOrAfter => "<=",
            Self::After => "<",
        }
    }
}

/// What an as-of join is made of.
#[derive(Debug, Clone)]
pub struct AsOfJoinConfig {
    /// The columns of input 0.
    pub left: SchemaRef,
    /// The columns of input 1.
    pub right: SchemaRef,
    /// Expressions over left and over right rows that must be equal.
    pub on: Vec<(Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>)>,
    /// What is compared: expressions of one type over left and over right rows.
    pub compared: (Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>),
    /// Which right rows are near.
    pub near: Near,
    /// Whether left rows without a right row are in the output.
    pub keeps_left: bool,
    /// After which time without a row a key is forgotten.
    pub ttl_ns: Option<i64>,
}

/// Joins each left row with one right row of its key: the nearest in the order of what is compared, and among equally
/// near ones the last in the order of its columns. Both inputs may change; so does the output, because a nearer row may
/// come at any time.
#[derive(Debug, Clone)]
pub struct AsOfJoin {
    pub(crate) config: AsOfJoinConfig,
    pub(crate) schema: SchemaRef,
}

impl AsOfJoin {
    /// Makes a join.
    ///
    /// # Errors
    /// `Internal` when the two sides of a key, or of what is compared, have different types.
    pub fn new(config: AsOfJoinConfig) -> Result<Self> {
        for (left, right) in config.on.iter().chain([&config.compared]) {
            let types = (left.data_type(&config.left), right.data_type(&config.right));
            let (left_type, right_type) = (types.0.map_err(engine_error)?, types.1.map_err(engine_error)?);
            if left_type != right_type {
                return Err(Error::internal(format!("a join key of types {left_type} and {right_type}")));
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

impl OperatorSpec for AsOfJoin {
    fn describe(&self) -> String {
        let config = &self.config;
        let on: Vec<String> = config.on.iter().map(|(l, r)| format!("{} = {}", sql(l), sql(r))).collect();
        let kind = if config.keeps_left { "left" } else { "inner" };
        let (left, right) = (sql(&config.compared.0), sql(&config.compared.1));
        let mut text = format!("as-of join {kind} on [{}], nearest {left} {} {right}", on.join(", "), config.near.op());
        if let Some(ttl_ns) = config.ttl_ns {
            text.push_str(&format!(", forgotten after {}", duration_words(ttl_ns)));
        }
        text
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn state(&self) -> Option<String> {
        Some(match self.config.ttl_ns {
            Some(ttl_ns) => format!("both sides by key; freed {} after a key's last row", duration_words(ttl_ns)),
            None => "both sides; freed when rows are taken back".to_owned(),
        })
    }

    fn build(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(operator::AsOfJoinOperator::new(self, context)?))
    }
}

#[cfg(test)]
mod tests;
