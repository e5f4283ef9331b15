//! `headwater checkpoints`: what a pipeline would go on from, whether it is whole, and removing it.

use crate::cli::{Checkpoints, StateAt};
use crate::output::show;
use arrow::temporal_conversions::timestamp_ns_to_datetime;
use headwater_core::{Error, EventTime, Result, Route};
use headwater_engine::state::{Garbage, Listed, Manifest, OperatorState, StateStore, TableState};
use std::fmt::Write;
use std::process::ExitCode;

/// Executes one of the commands.
pub(crate) async fn checkpoints(command: &Checkpoints) -> Result<ExitCode> {
    match command {
        Checkpoints::List { state } => show(list(&open(state).await?.list().await?)),
        Checkpoints::Show { name, state } => show(manifest(&open(state).await?.find(name).await?)),
        Checkpoints::Verify { name, state } => return verify(&open(state).await?, name.as_deref()).await,
        Checkpoints::Delete { name, force, state } => {
            let store = open(state).await?;
            show(deleted(name, store.delete(name, *force).await?));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn open(state: &StateAt) -> Result<StateStore> {
    let StateAt { state: url, pipeline } = state;
    let names = StateStore::pipelines(url).await?;
    let known = || format!("there are: {}", names.join(", "));
    match (pipeline, names.as_slice()) {
        (_, []) => Err(Error::not_found(format!("there is no state of a pipeline at '{url}'"))),
        (Some(name), names) if names.contains(name) => StateStore::at(url, name),
        (Some(name), _) => {
            Err(Error::not_found(format!("there is no state of pipeline '{name}' at '{url}'")).with_help(known()))
        }
        (None, [only]) => StateStore::at(url, only),
        (None, _) => Err(Error::invalid(format!("there is state of several pipelines at '{url}'"))
            .with_help(format!("add --pipeline NAME; {}", known()))),
    }
}

/// Lays rows out in columns, those whose heading begins with `>` to the right.
fn table(headings: &[&str], rows: &[Vec<String>], indent: &str) -> String {
    let width = |at: usize| {
        let heading = headings[at].trim_start_matches('>').chars().count();
        rows.iter().map(|row| row[at].chars().count()).max().unwrap_or_default().max(heading)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let cell = |(at, cell): (usize, &str)| match headings[at].starts_with('>') {
            true => format!("{cell:>width$}", width = widths[at]),
            false => format!("{cell:width$}", width = widths[at]),
        };
        let cells: Vec<String> = cells.into_iter().enumerate().map(cell).collect();
        format!("{indent}{}\n", cells.join("  ").trim_end())
    };
    let mut text = line(headings.iter().map(|heading| heading.trim_start_matches('>')).collect());
    rows.iter().for_each(|row| text.push_str(&line(row.iter().map(String::as_str).collect())));
    text
}

fn list(listed: &[Listed]) -> String {
    let kind = |entry: &Listed| if entry.savepoint { "savepoint" } else { "checkpoint" }.to_owned();
    let whole = listed.iter().filter_map(|entry| {
        let summary = entry.summary.as_ref().ok()?;
        let numbers = [summary.epoch.to_string(), time(summary.time)];
        let sizes = [summary.operators.to_string(), summary.parts.to_string(), size(summary.bytes)];
        Some([entry.name.clone(), kind(entry)].into_iter().chain(numbers).chain(sizes).collect())
    });
    let rows: Vec<Vec<String>> = whole.collect();
    if listed.is_empty() {
        return "no checkpoint\n".to_owned();
    }
    let mut text = table(&["name", "kind", ">epoch", "time (UTC)", ">operators", ">parts", ">size"], &rows, "");
    for entry in listed {
        if let Err(fault) = &entry.summary {
            let _ = writeln!(text, "{} ({}) is broken: {fault}", entry.name, kind(entry));
        }
    }
    text
}

fn manifest(manifest: &Manifest) -> String {
    let mut text = format!("checkpoint {} of pipeline '{}'\n", manifest.epoch, manifest.pipeline);
    let mut fact = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {name:12} {value}");
    };
    if let Some(savepoint) = &manifest.savepoint {
        fact("savepoint", savepoint.clone());
    }
    fact("time (UTC)", time(manifest.time));
    fact("parallelism", manifest.parallelism.to_string());
    fact("size", format!("{} in {}", size(manifest.bytes()), parts(manifest.parts().count())));
    for source in &manifest.sources {
        let _ = writeln!(text, "\nsource {}: {}", source.node, source.identity);
        let positions = source.subtasks.iter().enumerate().flat_map(|(subtask, at)| {
            let watermark = at.watermark.map_or_else(|| "none".to_owned(), time);
            let row = move |(partition, position): (&String, &String)| {
                vec![subtask.to_string(), partition.clone(), position.clone(), watermark.clone()]
            };
            at.position.0.iter().map(row)
        });
        let rows: Vec<Vec<String>> = positions.collect();
        match rows.is_empty() {
            true => text.push_str("  nothing was read\n"),
            false => text.push_str(&table(&[">subtask", "partition", "position", "watermark (UTC)"], &rows, "  ")),
        }
    }
    manifest.operators.iter().for_each(|operator| text.push_str(&of_operator(operator)));
    for sink in &manifest.sinks {
        let n = sink.subtasks.len();
        let subtasks = if n == 1 { "1 subtask".to_owned() } else { format!("{n} subtasks") };
        let _ = writeln!(text, "\nsink {}: {}\n  prepared by {subtasks}", sink.node, sink.identity);
    }
    text
}

fn of_operator(operator: &OperatorState) -> String {
    let row = |state: &TableState| {
        let removed: u64 = state.parts.iter().map(|part| part.removed).sum();
        let route = match &state.route {
            Route::Key(columns) if columns.is_empty() => "one subtask",
            Route::Key(_) => "by key",
            Route::Anyone => "any",
            Route::Everyone => "all",
        };
        let numbers = [state.rows().to_string(), removed.to_string(), state.parts.len().to_string()];
        [state.name.clone(), route.to_owned()].into_iter().chain(numbers).chain([size(state.bytes())]).collect()
    };
    let rows: Vec<Vec<String>> = operator.tables.iter().map(row).collect();
    let heading = format!("\noperator {}: {}\n", operator.node, operator.description);
    heading + &table(&["table", "subtask", ">rows", ">removed", ">parts", ">size"], &rows, "  ")
}

async fn verify(store: &StateStore, name: Option<&str>) -> Result<ExitCode> {
    let listed = store.list().await?;
    let names: Vec<&str> = match name {
        Some(name) => vec![name],
        None => listed.iter().map(|entry| entry.name.as_str()).collect(),
    };
    let (mut n_faults, mut text) = (0, String::new());
    for name in names {
        match store.find(name).await {
            Ok(manifest) => {
                let verified = store.verify(&manifest).await;
                n_faults += verified.faults.len();
                let verdict = match verified.faults.len() {
                    0 => "whole".to_owned(),
                    1 => "1 fault".to_owned(),
                    n => format!("{n} faults"),
                };
                let _ = writeln!(text, "{name}: {verdict} ({}, {})", parts(verified.parts), size(verified.bytes));
                verified.faults.iter().for_each(|fault| text.push_str(&format!("  {}\n", one_line(fault))));
            }
            Err(fault) if listed.iter().any(|entry| entry.name == name) => {
                n_faults += 1;
                let _ = writeln!(text, "{name}: cannot be read\n  {}", one_line(&fault));
            }
            Err(error) => return Err(error),
        }
    }
    show(text);
    Ok(if n_faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Leaves the advice out: here it would be to verify.
fn one_line(fault: &Error) -> String {
    fault.to_string().lines().next().unwrap_or_default().to_owned()
}

fn deleted(name: &str, removed: Garbage) -> String {
    if removed.later {
        return format!("deleted '{name}'; the pipeline removes its parts, at the latest when it starts next\n");
    }
    match removed.parts {
        0 => format!("deleted '{name}'; all its parts are needed by others\n"),
        n => format!("deleted '{name}' and {} that only it had\n", parts(n)),
    }
}

fn parts(n: usize) -> String {
    if n == 1 { "1 part".to_owned() } else { format!("{n} parts") }
}

fn time(time: EventTime) -> String {
    match time {
        EventTime::MIN | EventTime::MAX => time.to_string(),
        EventTime(nanos) => timestamp_ns_to_datetime(nanos)
            .map_or_else(|| time.to_string(), |time| time.format("%Y-%m-%d %H:%M:%S").to_string()),
    }
}

fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for larger in ["kB", "MB", "GB", "TB"] {
        if value < 1000.0 {
            break;
        }
        value /= 1000.0;
        unit = larger;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}
