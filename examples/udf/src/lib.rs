//! An example: functions of one's own in Headwater's SQL, and a pipeline that calls them.
//!
//! [`functions`] shows the ways to write one: closures over typed values, with and without nulls, with errors, an
//! aggregate over the values of a group, and DataFusion's own kind of aggregate ([`longest`]). [`run`] plans a text with them and runs it to the end of its input. Nothing
//! here is needed by the `headwater` binary; copy what you need into a program of your own.

pub mod longest;

use headwater_core::{Registry, Result, SystemClock};
use headwater_engine::{EngineOptions, RunReport, start};
use headwater_sql::{FunctionRegistry, PlanOptions, Planner};
use std::path::Path;
use std::sync::Arc;

/// Returns the functions that the pipeline calls.
#[must_use]
pub fn functions() -> FunctionRegistry {
    let mut functions = FunctionRegistry::new();
    // A null argument gives null, without the closure being called.
    functions.scalar("masked", |name: String| {
        let mut letters = name.chars();
        letters.next().map(|first| format!("{first}{}", "*".repeat(letters.count())))
    });
    // A closure that takes an Option sees nulls.
    functions.scalar("hours_credit", |minutes: i64, is_trained: Option<bool>| {
        let factor = if is_trained.unwrap_or(false) { 1.25 } else { 1.0 };
        minutes as f64 / 60.0 * factor
    });
    // An error is the message of a dead letter; the other rows go on.
    functions.scalar("postcode_region", |postcode: String| match postcode.as_bytes() {
        [first, _, _, _] if postcode.bytes().all(|byte| byte.is_ascii_digit()) => Ok(i64::from(first - b'0')),
        _ => Err(format!("'{postcode}' is not a Norwegian postcode")),
    });
    // An aggregate is a closure over the values that a group has now, whatever was corrected before.
    functions.aggregate("gini", gini);
    // DataFusion's kind keeps what it needs and no more.
    functions.aggregate_udf(longest::longest());
    functions
}

/// How unevenly amounts are spread: 0 where all are equal, towards 1 where one has everything.
fn gini(amounts: &[f64]) -> Option<f64> {
    let mut sorted = amounts.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (n, sum) = (sorted.len() as f64, sorted.iter().sum::<f64>());
    let weighted: f64 = sorted.iter().zip(1u32..).map(|(amount, rank)| f64::from(rank) * amount).sum();
    (sum > 0.0).then(|| 2.0 * weighted / (n * sum) - (n + 1.0) / n)
}

/// Plans a pipeline with these functions and runs it to the end of its input.
///
/// # Errors
/// `Invalid` with line and column for a mistake in the text; whatever the connectors find while it runs.
pub async fn run(sql: &str, base: &Path) -> Result<RunReport> {
    let mut registry = Registry::default();
    for connector in headwater_connectors::connectors().into_iter().chain(headwater_sinks::connectors()) {
        registry.add(connector);
    }
    let planner = Planner::new(registry).with_udfs(&functions())?;
    let graph = planner.plan(sql, &PlanOptions { pipeline: "udf".to_owned(), base: base.to_owned() })?;
    start(graph, EngineOptions::new("udf".to_owned(), Arc::new(SystemClock)))?.join().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::fs;

    fn run_here(sql: &str, base: &Path) -> Result<RunReport> {
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime").block_on(run(sql, base))
    }

    /// Folds a changelog into the lines that are left.
    fn left(text: &str) -> Vec<String> {
        let mut rows: BTreeMap<String, i64> = BTreeMap::new();
        for line in text.lines() {
            let after = line.split_once("\"after\":").map_or(line, |(_, after)| after);
            let (before, after) = match line.split_once("\"before\":") {
                Some((_, rest)) => (rest.split_once(",\"after\"").map_or("null", |(before, _)| before), after),
                None => ("null", after),
            };
            let row = |text: &str| text.find('}').map(|end| text[..=end].to_owned());
            if let Some(row) = row(before) {
                *rows.entry(row).or_default() -= 1;
            }
            if let Some(row) = row(after).filter(|_| !after.starts_with("null")) {
                *rows.entry(row).or_default() += 1;
            }
        }
        rows.into_iter().filter(|(_, n)| *n > 0).map(|(row, _)| row).collect()
    }

    #[test]
    fn the_pipeline_runs_and_its_aggregate_is_right_after_corrections() {
        let place = tempfile::tempdir().expect("a folder");
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        fs::create_dir(place.path().join("data")).expect("a folder is made");
        fs::copy(here.join("data/donations.csv"), place.path().join("data/donations.csv")).expect("a copy");
        let sql = fs::read_to_string(here.join("pipeline.sql")).expect("the pipeline is read");
        let report = run_here(&sql, place.path()).expect("it runs");
        assert_eq!(report.dead_letters.iter().map(|(_, n)| n).sum::<u64>(), 1, "{report:?}");
        let spread = fs::read_to_string(place.path().join("spread.json")).expect("an output");
        let spread = left(&spread);
        // Oslo: 100 and 100 after the correction of 400, which took the longest name away; Bergen: 0, 30 and 60.
        let expected = [
            r#"{"city":"Bergen","n":3,"longest":"Dagny","spread":0.444"#,
            r#"{"city":"Oslo","n":2,"longest":"Ada","spread":0.0,"among_different":0.0}"#,
        ];
        assert_eq!(spread.len(), expected.len(), "{spread:?}");
        for (row, start) in spread.iter().zip(expected) {
            assert!(row.starts_with(start), "{row}");
        }
        let people = fs::read_to_string(place.path().join("people.json")).expect("an output");
        assert!(people.contains(r#""who":"A**","credit":2.5,"region":0"#), "{people}");
    }

    #[test]
    fn wrong_calls_are_shown_where_they_are() {
        let error = run_here("SELECT masked(1, 2);", Path::new(".")).expect_err("two arguments").to_string();
        assert!(error.contains("line 1, column 8") && error.contains("masked takes 1 argument, not 2"), "{error}");
    }
}
