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

use crate::cli::Command;
use headwater_core::Result;
use std::process::ExitCode;

/// Executes a command and says how the process is to end.
pub(crate) async fn execute(command: Command) -> Result<ExitCode> {
    match command {
        Command::Run { file, parallelism } => run::run(&file, parallelism).await?,
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
