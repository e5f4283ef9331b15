//! The scalar functions that Headwater adds to SQL. They are pure, total and the same in a stream and in a batch query.

mod calendar;
mod compiled;
mod hashes;
pub mod hop;
pub mod impact;
mod json;
#[cfg(test)]
mod library_tests;
mod number_format;
mod scalar;
mod single_value;
#[cfg(test)]
mod sql_tests;
mod strings;
pub mod text;
mod time;
mod times;
pub mod tumble;
pub(crate) mod window_rule;
pub mod window_time;

pub use window_rule::WindowRule;
mod urls;
mod zones;

use datafusion_expr::ScalarUDF;
use headwater_core::{Error, Result};
use headwater_text::{Policy, Screener};
pub use single_value::single_value;
use std::sync::Arc;

/// The key of the metadata of columns whose text is JSON.
pub const JSON_MARK: &str = json::JSON;

/// Returns all functions; `screen` follows the policy that ships with Headwater.
#[must_use]
pub fn all() -> Vec<Arc<ScalarUDF>> {
    with_screener(Screener::default())
}

/// Returns all functions; `screen` follows a policy file (TOML, the layout of [`POLICY`]).
///
/// # Errors
/// `Invalid` when the file is not a policy: an unknown kind or category, or `block` for self-harm.
pub fn with_policy(file: &str) -> Result<Vec<Arc<ScalarUDF>>> {
    let policy = Policy::from_toml(file).map_err(|error| Error::invalid(error.to_string()))?;
    Ok(with_screener(Screener::new(policy)))
}

/// The policy file that ships with Headwater, for users to edit.
pub const POLICY: &str = headwater_text::POLICY_FILE;

fn with_screener(screener: Screener) -> Vec<Arc<ScalarUDF>> {
    let mut functions = domain(screener);
    functions.extend(library());
    functions
}

/// Returns the functions that other engines have too: times, texts, URLs, hashes and JSON.
#[must_use]
pub fn library() -> Vec<Arc<ScalarUDF>> {
    [times::all(), zones::all(), strings::all(), urls::all(), hashes::all(), json::all()].concat()
}

fn domain(screener: Screener) -> Vec<Arc<ScalarUDF>> {
    vec![
        tumble::tumble(),
        hop::hop(),
        hop::cumulate(),
        window_time::window_time(),
        text::normalize(),
        text::screen(screener),
        text::classify(),
        impact::metric_id(),
        impact::cefr_score(),
        impact::integration_score(),
        impact::vis_score(),
        impact::sroi_present_value(),
        impact::sroi_ratio(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_file_that_is_none_is_refused_with_its_fault() {
        assert!(with_policy(POLICY).is_ok());
        let error =
            with_policy(&POLICY.replace("\"self-harm\" = \"review\"", "\"self-harm\" = \"block\"")).unwrap_err();
        assert!(error.to_string().contains("self-harm"), "{error}");
    }
}
