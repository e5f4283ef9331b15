//! The scalar functions that Headwater adds to SQL. They are pure, total and the same in a stream and in a batch query.

mod calendar;
pub mod impact;
mod scalar;
#[cfg(test)]
mod sql_tests;
pub mod text;
pub mod tumble;

use datafusion_expr::ScalarUDF;
use std::sync::Arc;

/// Returns all functions.
#[must_use]
pub fn all() -> Vec<Arc<ScalarUDF>> {
    vec![
        tumble::tumble(),
        text::normalize(),
        text::screen(),
        text::classify(),
        impact::metric_id(),
        impact::cefr_score(),
        impact::integration_score(),
        impact::vis_score(),
        impact::sroi_present_value(),
        impact::sroi_ratio(),
    ]
}
