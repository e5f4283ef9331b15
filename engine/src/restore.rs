//! Going on from a checkpoint: who gets what of it, at any parallelism.
//!
//! It reads parts and hands their rows to operators; it never decides what is in a checkpoint.

use crate::checkpoints::Layout;
use crate::fused::Fused;
use crate::kept_answers::KeptAnswers;
use crate::state::{Manifest, StateStore, TableState, restore_table};
use bytes::Bytes;
use headwater_core::{Epoch, Error, EventTime, Position, Prepared, Result};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Mutex;

/// The checkpoint that a run goes on from.
pub(crate) struct Restore {
    manifest: Arc<Manifest>,
    store: StateStore,
    /// The parts of each table while tasks are being restored: all subtasks of a node read the same ones.
    read: Mutex<HashMap<String, Arc<Vec<Bytes>>>>,
}

/// A table with its parts in memory.
pub(crate) struct Loaded {
    /// The number of the operator in its task.
    operator: usize,
    table: TableState,
    parts: Arc<Vec<Bytes>>,
}

/// What takes tables over.
pub(crate) enum Target<'a> {
    Operators(&'a mut Fused),
    Answers(&'a mut KeptAnswers),
}

impl Restore {
    pub(crate) fn new(manifest: Arc<Manifest>, store: StateStore) -> Self {
        Self { manifest, store, read: Mutex::default() }
    }

    /// Returns the epoch at whose end it was taken.
    pub(crate) fn epoch(&self) -> Epoch {
        self.manifest.epoch
    }

    /// Returns the wall time of that epoch.
    pub(crate) fn time(&self) -> EventTime {
        self.manifest.time
    }

    pub(crate) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Checks that everything that the checkpoint has state of is still there.
    pub(crate) fn check(&self, layouts: &[Layout]) -> Result<()> {
        let lost = difference(&self.manifest, layouts).lost;
        if lost.is_empty() {
            return Ok(());
        }
        let shown: Vec<String> = lost.iter().map(|(node, what)| format!("  {node}: {what}")).collect();
        Err(Error::conflict(format!(
            "the pipeline has changed since checkpoint {}, and this would be lost:\n{}",
            self.manifest.epoch,
            shown.join("\n")
        ))
        .with_help("show the change with 'headwater apply', which asks before it goes on without that state"))
    }

    /// Returns where a subtask of a source goes on, and the watermark that had been promised there; `None` when the
    /// checkpoint does not know the source.
    pub(crate) fn source(
        &self,
        identity: &str,
        subtask: usize,
        parallelism: usize,
    ) -> Option<(Position, Option<EventTime>)> {
        let state = self.manifest.sources.iter().find(|source| source.identity == identity)?;
        // Until all former subtasks have promised something, nothing is promised of all their rows.
        let watermark = state.subtasks.iter().map(|former| former.watermark).min().flatten();
        if state.subtasks.len() == parallelism {
            let former = &state.subtasks[subtask];
            return Some((former.position.clone(), watermark));
        }
        let all = state.subtasks.iter().flat_map(|former| former.position.0.clone());
        Some((Position(all.collect()), watermark))
    }

    /// Returns the tokens that a subtask of a sink has to commit again.
    pub(crate) fn tokens(&self, identity: &str, subtask: usize, parallelism: usize) -> Vec<Prepared> {
        let state = self.manifest.sinks.iter().find(|sink| sink.identity == identity);
        let tokens = state.iter().flat_map(|sink| sink.subtasks.iter().enumerate());
        tokens.filter(|(former, _)| former % parallelism == subtask).map(|(_, token)| token.clone()).collect()
    }

    /// Reads the state of a task's operators.
    pub(crate) async fn load(&self, operators: &[String]) -> Result<Vec<Loaded>> {
        let mut loaded = Vec::new();
        for (number, identity) in operators.iter().enumerate() {
            let Some(state) = self.manifest.operators.iter().find(|o| o.identity == *identity) else { continue };
            for table in &state.tables {
                let key = format!("{identity} {}", table.name);
                let mut read = self.read.lock().await;
                let parts = match read.get(&key) {
                    Some(parts) => parts.clone(),
                    None => {
                        let parts = Arc::new(self.store.read_parts(table).await?);
                        read.insert(key, parts.clone());
                        parts
                    }
                };
                loaded.push(Loaded { operator: number, table: table.clone(), parts });
            }
        }
        Ok(loaded)
    }

    /// Lets go of the parts in memory.
    pub(crate) async fn forget(&self) {
        self.read.lock().await.clear();
    }
}

/// Hands the rows of a subtask over.
pub(crate) fn take_over(
    loaded: Vec<Loaded>,
    subtask: usize,
    parallelism: usize,
    target: &mut Target<'_>,
) -> Result<()> {
    for Loaded { operator, table, parts } in loaded {
        let in_table = |error: Error| error.at(format!("state table '{}'", table.name));
        restore_table(&table, &parts, subtask, parallelism, |rows| match target {
            Target::Operators(operators) => operators.restore(operator, &table.name, rows),
            Target::Answers(answers) => answers.restore(&table.name, &rows),
        })
        .map_err(in_table)?;
    }
    match target {
        Target::Operators(operators) => operators.restore_end(),
        Target::Answers(answers) => answers.restore_end(),
    }
}

/// What becomes of state when a graph takes over from a checkpoint: for each operator or source its node and what it
/// does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// Goes on with its state.
    pub kept: Vec<(String, String)>,
    /// Is in the checkpoint and not in the graph.
    pub lost: Vec<(String, String)>,
    /// Is in the graph, keeps something, and begins with nothing.
    pub new: Vec<(String, String)>,
}

/// Compares a checkpoint with a graph.
pub(crate) fn difference(manifest: &Manifest, layouts: &[Layout]) -> Difference {
    let mut difference = Difference::default();
    let mut known = std::collections::HashSet::new();
    for layout in layouts {
        for (identity, (description, keeps)) in layout.identity.operators.iter().zip(&layout.operators) {
            let stored = manifest.operators.iter().any(|operator| operator.identity == *identity);
            if stored || *keeps {
                let list = if stored { &mut difference.kept } else { &mut difference.new };
                list.push((layout.name.clone(), description.clone()));
            }
            known.insert(identity.as_str());
        }
        known.insert(layout.identity.node.as_str());
    }
    for operator in manifest.operators.iter().filter(|operator| !known.contains(operator.identity.as_str())) {
        difference.lost.push((operator.node.clone(), operator.description.clone()));
    }
    for source in manifest.sources.iter().filter(|source| !known.contains(source.identity.as_str())) {
        difference.lost.push((source.node.clone(), "where it was read to".to_owned()));
    }
    difference
}
