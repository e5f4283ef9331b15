//! The subtasks of the nodes of a graph, laid out as the engine does, and who sends to whom. Pure.

use headwater_core::{
    Batch, Edge, Epoch, EventTime, Exchange, FixedClock, Graph, KeyGroups, NodeBody, NodeId, Operator, OperatorSpec,
    TaskContext, subtask_of,
};
use headwater_engine::WatermarkMerge;
use std::sync::Arc;

/// One of several that do the same for different rows.
pub(super) struct Subtask {
    pub(super) operators: Vec<Box<dyn Operator>>,
    pub(super) merge: WatermarkMerge,
    /// What it hears: the edge, and which subtask of the sender.
    pub(super) channels: Vec<(usize, usize)>,
}

/// Returns the context of a subtask (which of how many) in a run that goes on from an epoch, or begins.
pub(super) fn context(
    graph: &Graph,
    id: NodeId,
    (subtask, parallelism): (usize, usize),
    restored: Option<Epoch>,
) -> TaskContext {
    let clock = Arc::new(FixedClock::new(EventTime(0)));
    let mut routes: Vec<Vec<usize>> = Vec::new();
    for edge in graph.inputs(id) {
        routes.resize(routes.len().max(edge.input + 1), Vec::new());
        if let Exchange::Hash(columns) = &edge.exchange {
            routes[edge.input].clone_from(columns);
        }
    }
    let context = TaskContext::new("random", graph.nodes[id].name.as_str(), clock);
    context.with_subtask(subtask, parallelism).with_routes(routes).with_restored(restored)
}

/// Returns the operators of a node as they are declared.
pub(super) fn specs(body: &NodeBody) -> &[Arc<dyn OperatorSpec>] {
    match body {
        NodeBody::Source { operators, .. } | NodeBody::Chain(operators) => operators,
        NodeBody::Async(_) => panic!("no query here asks the world"),
        NodeBody::Sink(_) => &[],
    }
}

/// Builds the subtasks of all nodes.
pub(super) fn build(graph: &Graph, wanted: usize, restored: Option<Epoch>) -> Vec<Vec<Subtask>> {
    let parallelism = parallelism(graph, wanted);
    let subtask = |id: NodeId, number: usize| {
        let n = parallelism[id];
        let context = context(graph, id, (number, n), restored);
        let build = |spec: &Arc<dyn OperatorSpec>| spec.build(&context).expect("the operator builds");
        let mut channels = Vec::new();
        for (at, edge) in graph.edges.iter().enumerate().filter(|(_, edge)| edge.to == id) {
            let senders = 0..parallelism[edge.from];
            channels.extend(senders.filter(|from| receivers(edge, *from, n).contains(&number)).map(|from| (at, from)));
        }
        let operators = specs(&graph.nodes[id].body).iter().map(build).collect();
        Subtask { operators, merge: WatermarkMerge::new(channels.len()), channels }
    };
    let of_node = |id: NodeId| (0..parallelism[id]).map(|number| subtask(id, number)).collect();
    (0..graph.nodes.len()).map(of_node).collect()
}

/// Returns which subtasks of the receiver a subtask of the sender may send to.
pub(super) fn receivers(edge: &Edge, sender: usize, n_receivers: usize) -> Vec<usize> {
    match &edge.exchange {
        Exchange::Forward => vec![sender % n_receivers],
        Exchange::Gather => vec![0],
        Exchange::Hash(_) => (0..n_receivers).collect(),
    }
}

/// Splits rows among the subtasks of the receiver.
pub(super) fn split(edge: &Edge, sender: usize, n_receivers: usize, batch: &Batch) -> Vec<(usize, Batch)> {
    let Exchange::Hash(columns) = &edge.exchange else {
        return vec![(receivers(edge, sender, n_receivers)[0], batch.clone())];
    };
    let groups = KeyGroups::new(&batch.schema(), columns).expect("columns of the rows").of(&batch.rows);
    let owners: Vec<usize> = groups.expect("key groups").iter().map(|group| subtask_of(*group, n_receivers)).collect();
    let share = |number: usize| {
        let rows = (0_u32..).zip(&owners).filter(|(_, owner)| **owner == number).map(|(row, _)| row);
        (number, batch.take(&rows.collect::<Vec<_>>().into()).expect("rows of the batch"))
    };
    (0..n_receivers).map(share).filter(|(_, share)| !share.is_empty()).collect()
}

/// Returns how many subtasks each node has, by the engine's rule.
fn parallelism(graph: &Graph, wanted: usize) -> Vec<usize> {
    let mut parallelism = vec![1; graph.nodes.len()];
    for id in graph.topological_order().expect("there is no cycle") {
        if matches!(graph.nodes[id].body, NodeBody::Source { .. } | NodeBody::Sink(_)) {
            continue;
        }
        let mut limit = graph.nodes[id].parallelism_max.min(wanted).max(1);
        let mut reached = 0;
        for edge in graph.inputs(id) {
            match &edge.exchange {
                Exchange::Forward => reached = reached.max(parallelism[edge.from]),
                Exchange::Gather => limit = 1,
                Exchange::Hash(columns) if columns.is_empty() => limit = 1,
                Exchange::Hash(_) => reached = usize::MAX,
            }
        }
        parallelism[id] = limit.min(reached.max(1));
    }
    parallelism
}
