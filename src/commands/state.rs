//! From flags to where a pipeline's state is kept, and which checkpoint it goes on from.

use crate::cli::State;
use headwater_core::Result;
use headwater_engine::StateOptions;
use headwater_engine::state::{StateLock, StateStore, check_savepoint_name};
use std::path::PathBuf;

/// Opens the state of a pipeline, locks it, and finds the checkpoint to go on from; `None` without `--state`.
pub(crate) async fn open(flags: &State, pipeline: &str, definition: &str) -> Result<Option<(StateOptions, StateLock)>> {
    let Some(url) = &flags.url else { return Ok(None) };
    if let Some(name) = &flags.savepoint {
        check_savepoint_name(name)?;
    }
    let store = StateStore::at(url, pipeline)?;
    let lock = store.lock().await?;
    let mut state = StateOptions::new(store.clone());
    match &flags.from {
        Some(name) => state.to_named(name).await?,
        None => state.to_latest().await?,
    }
    if let Err(error) = store.sweep(state.restore.as_deref()).await {
        // It costs space and nothing else, and must not keep a pipeline from going on from a checkpoint that is whole.
        tracing::warn!(%error, "cannot remove what an earlier run left");
    }
    state.retain = usize::from(flags.retain);
    definition.clone_into(&mut state.definition);
    state.spool = Some(spool(flags, url, pipeline));
    Ok(Some((state, lock)))
}

fn spool(flags: &State, url: &str, pipeline: &str) -> PathBuf {
    let folder = url.strip_prefix("file://").unwrap_or(url);
    match &flags.spool {
        Some(spool) => spool.join(pipeline),
        None if folder.contains("://") => PathBuf::from(".headwater/spool").join(pipeline),
        None => PathBuf::from(folder).join(pipeline).join("spool"),
    }
}
