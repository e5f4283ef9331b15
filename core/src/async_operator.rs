//! The contract of what answers later: lookups in stores, remote models, asynchronous functions. It only answers; the
//! engine owns concurrency, order, timeouts, retries and time.

use crate::{Error, Reason, Result, TaskContext};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

/// Answers rows with rows, some time later.
///
/// It is asked by several requests at a time, in any order, and may be asked again for the same rows. What it answers
/// for a row depends on the row and on the world, never on the other rows of the request.
#[async_trait]
pub trait AsyncOperator: Send + Sync {
    /// Answers the rows of one request.
    ///
    /// # Errors
    /// `Unavailable` when asking again may help: the engine does, and gives the rows up after some tries. `Data` when
    /// the values of some row are at fault: the engine halves the request until it knows which. Anything else ends the
    /// pipeline.
    async fn answer(&self, rows: RecordBatch) -> Result<Answer>;
}

/// What came back for the rows of one request.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The result rows, in the schema of [`AsyncOperatorSpec::schema`].
    pub rows: RecordBatch,
    /// For each result row the row of the request that it answers, in growing order. A row of the request may have any
    /// number of result rows.
    pub of: Vec<u32>,
    /// The rows of the request that failed for good, in growing order, and why. They have no result rows.
    pub failed: Vec<(u32, Error)>,
}

/// How the engine asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsyncSettings {
    /// Whether results leave in the order of the rows. Otherwise they leave as they come; even then no watermark and
    /// no barrier overtakes a row. The results of a changing input are always ordered.
    pub ordered: bool,
    /// How many requests of one subtask are on their way at a time.
    pub in_flight_max: usize,
    /// How many rows one request has.
    pub request_rows_max: usize,
    /// How long one try of a request may take.
    pub timeout: Duration,
    /// How often a request is tried, the first time included.
    pub tries: u32,
}

impl Default for AsyncSettings {
    /// Ordered, 16 requests of at most 256 rows on their way (enough to hide the latency of a network, few enough for
    /// a store to bear), 10 s for each, 5 tries.
    fn default() -> Self {
        Self { ordered: true, in_flight_max: 16, request_rows_max: 256, timeout: Duration::from_secs(10), tries: 5 }
    }
}

impl AsyncSettings {
    /// Checks that every value is in its range.
    ///
    /// # Errors
    /// `Invalid`, with the name.
    pub fn check(&self) -> Result<()> {
        let positive = [
            ("in_flight_max", self.in_flight_max > 0),
            ("request_rows_max", self.request_rows_max > 0 && u32::try_from(self.request_rows_max).is_ok()),
            ("timeout", !self.timeout.is_zero()),
            ("tries", self.tries > 0),
        ];
        match positive.into_iter().find(|(_, fits)| !fits) {
            Some((name, _)) => Err(Error::invalid(format!("{name} must be greater than zero"))),
            None => Ok(()),
        }
    }
}

/// An asynchronous operator as declared: what the graph holds and prints, and what each subtask opens.
#[async_trait]
pub trait AsyncOperatorSpec: Send + Sync + Debug {
    /// Describes it in one line, without secrets: its name and its parameters.
    fn describe(&self) -> String;

    /// Returns the schema of the rows that it answers with.
    fn schema(&self) -> SchemaRef;

    /// Returns how it wants to be asked.
    fn settings(&self) -> AsyncSettings;

    /// Returns why a row that failed is in the dead-letter stream.
    fn reason(&self) -> Reason;

    /// Opens the operator of one subtask.
    ///
    /// # Errors
    /// `NotFound`, `Invalid` or `Unavailable`, with the place.
    async fn open(&self, context: &TaskContext) -> Result<Arc<dyn AsyncOperator>>;
}
