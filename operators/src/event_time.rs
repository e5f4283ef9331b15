//! Event time by expressions: what `WATERMARK FOR` says. It never drops a row; it has no state.

use crate::expression::{engine_error, evaluate, sql};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute;
use arrow::datatypes::{DataType, TimeUnit};
use datafusion_physical_expr::PhysicalExpr;
use headwater_core::{EventTimeSpec, Result};
use std::sync::Arc;

/// The event time of a row and the watermark that it allows, as physical expressions over its columns.
#[derive(Debug, Clone)]
pub struct PhysicalEventTime {
    event_time: Arc<dyn PhysicalExpr>,
    watermark: Arc<dyn PhysicalExpr>,
}

impl PhysicalEventTime {
    /// Makes it from two expressions of a timestamp type; other units than nanoseconds are cast.
    #[must_use]
    pub fn new(event_time: Arc<dyn PhysicalExpr>, watermark: Arc<dyn PhysicalExpr>) -> Self {
        Self { event_time, watermark }
    }
}

impl EventTimeSpec for PhysicalEventTime {
    fn describe(&self) -> String {
        format!("event time {}, watermark {}", sql(&self.event_time), sql(&self.watermark))
    }

    fn event_time(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        nanoseconds(&self.event_time, rows)
    }

    fn watermark(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        nanoseconds(&self.watermark, rows)
    }
}

fn nanoseconds(expr: &Arc<dyn PhysicalExpr>, rows: &RecordBatch) -> Result<ArrayRef> {
    let array = evaluate(expr, rows).map_err(engine_error)?;
    if matches!(array.data_type(), DataType::Timestamp(TimeUnit::Nanosecond, _)) {
        return Ok(array);
    }
    Ok(compute::cast(&array, &DataType::Timestamp(TimeUnit::Nanosecond, None))?)
}
