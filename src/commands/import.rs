//! `headwater import`: programme exports into the inbox, or to the event bus.

use crate::cli::Import;
use crate::data_folder::{DataFolder, write_whole};
use crate::imports::{ImportService, Told};
use crate::output::show;
use crate::wiring::Log;
use headwater_bus::Bus;
use headwater_connectors::inbox::Inbox;
use headwater_core::{Error, Result, SystemClock};
use headwater_importers::{Kind, Summary};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// Imports files one after the other. It fails when a file cannot be imported; refused rows are no failure, they are
/// written beside the data and named.
pub(crate) async fn import(command: &Import) -> Result<ExitCode> {
    let data = DataFolder::open(&command.data.data)?;
    let log = match &command.bus {
        Some(url) => Log::Bus(Bus::connect(url).await?),
        None => Log::Inbox(Arc::new(Inbox::open(data.inbox())?)),
    };
    let service = ImportService::open(&data, log, Arc::new(SystemClock), command.mappings.clone())?;
    if command.errors.is_some() && command.files.len() > 1 {
        return Err(Error::invalid("--errors names one file, and there are several to import")
            .with_help("leave --errors out: each file gets its own error file in the data folder"));
    }
    for file in &command.files {
        let name = file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let told = Told {
            kind: command.kind.clone(),
            file_name: name.clone(),
            company: command.company.clone(),
            company_name: None,
            rating_scale: command.rating_scale.clone(),
        };
        let opened = File::open(file).map_err(|e| Error::io(format!("cannot read '{}'", file.display()), e))?;
        let mut errors = Vec::new();
        let (kind, summary) = service.import(&told, opened, Some(&mut errors))?;
        let errors_file = if summary.rejected + summary.partial > 0 && !summary.already_imported {
            let path = command.errors.clone().unwrap_or_else(|| error_file(&data, &name));
            write_whole(&path, &errors)?;
            Some(path)
        } else {
            None
        };
        show(shown(&name, kind, &summary, errors_file.as_deref()));
    }
    Ok(ExitCode::SUCCESS)
}

fn error_file(data: &DataFolder, name: &str) -> PathBuf {
    data.imports().join(format!("{name}.errors.csv"))
}

/// Says what became of a file.
pub(crate) fn shown(name: &str, kind: Kind, summary: &Summary, errors: Option<&Path>) -> String {
    if summary.already_imported {
        return format!("{name}: imported before, nothing to do ({} rows)\n", summary.total);
    }
    let mut text = format!(
        "{name} ({kind}): {} rows = {} accepted + {} refused + {} empty; {} events\n",
        summary.total, summary.success, summary.rejected, summary.skipped, summary.events
    );
    for (code, n) in &summary.codes {
        text.push_str(&format!("  {code}: {n}\n"));
    }
    for (note, n) in &summary.notes {
        text.push_str(&format!("  {note}: {n} rows\n"));
    }
    if !summary.ignored_columns.is_empty() {
        text.push_str(&format!("  columns not taken over: {}\n", summary.ignored_columns.join(", ")));
    }
    if let Some(errors) = errors {
        text.push_str(&format!("  refused rows: {}\n", errors.display()));
    }
    text
}
