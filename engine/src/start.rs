//! Starting a pipeline: check, lay out, build the operators, then hand everything to the coordinator.
//!
//! Everything that can be refused without touching the outside is refused here, before the first task exists.
//! Sources and sinks are opened by the coordinator, all of them before the first row flows.

use crate::EngineOptions;
use crate::checkpoints::{Checkpoints, Layout, layouts};
use crate::coordinator::{self, Coordinator};
use crate::epochs::Epochs;
use crate::fused::Fused;
use crate::handle::{Handle, Shared};
use crate::identity::NodeIdentity;
use crate::inputs::Inputs;
use crate::kept_answers::KeptAnswers;
use crate::kept_dead_letters::KeptDeadLetters;
use crate::layout::{Subtask, lay_out};
use crate::output::TaskOutput;
use crate::report::{Gauges, LetterCounts, NodeCounters, NodeKind};
use crate::restore::{self, Difference, Restore};
use crate::state::Manifest;
use headwater_core::{
    AsyncOperatorSpec, Counters, Error, EventTimeSpec, Exchange, Graph, Node, NodeBody, NodeId, OperatorSpec, Result,
    SinkSpec, SourceSpec, TaskContext,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::task::JoinSet;

/// The name of the dead-letter sink in reports and errors.
pub const DEAD_LETTERS_NODE: &str = "dead letters";

/// A task whose source or sink is not open yet.
pub(crate) struct Unopened {
    pub(crate) context: TaskContext,
    /// What its state is found by.
    pub(crate) identity: NodeIdentity,
    pub(crate) body: UnopenedBody,
}

/// What a task is made of.
pub(crate) enum UnopenedBody {
    Source {
        source: Arc<dyn SourceSpec>,
        operators: Fused,
        event_time: Option<Arc<dyn EventTimeSpec>>,
        output: TaskOutput,
    },
    Chain {
        inputs: Inputs,
        operators: Fused,
        output: TaskOutput,
    },
    Async {
        operator: Arc<dyn AsyncOperatorSpec>,
        inputs: Inputs,
        output: TaskOutput,
        kept: Option<KeptAnswers>,
    },
    Sink {
        sink: Arc<dyn SinkSpec>,
        inputs: Inputs,
        counters: Arc<Counters>,
        letters: Option<TaskOutput>,
    },
}

/// Starts a pipeline on the current tokio runtime. Dropping the handle ends it at once, without a commit.
///
/// # Errors
/// `Invalid` when an option is out of range or an operator cannot be built; `Internal` when the graph is wired
/// wrongly. What goes wrong from opening the sources and sinks on is the result of [`Handle::join`].
pub fn start(graph: Graph, options: EngineOptions) -> Result<Handle> {
    let in_pipeline = |error: Error| error.at(format!("pipeline {}", options.pipeline));
    options.check().and_then(|()| graph.check()).map_err(in_pipeline)?;
    if graph.nodes.is_empty() {
        return Err(in_pipeline(Error::invalid("there is nothing to run: the graph is empty")));
    }
    let mut layouts = layouts(&graph).map_err(in_pipeline)?;
    layouts.push(dead_letter_layout());
    let restore = opened_checkpoint(&options, &layouts).map_err(in_pipeline)?;
    let (tasks, shared) = build(&graph, &options, &layouts).map_err(in_pipeline)?;
    let is_source = |task: &Unopened| matches!(task.body, UnopenedBody::Source { .. });
    let is_sink = |task: &Unopened| matches!(task.body, UnopenedBody::Sink { .. });
    let sources: BTreeSet<usize> = (0..tasks.len()).filter(|task| is_source(&tasks[*task])).collect();
    let n_sinks = tasks.iter().filter(|task| is_sink(task)).count();
    let n_snapshots = options.state.as_ref().map(|_| tasks.len() - n_sinks);
    let mut epochs = Epochs::new(sources, n_sinks, n_snapshots, &options);
    let last = options.state.as_ref().and_then(|state| state.last_epoch);
    if let (None, Some(last)) = (&restore, last) {
        epochs.number_from(last);
    }
    if let Some(restore) = &restore {
        epochs.go_on_after(last.max(Some(restore.epoch())).unwrap_or(restore.epoch()), restore.time());
    }
    let checkpoints = options.state.as_ref().map(|state| {
        let places = places(&tasks, &layouts);
        let former = restore.as_ref().map(Restore::manifest);
        Checkpoints::new(&options.pipeline, &state.definition, options.parallelism, layouts, places, former)
    });
    let shared = Arc::new(shared);
    let mut runner = JoinSet::new();
    let coordinator = Coordinator::new(options, epochs, shared.clone(), checkpoints, restore);
    runner.spawn(coordinator::run(coordinator, tasks));
    Ok(Handle::new(shared, runner))
}

/// Says what would become of state if a graph went on from a checkpoint.
///
/// # Errors
/// `Internal` when the graph is wired wrongly.
pub fn difference(manifest: &Manifest, graph: &Graph) -> Result<Difference> {
    Ok(restore::difference(manifest, &layouts(graph)?))
}

/// Makes the tasks, and what they share with the handle.
fn build(graph: &Graph, options: &EngineOptions, layouts: &[Layout]) -> Result<(Vec<Unopened>, Shared)> {
    let layout = lay_out(graph, options.parallelism, options.channel_rows_max)?;
    let letter_counts = Arc::new(LetterCounts::default());
    let mut nodes = Vec::with_capacity(graph.nodes.len() + 1);
    let mut tasks = Vec::new();
    for (id, (node, subtasks)) in graph.nodes.iter().zip(layout.nodes).enumerate() {
        let parallelism = subtasks.len();
        let routes = routes(graph, id);
        let mut counters = Vec::with_capacity(parallelism);
        for (subtask, channels) in subtasks.into_iter().enumerate() {
            let context = task_context(options, &layouts[id], subtask, parallelism).with_routes(routes.clone());
            let gauges = Gauges::default();
            let settings = Settings { gauges: gauges.clone(), letter_counts: letter_counts.clone(), options };
            let task = unopened(graph, id, (context, layouts[id].identity.clone()), channels, settings);
            tasks.push(task.map_err(|error| error.at(format!("node '{}', subtask {subtask}", node.name)))?);
            counters.push(gauges);
        }
        nodes.push(NodeCounters { name: node.name.clone(), kind: kind(node), subtasks: counters });
    }
    let kept = KeptDeadLetters::default();
    let declared = graph.dead_letters.clone().or_else(|| options.dead_letters.clone());
    let has_dead_letter_sink = declared.is_some();
    let gauges = Gauges::default();
    tasks.push(Unopened {
        context: task_context(options, &layouts[graph.nodes.len()], 0, 1),
        body: UnopenedBody::Sink {
            sink: declared.unwrap_or_else(|| Arc::new(kept.clone())),
            inputs: Inputs::new(layout.letters),
            counters: gauges.counters.clone(),
            letters: None,
        },
        identity: layouts[graph.nodes.len()].identity.clone(),
    });
    let name = DEAD_LETTERS_NODE.to_owned();
    nodes.push(NodeCounters { name, kind: NodeKind::DeadLetters, subtasks: vec![gauges] });
    let kept = (!has_dead_letter_sink).then_some(kept);
    let shared = Shared::new(&options.pipeline, nodes, letter_counts, kept);
    Ok((tasks, shared))
}

fn kind(node: &Node) -> NodeKind {
    match node.body {
        NodeBody::Source { .. } => NodeKind::Source,
        NodeBody::Chain(_) => NodeKind::Chain,
        NodeBody::Async(_) => NodeKind::Async,
        NodeBody::Sink(_) => NodeKind::Sink,
    }
}

fn task_context(options: &EngineOptions, layout: &Layout, subtask: usize, parallelism: usize) -> TaskContext {
    let state = options.state.as_ref();
    let restored = state.and_then(|state| state.restore.as_ref()).map(|manifest| manifest.epoch);
    let spool = state
        .and_then(|state| state.spool.as_ref())
        .map(|spool| spool.join(&layout.identity.node).join(subtask.to_string()));
    let context = TaskContext::new(options.pipeline.as_str(), layout.name.as_str(), options.clock.clone());
    context.with_subtask(subtask, parallelism).with_restored(restored).with_spool(spool)
}

/// Opens the checkpoint that the run goes on from.
fn opened_checkpoint(options: &EngineOptions, layouts: &[Layout]) -> Result<Option<Restore>> {
    let Some(state) = &options.state else { return Ok(None) };
    let Some(manifest) = &state.restore else { return Ok(None) };
    let restore = Restore::new(manifest.clone(), state.store.clone());
    if !state.may_lose {
        restore.check(layouts)?;
    }
    Ok(Some(restore))
}

/// The dead-letter sink as checkpoints see it: it is the same whatever the graph is.
fn dead_letter_layout() -> Layout {
    let identity = NodeIdentity { node: DEAD_LETTERS_NODE.replace(' ', "-"), operators: Vec::new() };
    Layout { name: DEAD_LETTERS_NODE.to_owned(), identity, operators: Vec::new() }
}

/// Returns for each task the number of its node and its subtask.
fn places(tasks: &[Unopened], layouts: &[Layout]) -> Vec<(usize, usize)> {
    let node = |task: &Unopened| layouts.iter().position(|layout| layout.name == *task.context.node).unwrap_or(0);
    tasks.iter().map(|task| (node(task), task.context.subtask)).collect()
}

/// Returns for each input of a node the columns by which rows find their subtask.
fn routes(graph: &Graph, id: NodeId) -> Vec<Vec<usize>> {
    let mut routes = Vec::new();
    for edge in graph.inputs(id) {
        routes.resize(routes.len().max(edge.input + 1), Vec::new());
        match &edge.exchange {
            Exchange::Forward | Exchange::Gather => {}
            Exchange::Hash(columns) => routes[edge.input].clone_from(columns),
        }
    }
    routes
}

/// What a task takes over from its run.
struct Settings<'a> {
    gauges: Gauges,
    letter_counts: Arc<LetterCounts>,
    options: &'a EngineOptions,
}

