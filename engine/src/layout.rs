//! From a graph to tasks: how many subtasks each node has, and which channels connect them.
//!
//! A channel is made for each pair of subtasks that an exchange may use, and no other: a subtask waits for barriers
//! on all its channels, so each must have a sender, and every subtask must have at least one. Besides its edges each
//! task has a channel to the one dead-letter sink. It is pure and runs before anything is opened.

use crate::channel::{Receiver, Sender, channel};
use crate::exchange::HashRouter;
use crate::output::OutputEdge;
use headwater_core::{Edge, Error, Exchange, Graph, Node, NodeBody, Result};

/// The channels of one subtask.
#[derive(Default)]
pub(crate) struct Subtask {
    /// What it reads, with the input of the node that each channel feeds.
    pub(crate) inputs: Vec<(usize, Receiver)>,
    /// What it sends to.
    pub(crate) outputs: Vec<OutputEdge>,
    /// The way to the dead-letter sink.
    pub(crate) letters: Option<Sender>,
}

/// The subtasks of each node, and the channels that lead to the dead-letter sink.
pub(crate) struct Layout {
    pub(crate) nodes: Vec<Vec<Subtask>>,
    pub(crate) letters: Vec<(usize, Receiver)>,
}

/// Lays a checked graph out.
pub(crate) fn lay_out(graph: &Graph, parallelism: usize, channel_rows_max: usize) -> Result<Layout> {
    let parallelism = effective_parallelism(graph, parallelism)?;
    let mut nodes: Vec<Vec<Subtask>> =
        parallelism.iter().map(|n| std::iter::repeat_with(Subtask::default).take(*n).collect()).collect();
    for edge in &graph.edges {
        connect(&mut nodes, edge, &graph.nodes[edge.from], channel_rows_max)?;
    }
    let mut letters = Vec::new();
    for subtask in nodes.iter_mut().flatten() {
        let (sender, receiver) = channel(channel_rows_max);
        subtask.letters = Some(sender);
        letters.push((0, receiver));
    }
    Ok(Layout { nodes, letters })
}

/// Returns how many subtasks each node has: what the user asks for, or less where the node or its component allows
/// less, where a gathering edge leads to it, or where only forward edges do and they come from fewer subtasks.
fn effective_parallelism(graph: &Graph, wanted: usize) -> Result<Vec<usize>> {
    let mut parallelism = vec![1; graph.nodes.len()];
    for id in graph.topological_order()? {
        let component_max = match &graph.nodes[id].body {
            NodeBody::Source { source, .. } => source.parallelism_max(),
            NodeBody::Chain(_) | NodeBody::Async(_) => usize::MAX,
            NodeBody::Sink(sink) => sink.parallelism_max(),
        };
        let mut reached = 0;
        let mut limit = component_max.min(graph.nodes[id].parallelism_max).min(wanted).max(1);
        for edge in graph.inputs(id) {
            match &edge.exchange {
                Exchange::Forward => reached = reached.max(parallelism[edge.from]),
                Exchange::Gather => limit = 1,
                Exchange::Hash(columns) if columns.is_empty() => limit = 1,
                Exchange::Hash(_) => reached = usize::MAX,
            }
        }
        parallelism[id] = if reached == 0 { limit } else { limit.min(reached) };
    }
    Ok(parallelism)
}

fn connect(nodes: &mut [Vec<Subtask>], edge: &Edge, from: &Node, channel_rows_max: usize) -> Result<()> {
    let schema = from.body.schema().ok_or_else(|| Error::internal(format!("node '{}' has no rows", from.name)))?;
    let n_receivers = nodes[edge.to].len();
    for sender in 0..nodes[edge.from].len() {
        let (router, receivers) = match &edge.exchange {
            Exchange::Forward => (None, sender % n_receivers..sender % n_receivers + 1),
            Exchange::Gather => (None, 0..1),
            Exchange::Hash(columns) => (Some(HashRouter::new(&schema, columns, n_receivers)?), 0..n_receivers),
        };
        let mut senders = Vec::with_capacity(receivers.len());
        for receiver in receivers {
            let (tx, rx) = channel(channel_rows_max);
            senders.push(tx);
            nodes[edge.to][receiver].inputs.push((edge.input, rx));
        }
        nodes[edge.from][sender].outputs.push(OutputEdge { router, receivers: senders });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::fixtures::{GraphBuilder, MemorySource, Store};

    fn sizes(graph: &Graph, parallelism: usize) -> Vec<usize> {
        lay_out(graph, parallelism, 10).unwrap().nodes.iter().map(Vec::len).collect()
    }

    #[test]
    fn parallelism_is_what_is_asked_for_or_what_the_node_allows() {
        let mut graph = GraphBuilder::default();
        let source = graph.source("source", MemorySource::bounded(&[], 3), None);
        let wide = graph.chain("wide", Vec::new(), 8);
        let narrow = graph.chain("narrow", Vec::new(), 2);
        let sink = graph.sink("sink", &Store::default());
        graph.connect(source, wide, Exchange::Hash(vec![0]));
        graph.connect(wide, narrow, Exchange::Forward);
        graph.connect(narrow, sink, Exchange::Gather);
        assert_eq!(sizes(&graph.graph, 1), [1, 1, 1, 1]);
        assert_eq!(sizes(&graph.graph, 5), [3, 5, 2, 1]);
    }

    #[test]
    fn a_node_fed_by_forward_edges_has_no_subtask_without_a_sender() {
        let mut graph = GraphBuilder::default();
        let source = graph.source("source", MemorySource::bounded(&[], 2), None);
        let chain = graph.chain("chain", Vec::new(), 8);
        let sink = graph.sink("sink", &Store::default());
        graph.connect(source, chain, Exchange::Forward);
        graph.connect(chain, sink, Exchange::Forward);
        assert_eq!(sizes(&graph.graph, 8), [2, 2, 2]);
        let layout = lay_out(&graph.graph, 8, 10).unwrap();
        for subtask in layout.nodes.iter().skip(1).flatten() {
            assert!(!subtask.inputs.is_empty());
        }
        assert_eq!(layout.letters.len(), 6, "two of each");
    }
}
