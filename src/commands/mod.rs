//! One file per command. Each turns flags into calls and answers into text.

mod analyze;
mod bus;
mod checkpoints;
mod contracts;
mod demo;
mod generate;
mod import;
mod query;
mod run;
mod serve;
mod state;

use crate::cli::Command;
use headwater_core::{Error, Result};
use std::process::ExitCode;

/// Executes a command and says how the process is to end.
pub(crate) async fn execute(command: Command) -> Result<ExitCode> {
    match command {
        Command::Run { file, parallelism, state } => run::run(&file, parallelism, &state).await?,
        Command::Check { file } => run::check(&file)?,
        Command::Explain { file, analyze: true, parallelism, .. } => run::analyze(&file, parallelism).await?,
        Command::Explain { file, verbose, changes, .. } => run::explain(&file, run::detail(verbose, changes))?,
        Command::Query { sql, data } => query::query(&data.data, &sql)?,
        Command::Checkpoints(command) => return checkpoints::checkpoints(&command).await,
        Command::Contracts(command) => return contracts::contracts(&command),
        Command::Import(import) => return import::import(&import).await,
        Command::Publish(publish) => return bus::publish(&publish).await,
        Command::Tail(tail) => bus::tail(&tail).await?,
        Command::Generate(command) => generate::generate(&command).await?,
        Command::Serve { serve, data } => serve::serve(&serve, &data.data).await?,
        Command::Demo { size, serve, data, once } => demo::demo(size, &serve, &data, once).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits until somebody wants the process to end: Ctrl-C, or the signal by which service managers say so.
async fn stop_signal() -> Result<()> {
    let cannot = |error| Error::io("cannot wait for a signal", error);
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).map_err(cannot)?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result.map_err(cannot),
        _ = terminate.recv() => Ok(()),
    }
}