fn unopened(
    graph: &Graph,
    id: NodeId,
    (context, identity): (TaskContext, NodeIdentity),
    channels: Subtask,
    settings: Settings<'_>,
) -> Result<Unopened> {
    let node = &graph.nodes[id];
    let Subtask { inputs, outputs, letters } = channels;
    let Settings { gauges: Gauges { counters, state }, letter_counts, options } = settings;
    let output = |letters| TaskOutput {
        edges: outputs,
        letters,
        counters: counters.clone(),
        letter_counts,
        clock: options.clock.clone(),
        batch_rows_max: options.batch_rows_max,
        held_up: std::time::Duration::ZERO,
    };
    let fuse = |operators: &[Arc<dyn OperatorSpec>]| -> Result<Fused> {
        let built = operators.iter().map(|operator| operator.build(&context)).collect::<Result<_>>()?;
        Ok(Fused::new(built, counters.clone(), state.clone()))
    };
    let body = match (&node.body, letters) {
        (NodeBody::Source { source, operators, event_time }, Some(letters)) => UnopenedBody::Source {
            source: source.clone(),
            operators: fuse(operators)?,
            event_time: event_time.clone(),
            output: output(letters),
        },
        (NodeBody::Chain(operators), Some(letters)) => {
            UnopenedBody::Chain { inputs: Inputs::new(inputs), operators: fuse(operators)?, output: output(letters) }
        }
        (NodeBody::Async(operator), Some(letters)) => {
            operator.settings().check()?;
            let kept = kept_answers(graph, id, operator.as_ref(), &context)?;
            let inputs = Inputs::new(inputs);
            UnopenedBody::Async { operator: operator.clone(), inputs, output: output(letters), kept }
        }
        (NodeBody::Sink(sink), Some(letters)) => {
            let (sink, counters) = (sink.clone(), counters.clone());
            UnopenedBody::Sink { sink, inputs: Inputs::new(inputs), counters, letters: Some(output(letters)) }
        }
        (NodeBody::Source { .. } | NodeBody::Chain(_) | NodeBody::Async(_) | NodeBody::Sink(_), None) => {
            return Err(Error::internal("the channel for dead letters is laid out wrongly"));
        }
    };
    Ok(Unopened { context, identity, body })
}

/// Makes the memory of an asynchronous operator whose rows can be taken back; others need none.
fn kept_answers(
    graph: &Graph,
    id: NodeId,
    operator: &dyn AsyncOperatorSpec,
    context: &TaskContext,
) -> Result<Option<KeptAnswers>> {
    let Some(edge) = graph.inputs(id).find(|edge| edge.changing) else { return Ok(None) };
    let rows = graph.nodes[edge.from].body.schema().ok_or_else(|| Error::internal("a sink has no rows"))?;
    KeptAnswers::new(&rows, &operator.schema(), context.route(edge.input)).map(Some)
}
