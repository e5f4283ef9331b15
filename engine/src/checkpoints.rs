//! What the coordinator knows of checkpoints: which operators and sinks there are, what of their state is stored, and
//! so what the next manifest says.
//!
//! Its state is the list of the parts of every table. It is pure: reports go in, manifests come out.

use crate::identity::NodeIdentity;
use crate::snapshots::Written;
use crate::state::{FORMAT, Manifest, OperatorState, Part, SinkState, SourcePosition, SourceState, TableState};
use headwater_core::{Barrier, Error, Graph, NodeBody, OperatorSpec, Prepared, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

/// All that the tasks reported about one epoch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Collected {
    /// The barrier at its end.
    pub(crate) barrier: Barrier,
    /// Where each source task stood.
    pub(crate) positions: BTreeMap<usize, SourcePosition>,
    /// What each task wrote of its state.
    pub(crate) snapshots: BTreeMap<usize, Vec<Written>>,
    /// What each sink task prepared.
    pub(crate) tokens: BTreeMap<usize, Prepared>,
}

/// A run of parts of one table that became one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Merged {
    pub(crate) operator: String,
    pub(crate) table: String,
    /// The parts that it replaces.
    pub(crate) replaced: Vec<Part>,
    pub(crate) part: Part,
}

/// A node as checkpoints see it.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// Its name.
    pub(crate) name: String,
    /// Its identity and its operators'.
    pub(crate) identity: NodeIdentity,
    /// Of each of its operators: what it does, and whether it keeps anything.
    pub(crate) operators: Vec<(String, bool)>,
}

/// Returns the layout of every node of a graph.
pub(crate) fn layouts(graph: &Graph) -> Result<Vec<Layout>> {
    let identities = crate::identity::identities(graph)?;
    let describe = |operators: &[Arc<dyn OperatorSpec>]| -> Vec<(String, bool)> {
        operators.iter().map(|operator| (operator.describe(), operator.state().is_some())).collect()
    };
    let layout = |(id, identity): (usize, NodeIdentity)| {
        let node = &graph.nodes[id];
        let operators = match &node.body {
            NodeBody::Source { operators, .. } | NodeBody::Chain(operators) => describe(operators),
            NodeBody::Async(operator) => {
                vec![(operator.describe(), graph.inputs(id).any(|edge| edge.changing))]
            }
            NodeBody::Sink(_) => Vec::new(),
        };
        Layout { name: node.name.clone(), identity, operators }
    };
    Ok(identities.into_iter().enumerate().map(layout).collect())
}

/// The checkpoints of one run.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    pipeline: String,
    definition: String,
    parallelism: usize,
    layouts: Vec<Layout>,
    /// For each task, the number of its node and its subtask.
    tasks: Vec<(usize, usize)>,
    /// By identity, what is stored of each operator that keeps something.
    operators: BTreeMap<String, OperatorState>,
}

impl Checkpoints {
    /// Makes the checkpoints of a run that begins, or goes on from a manifest: what that one says of operators that
    /// there are not any more is left out.
    pub(crate) fn new(
        pipeline: &str,
        definition: &str,
        parallelism: usize,
        layouts: Vec<Layout>,
        tasks: Vec<(usize, usize)>,
        restored: Option<&Manifest>,
    ) -> Self {
        let mut operators = BTreeMap::new();
        for layout in &layouts {
            for (identity, (description, keeps)) in layout.identity.operators.iter().zip(&layout.operators) {
                let former = restored.and_then(|manifest| manifest.operators.iter().find(|o| o.identity == *identity));
                if former.is_none() && !keeps {
                    continue;
                }
                let state = OperatorState {
                    identity: identity.clone(),
                    node: layout.name.clone(),
                    description: description.clone(),
                    tables: former.map(|former| former.tables.clone()).unwrap_or_default(),
                };
                operators.insert(identity.clone(), state);
            }
        }
        let (pipeline, definition) = (pipeline.to_owned(), definition.to_owned());
        Self { pipeline, definition, parallelism, layouts, tasks, operators }
    }

