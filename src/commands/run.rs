//! `headwater run`, `check` and `explain`: a file of SQL as a pipeline.

use crate::cli::State;
use crate::output::show;
use crate::wiring::SqlPlanner;
use headwater_core::{Counter, Error, Result, SystemClock};
use headwater_engine::{EngineOptions, NodeKind, Outcome, RunReport, start};
use headwater_sql::{Detail, Prepared};
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// Runs a pipeline until its input ends or Ctrl-C, and prints how many rows went where.
pub(crate) async fn run(file: &Path, parallelism: usize, state: &State) -> Result<()> {
    let (name, sql, planner) = read(file)?;
    let Prepared { explanations, graph } = planner.prepare(&name, &sql)?;
    explanations.into_iter().for_each(show);
    // A file that only explains is done.
    let Some(graph) = graph else { return Ok(()) };
    let mut options = EngineOptions::new(name.as_str(), Arc::new(SystemClock));
    options.parallelism = parallelism;
    options.flush_interval = state.checkpoint_interval;
    // The lock is held until everything has ended.
    let kept = super::state::open(state, &name, &sql).await?;
    options.state = kept.as_ref().map(|(state, _)| state.clone());
    let handle = start(graph, options)?;
    state.savepoint.iter().for_each(|name| handle.leave_savepoint(name));
    let report = tokio::select! {
        // The end first: a stop of what has ended would only be noise.
        biased;
        report = handle.join() => report?,
        result = super::stop_signal() => {
            result?;
            eprintln!("stopping: what has been read is committed");
            handle.stop();
            handle.join().await?
        }
    };
    eprintln!("{}", summary(&report));
    Ok(())
}

/// Checks a pipeline: nothing is printed when it is right.
pub(crate) fn check(file: &Path) -> Result<()> {
    let (name, sql, planner) = read(file)?;
    planner.check(&name, &sql)
}

/// Returns how much is to be said.
pub(crate) fn detail(verbose: bool, changes: bool) -> Detail {
    match (verbose, changes) {
        (true, _) => Detail::Verbose,
        (false, true) => Detail::Changes,
        (false, false) => Detail::Plan,
    }
}

/// Prints the graph of a pipeline.
pub(crate) fn explain(file: &Path, detail: Detail) -> Result<()> {
    let (name, sql, planner) = read(file)?;
    show(planner.explain(&name, &sql, detail)?);
    Ok(())
}

/// Runs a pipeline without writing, and prints its graph with what it read, emitted and kept.
pub(crate) async fn analyze(file: &Path, parallelism: usize) -> Result<()> {
    let (name, sql, planner) = read(file)?;
    let Prepared { explanations, graph } = planner.prepare(&name, &sql)?;
    explanations.into_iter().for_each(show);
    let Some(graph) = graph else { return Ok(()) };
    super::analyze::analyze(name, graph, parallelism).await
}

fn read(file: &Path) -> Result<(String, String, SqlPlanner)> {
    let sql = fs::read_to_string(file).map_err(|e| Error::io(format!("cannot read '{}'", file.display()), e))?;
    let name = file.file_stem().map_or_else(|| "pipeline".to_owned(), |name| name.to_string_lossy().into_owned());
    let base = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((name, sql, SqlPlanner::new(base)))
}

/// Says in one paragraph where the rows of a run went. Rows in, rows out and dead letters of the sources are counted
/// apart from each other, so a row that got lost between them shows.
pub(crate) fn summary(report: &RunReport) -> String {
    let sources = || report.nodes.iter().filter(|node| node.kind == NodeKind::Source);
    let sum = |counter| sources().map(|node| node.count(counter)).sum::<u64>();
    let (rows_in, rows_on, letters) = (sum(Counter::RowsIn), sum(Counter::RowsOut), sum(Counter::DeadLetters));
    let totals = report.totals();
    let rows_out = rows_on.saturating_sub(totals.duplicates);
    let mut text =
        format!("rows in {rows_in} = rows out {rows_out} + dead letters {letters} + duplicates {}", totals.duplicates);
    if rows_in != rows_on + letters {
        text.push_str(&format!("\nthis does not balance: {} rows are missing", rows_in.abs_diff(rows_on + letters)));
    }
    if totals.corrections > 0 {
        text.push_str(&format!("\nof the rows out, {} are corrections of earlier ones", totals.corrections));
    }
    if totals.dead_letters > letters {
        text.push_str(&format!("\nlater dead letters {} (late rows {})", totals.dead_letters - letters, totals.late));
    }
    for (reason, n) in &report.dead_letters {
        text.push_str(&format!("\n  dead letters {reason}: {n}"));
    }
    text.push_str(&format!("\nrows written {}", totals.sink_rows));
    if report.outcome == Outcome::Stopped {
        text.push_str("; stopped before the end of the input");
    }
    text
}
