//! The wiring of a pipeline: declarative, printable, the same from SQL and from Rust.

use crate::{AsyncOperatorSpec, Clock, Epoch, Error, EventTimeSpec, OperatorSpec, Result, SinkSpec, SourceSpec};
use arrow::datatypes::SchemaRef;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// The number of a node in its graph: its index.
pub type NodeId = usize;

/// What a component may know about the task that it is part of.
#[derive(Clone)]
pub struct TaskContext {
    /// The name of the pipeline.
    pub pipeline: Arc<str>,
    /// The name of the node.
    pub node: Arc<str>,
    /// Which of the node's subtasks this is, from 0.
    pub subtask: usize,
    /// How many subtasks the node has.
    pub parallelism: usize,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// For each input of the node, the columns whose hash decides which subtask gets a row; none where there is only
    /// one subtask, or where rows stay with the sender's.
    pub routes: Arc<[Vec<usize>]>,
    /// The epoch of the checkpoint that this run goes on from; `None` for a run that begins.
    pub restored: Option<Epoch>,
    /// A folder that outlives the process, for what this subtask has to keep between an epoch's prepare and its
    /// commit; the same one for the same pipeline, node and subtask. It need not exist yet. `None` for a run that
    /// nothing will go on from.
    pub spool: Option<PathBuf>,
}

impl TaskContext {
    /// Makes the context of the only subtask of a node in a run that begins.
    #[must_use]
    pub fn new(pipeline: impl Into<Arc<str>>, node: impl Into<Arc<str>>, clock: Arc<dyn Clock>) -> Self {
        let routes = Arc::from(Vec::new());
        Self {
            pipeline: pipeline.into(),
            node: node.into(),
            subtask: 0,
            parallelism: 1,
            clock,
            routes,
            restored: None,
            spool: None,
        }
    }

    /// Says which of how many subtasks it is about.
    #[must_use]
    pub fn with_subtask(self, subtask: usize, parallelism: usize) -> Self {
        Self { subtask, parallelism, ..self }
    }

    /// Says by which columns of each input rows find their subtask.
    #[must_use]
    pub fn with_routes(self, routes: impl Into<Arc<[Vec<usize>]>>) -> Self {
        Self { routes: routes.into(), ..self }
    }

    /// Says which checkpoint the run goes on from.
    #[must_use]
    pub fn with_restored(self, restored: Option<Epoch>) -> Self {
        Self { restored, ..self }
    }

    /// Says where the subtask may keep what must outlive the process.
    #[must_use]
    pub fn with_spool(self, spool: Option<PathBuf>) -> Self {
        Self { spool, ..self }
    }

    /// Returns the columns by which rows of an input find their subtask.
    #[must_use]
    pub fn route(&self, input: usize) -> &[usize] {
        self.routes.get(input).map_or(&[], Vec::as_slice)
    }
}

/// Nodes and the edges between them, without cycles.
#[derive(Debug, Default)]
pub struct Graph {
    /// The nodes; an edge names them by index.
    pub nodes: Vec<Node>,
    /// The edges.
    pub edges: Vec<Edge>,
    /// Where dead letters of all nodes go; `None` where the caller brings a sink of its own.
    pub dead_letters: Option<Arc<dyn SinkSpec>>,
}

/// A source, a chain of fused operators, an asynchronous operator, or a sink.
#[derive(Debug)]
pub struct Node {
    /// A name that is unique in the graph and stable for an unchanged query.
    pub name: String,
    /// What it does.
    pub body: NodeBody,
    /// The greatest number of subtasks; the engine takes the smaller of this and what the user asked for.
    pub parallelism_max: usize,
}

/// What a node does.
#[derive(Debug)]
pub enum NodeBody {
    /// Reads.
    Source {
        /// The source.
        source: Arc<dyn SourceSpec>,
        /// Operators that run in the source's task before event time is looked at: decoding, validation.
        operators: Vec<Arc<dyn OperatorSpec>>,
        /// How the rows carry event time; without it the source has no watermark until it ends.
        event_time: Option<Arc<dyn EventTimeSpec>>,
    },
    /// Operators, each fed by the one before it; the first takes all inputs of the node.
    Chain(Vec<Arc<dyn OperatorSpec>>),
    /// Asks, and passes the answers on.
    Async(Arc<dyn AsyncOperatorSpec>),
    /// Writes.
    Sink(Arc<dyn SinkSpec>),
}

impl NodeBody {
    /// Returns the schema of the rows that leave the node; `None` for a sink.
    #[must_use]
    pub fn schema(&self) -> Option<SchemaRef> {
        match self {
            Self::Source { source, operators, .. } => {
                Some(operators.last().map_or_else(|| source.schema(), |operator| operator.schema()))
            }
            Self::Chain(operators) => operators.last().map(|operator| operator.schema()),
            Self::Async(operator) => Some(operator.schema()),
            Self::Sink(_) => None,
        }
    }
}

/// A path for messages from one node to one input of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// The sending node.
    pub from: NodeId,
    /// The receiving node.
    pub to: NodeId,
    /// Which input of the receiving node, from 0. Several edges may lead to one input.
    pub input: usize,
    /// Which subtask gets which row.
    pub exchange: Exchange,
    /// Whether rows carry multiplicities.
    pub changing: bool,
}