    /// Takes over what an epoch wrote and returns its manifest.
    pub(crate) fn manifest(&mut self, collected: Collected, savepoint: Option<String>) -> Result<Manifest> {
        let Collected { barrier, positions, snapshots, tokens } = collected;
        for written in snapshots.into_values().flatten() {
            self.take_over(written)?;
        }
        let mut sources: BTreeMap<usize, SourceState> = BTreeMap::new();
        for (task, position) in positions {
            let (node, layout) = self.node(task)?;
            let state = sources.entry(node).or_insert_with(|| SourceState {
                node: layout.name.clone(),
                identity: layout.identity.node.clone(),
                subtasks: Vec::new(),
            });
            // Tasks are numbered by node and then by subtask, so each list comes out in order.
            state.subtasks.push(position);
        }
        let mut sinks: BTreeMap<usize, SinkState> = BTreeMap::new();
        for (task, token) in tokens {
            let (node, layout) = self.node(task)?;
            let state = sinks.entry(node).or_insert_with(|| SinkState {
                node: layout.name.clone(),
                identity: layout.identity.node.clone(),
                subtasks: Vec::new(),
            });
            state.subtasks.push(token);
        }
        Ok(Manifest {
            format: FORMAT,
            pipeline: self.pipeline.clone(),
            epoch: barrier.epoch,
            savepoint,
            time: barrier.time,
            parallelism: self.parallelism,
            definition: self.definition.clone(),
            sources: sources.into_values().collect(),
            operators: self.operators.values().cloned().collect(),
            sinks: sinks.into_values().collect(),
        })
    }

    /// Returns all tables that there are, to look for parts that are worth merging.
    pub(crate) fn tables(&self) -> impl Iterator<Item = (&str, &TableState)> {
        self.operators.values().flat_map(|operator| operator.tables.iter().map(|t| (operator.identity.as_str(), t)))
    }

    /// Puts a merged part in the place of those that it is made of, where they are still there.
    pub(crate) fn merged(&mut self, merged: Merged) {
        let operator = self.operators.get_mut(&merged.operator);
        let table = operator.and_then(|operator| operator.tables.iter_mut().find(|table| table.name == merged.table));
        if let Some(table) = table {
            table.replace(&merged.replaced, merged.part);
        }
    }

    fn node(&self, task: usize) -> Result<(usize, &Layout)> {
        let (node, _) = self.tasks.get(task).ok_or_else(|| Error::internal(format!("there is no task {task}")))?;
        Ok((*node, &self.layouts[*node]))
    }

    fn take_over(&mut self, written: Written) -> Result<()> {
        let Written { operator, table, key, route, part } = written;
        let state = match self.operators.get_mut(&operator) {
            Some(state) => state,
            None => {
                let state = self.undeclared(&operator)?;
                self.operators.entry(operator).or_insert(state)
            }
        };
        let found = state.tables.iter().position(|known| known.name == table);
        let at = found.unwrap_or_else(|| {
            state.tables.push(TableState {
                name: table.to_owned(),
                key: key.clone(),
                route: route.clone(),
                parts: Vec::new(),
            });
            state.tables.len() - 1
        });
        let stored = &mut state.tables[at];
        if (&stored.key, &stored.route) != (&key, &route) {
            return Err(Error::internal(format!("the table of state '{table}' has another key than before")));
        }
        stored.add(part);
        Ok(())
    }

    /// Makes the entry of an operator that did not say beforehand that it keeps anything.
    fn undeclared(&self, identity: &str) -> Result<OperatorState> {
        for layout in &self.layouts {
            if let Some(at) = layout.identity.operators.iter().position(|of| of == identity) {
                return Ok(OperatorState {
                    identity: identity.to_owned(),
                    node: layout.name.clone(),
                    description: layout.operators[at].0.clone(),
                    tables: Vec::new(),
                });
            }
        }
        Err(Error::internal(format!("there is no operator {identity}")))
    }
}
