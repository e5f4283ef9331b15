//! `headwater contracts`: which events are understood, and whether a file of them is right.

use crate::cli::Contracts;
use crate::output::{show, show_line};
use headwater_core::{Error, Result};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::process::ExitCode;

/// Answers a question about contracts.
pub(crate) fn contracts(command: &Contracts) -> Result<ExitCode> {
    match command {
        Contracts::List => list(),
        Contracts::Show { event_type } => describe(event_type)?,
        Contracts::Check { file } => return check(file),
        Contracts::Catalogue => show(headwater_contracts::event_catalogue_markdown()),
        Contracts::Asyncapi => show_line(format_args!("{:#}", headwater_contracts::asyncapi())),
    }
    Ok(ExitCode::SUCCESS)
}

fn list() {
    let contracts = headwater_contracts::catalog();
    let width = contracts.iter().map(|contract| contract.event_type().len()).max().unwrap_or_default();
    for contract in contracts {
        show_line(format_args!("{:width$}  {}  {}", contract.event_type(), contract.version(), contract.title()));
    }
}

fn describe(event_type: &str) -> Result<()> {
    let contract = headwater_contracts::find(event_type)?;
    show_line(contract.json_text().trim_end());
    show_line(format_args!("\ncolumns of CREATE TABLE t WITH (connector = 'inbox', contract = '{event_type}'):"));
    for field in contract.schema().fields() {
        let null = if field.is_nullable() { "" } else { " NOT NULL" };
        show_line(format_args!("  {} {}{null}", field.name(), field.data_type()));
    }
    show_line(format_args!("event time: {}", contract.event_time_column()));
    Ok(())
}

fn check(file: &Path) -> Result<ExitCode> {
    let reader: Box<dyn Read> = if file == Path::new("-") {
        Box::new(io::stdin())
    } else {
        let opened = File::open(file).map_err(|e| Error::io(format!("cannot read '{}'", file.display()), e))?;
        Box::new(opened)
    };
    let report = headwater_contracts::check_reader(BufReader::new(reader), &file.display().to_string())?;
    for letter in &report.dead_letters {
        let path = if letter.path.is_empty() { "line" } else { &letter.path };
        show_line(format_args!(
            "{}:{}: {} ({path}): {}",
            letter.source, letter.position, letter.reason, letter.message
        ));
    }
    let shown = report.dead_letters.len() as u64;
    if report.n_bad() > shown {
        show_line(format_args!("… and {} more", report.n_bad() - shown));
    }
    show_line(format_args!("{} lines = {} good + {} bad", report.n_lines, report.n_good(), report.n_bad()));
    for (event_type, n) in &report.events {
        show_line(format_args!("  {event_type}: {n}"));
    }
    for (reason, n) in &report.reasons {
        show_line(format_args!("  {reason}: {n}"));
    }
    Ok(if report.n_bad() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
