//! What an operator computes, as a short text by which its state is found again.
//!
//! The identity of an operator is a hash of its description, the columns that it emits, and the identities of
//! everything that it reads from, up to the sources. So it does not depend on names, on the order of nodes, on the
//! parallelism, or on what is done with its results. Equal operators over equal input are told apart by a number, in
//! the order of the graph. It is part of the stored format: a change of it loses everybody's state.

use arrow::datatypes::SchemaRef;
use headwater_core::{Graph, Node, NodeBody, OperatorSpec, Result};
use std::collections::HashMap;
use std::sync::Arc;
use twox_hash::XxHash3_64;

/// The identities of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeIdentity {
    /// Of the source or sink itself; of others, that of the last operator.
    pub node: String,
    /// Of each of its operators, in order; an asynchronous operator is one.
    pub operators: Vec<String>,
}

/// Returns the identities of all nodes of a graph, by the number of the node.
///
/// # Errors
/// `Internal` when the graph has a cycle.
pub fn identities(graph: &Graph) -> Result<Vec<NodeIdentity>> {
    let mut outputs: Vec<String> = vec![String::new(); graph.nodes.len()];
    let mut all = vec![NodeIdentity { node: String::new(), operators: Vec::new() }; graph.nodes.len()];
    let mut seen = HashMap::new();
    for id in graph.topological_order()? {
        let mut inputs: Vec<String> = graph
            .inputs(id)
            .map(|edge| format!("{} {} {}", edge.input, if edge.changing { "±" } else { "+" }, outputs[edge.from]))
            .collect();
        inputs.sort();
        let identity = of_node(&graph.nodes[id], inputs, &mut seen);
        outputs[id] = identity.operators.last().unwrap_or(&identity.node).clone();
        all[id] = identity;
    }
    Ok(all)
}

fn of_node(node: &Node, inputs: Vec<String>, seen: &mut HashMap<String, usize>) -> NodeIdentity {
    match &node.body {
        NodeBody::Source { source, operators, event_time } => {
            let own = unique(hash(&["source".to_owned(), source.describe()]), seen);
            let event_time = event_time.as_ref().map(|event_time| event_time.describe()).unwrap_or_default();
            let begin = hash(&[own.clone(), event_time, columns(&source.schema())]);
            NodeIdentity { node: own, operators: of_operators(begin, operators, seen) }
        }
        NodeBody::Chain(operators) => {
            let begin = hash(&inputs);
            let operators = of_operators(begin.clone(), operators, seen);
            NodeIdentity { node: operators.last().cloned().unwrap_or(begin), operators }
        }
        NodeBody::Async(operator) => {
            let own = unique(hash(&[hash(&inputs), operator.describe(), columns(&operator.schema())]), seen);
            NodeIdentity { node: own.clone(), operators: vec![own] }
        }
        // What a sink has prepared is for its store, whatever the rows were made from.
        NodeBody::Sink(sink) => {
            let own = unique(hash(&["sink".to_owned(), sink.describe()]), seen);
            NodeIdentity { node: own, operators: Vec::new() }
        }
    }
}

/// Each operator of a chain reads from the one before it, the first from what `begin` is the hash of.
fn of_operators(begin: String, operators: &[Arc<dyn OperatorSpec>], seen: &mut HashMap<String, usize>) -> Vec<String> {
    let mut last = begin;
    let mut identities = Vec::with_capacity(operators.len());
    for operator in operators {
        last = unique(hash(&[last, operator.describe(), columns(&operator.schema())]), seen);
        identities.push(last.clone());
    }
    identities
}

fn columns(schema: &SchemaRef) -> String {
    let columns = schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type()));
    columns.collect::<Vec<_>>().join(", ")
}

fn hash(parts: &[String]) -> String {
    // Each part with its length, so that no two lists read the same.
    let text: String = parts.iter().map(|part| format!("{}:{part};", part.len())).collect();
    format!("{:016x}", XxHash3_64::oneshot(text.as_bytes()))
}

fn unique(identity: String, seen: &mut HashMap<String, usize>) -> String {
    let n = seen.entry(identity.clone()).or_default();
    *n += 1;
    if *n == 1 { identity } else { format!("{identity}-{n}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::fixtures::{GraphBuilder, MemorySource, Store, pass};
    use headwater_core::Exchange;

    fn graph(n_chains: usize, sink_first: bool) -> Graph {
        let mut graph = GraphBuilder::default();
        if sink_first {
            graph.sink("unused", &Store::default());
            graph.graph.nodes.clear();
        }
        let source = graph.source("source", MemorySource::bounded(&[], 1), Some(0));
        for number in 0..n_chains {
            let chain = graph.chain(&format!("chain {number}"), vec![pass(), pass()], 1);
            let sink = graph.sink(&format!("sink {number}"), &Store::default());
            graph.connect(source, chain, Exchange::Hash(vec![0]));
            graph.connect(chain, sink, Exchange::Forward);
        }
        graph.graph
    }

    #[test]
    fn what_is_added_later_changes_no_identity() {
        let (one, two) = (identities(&graph(1, false)).unwrap(), identities(&graph(2, true)).unwrap());
        assert_eq!(one[..], two[..3]);
    }

    #[test]
    fn equal_operators_over_equal_input_are_told_apart() {
        let all: Vec<String> = identities(&graph(3, false)).unwrap().into_iter().flat_map(|of| of.operators).collect();
        let distinct: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!((all.len(), distinct.len()), (6, 6));
    }
}
