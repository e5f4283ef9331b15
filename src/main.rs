//! The `headwater` binary: flags, wiring, and how errors are shown. It has no logic of its own; what it does is join
//! packages that do not know each other.

mod bus_log;
mod cli;
mod commands;
mod data_folder;
mod imports;
mod output;
mod wiring;

use clap::Parser;
use cli::Cli;
use headwater_core::{Error, Result};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_env("HEADWATER_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
    match runtime().and_then(|runtime| runtime.block_on(commands::execute(cli.command))) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Error::io("cannot start", error))
}

/// Runs work that blocks, such as an fsync, where it holds up nobody.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let result = tokio::task::spawn_blocking(work).await;
    result.unwrap_or_else(|error| Err(Error::internal(format!("a task ended early: {error}"))))
}