/// Which subtask of the receiver gets a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exchange {
    /// The one with the sender's number (modulo the receiver's parallelism).
    Forward,
    /// The one that owns the key group of these columns.
    Hash(Vec<usize>),
    /// The first: there is only one.
    Gather,
}

impl Graph {
    /// Adds a node and returns its number.
    pub fn add(&mut self, name: impl Into<String>, body: NodeBody, parallelism_max: usize) -> NodeId {
        self.nodes.push(Node { name: name.into(), body, parallelism_max });
        self.nodes.len() - 1
    }

    /// Connects two nodes.
    pub fn connect(&mut self, edge: Edge) {
        self.edges.push(edge);
    }

    /// Returns the edges that lead to a node.
    pub fn inputs(&self, node: NodeId) -> impl Iterator<Item = &Edge> {
        self.edges.iter().filter(move |edge| edge.to == node)
    }

    /// Returns the edges that leave a node.
    pub fn outputs(&self, node: NodeId) -> impl Iterator<Item = &Edge> {
        self.edges.iter().filter(move |edge| edge.from == node)
    }

    /// Checks what every graph must satisfy: edges name nodes, nodes have unique names, sources have no input, sinks
    /// no output, everything else both, and there is no cycle.
    ///
    /// # Errors
    /// `Internal`, with the node at fault: a graph is made by programs.
    pub fn check(&self) -> Result<()> {
        let n_nodes = self.nodes.len();
        if let Some(edge) = self.edges.iter().find(|edge| edge.from >= n_nodes || edge.to >= n_nodes) {
            return Err(Error::internal(format!("edge {} → {} leaves the graph", edge.from, edge.to)));
        }
        for (id, node) in self.nodes.iter().enumerate() {
            let (needs_input, needs_output) = match &node.body {
                NodeBody::Source { .. } => (false, true),
                NodeBody::Chain(operators) if operators.is_empty() => {
                    return Err(Error::internal(format!("node '{}' has no operator", node.name)));
                }
                NodeBody::Chain(_) | NodeBody::Async(_) => (true, true),
                NodeBody::Sink(_) => (true, false),
            };
            let fits = (self.inputs(id).count() > 0) == needs_input && (self.outputs(id).count() > 0) == needs_output;
            if !fits || node.parallelism_max == 0 {
                return Err(Error::internal(format!("node '{}' is wired wrongly", node.name)));
            }
            if self.nodes[..id].iter().any(|other| other.name == node.name) {
                return Err(Error::internal(format!("two nodes are called '{}'", node.name)));
            }
        }
        self.topological_order().map(|_| ())
    }

    /// Returns the nodes so that each comes after all that feed it.
    ///
    /// # Errors
    /// `Internal` when there is a cycle.
    pub fn topological_order(&self) -> Result<Vec<NodeId>> {
        let mut waiting: Vec<usize> = (0..self.nodes.len()).map(|id| self.inputs(id).count()).collect();
        let mut order: Vec<NodeId> = (0..self.nodes.len()).filter(|id| waiting[*id] == 0).collect();
        let mut next = 0;
        while let Some(&id) = order.get(next) {
            next += 1;
            for edge in self.outputs(id) {
                waiting[edge.to] -= 1;
                if waiting[edge.to] == 0 {
                    order.push(edge.to);
                }
            }
        }
        if order.len() < self.nodes.len() {
            return Err(Error::internal("the graph has a cycle"));
        }
        Ok(order)
    }
}

impl fmt::Display for Graph {
    /// One paragraph per node in topological order: its operators, then where its rows go.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = self.topological_order().unwrap_or_else(|_| (0..self.nodes.len()).collect());
        for id in order {
            let node = &self.nodes[id];
            writeln!(f, "{}", node.name)?;
            match &node.body {
                NodeBody::Source { source, operators, event_time } => {
                    writeln!(f, "    source {}", source.describe())?;
                    for operator in operators {
                        writeln!(f, "    {}", operator.describe())?;
                    }
                    if let Some(event_time) = event_time {
                        writeln!(f, "    {}", event_time.describe())?;
                    }
                }
                NodeBody::Chain(operators) => {
                    for operator in operators {
                        writeln!(f, "    {}", operator.describe())?;
                    }
                }
                NodeBody::Async(operator) => writeln!(f, "    {}", operator.describe())?,
                NodeBody::Sink(sink) => writeln!(f, "    sink {}", sink.describe())?,
            }
            for edge in self.outputs(id) {
                let how = match &edge.exchange {
                    Exchange::Forward => "forward".to_owned(),
                    Exchange::Gather => "gather".to_owned(),
                    Exchange::Hash(columns) => format!("hash({})", column_names(node, columns)),
                };
                let what = if edge.changing { "changing" } else { "append-only" };
                let to = &self.nodes[edge.to].name;
                let input =
                    if self.inputs(edge.to).any(|e| e.input > 0) { format!("#{}", edge.input) } else { String::new() };
                writeln!(f, "  → {to}{input} [{how}, {what}]")?;
            }
        }
        Ok(())
    }
}

fn column_names(node: &Node, columns: &[usize]) -> String {
    let schema = node.body.schema();
    let name = |index: &usize| schema.as_ref().map_or_else(|| index.to_string(), |s| s.field(*index).name().clone());
    columns.iter().map(name).collect::<Vec<_>>().join(", ")
}
