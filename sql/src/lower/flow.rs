//! The graph while it grows: a flow is a chain of operators that is not a node yet, so that what follows can still be
//! fused with it. It never decides what is computed. Its state is the graph and the names that are taken.

use crate::settings::Lateness;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::{DFSchema, DFSchemaRef};
use headwater_core::{Edge, Exchange, Graph, NodeBody, NodeId, OperatorSpec};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where keys decide which subtask gets a row, a node may have as many subtasks as there are key groups.
const PARALLELISM_BY_KEY_MAX: usize = 256;

/// One edge that leads into a flow.
#[derive(Debug, Clone)]
pub(crate) struct Feed {
    pub(crate) from: NodeId,
    pub(crate) input: usize,
    pub(crate) exchange: Exchange,
    pub(crate) changing: bool,
}

/// A chain of operators that may still grow.
#[derive(Debug, Clone)]
pub(crate) struct Flow {
    pub(crate) feeds: Vec<Feed>,
    pub(crate) operators: Vec<Arc<dyn OperatorSpec>>,
    /// The columns, as the rest of the plan names them.
    pub(crate) schema: DFSchemaRef,
    /// Whether rows can be taken back.
    pub(crate) changing: bool,
    /// What the tables that it reads say about late rows.
    pub(crate) lateness: Lateness,
    /// What the node is called after.
    pub(crate) label: &'static str,
}

impl Flow {
    /// Returns the columns as the operators see them.
    pub(crate) fn rows(&self) -> SchemaRef {
        self.schema.inner().clone()
    }

    /// Returns the flow with one more operator.
    pub(crate) fn then(mut self, operator: impl OperatorSpec + 'static, schema: DFSchema) -> Self {
        self.operators.push(Arc::new(operator));
        self.schema = Arc::new(schema);
        self
    }
}

/// The graph so far.
#[derive(Default)]
pub(crate) struct Wiring {
    pub(crate) graph: Graph,
    names: BTreeMap<String, usize>,
}

impl Wiring {
    /// Returns a name that no node has: `name`, `name_2`, `name_3`, …
    pub(crate) fn unique(&mut self, name: &str) -> String {
        let n = self.names.entry(name.to_owned()).or_default();
        *n += 1;
        let name = if *n == 1 { name.to_owned() } else { format!("{name}_{n}") };
        if name.ends_with(&format!("_{n}")) && *n > 1 {
            self.names.entry(name.clone()).or_insert(1);
        }
        name
    }

    /// Makes the operators of a flow a node, unless it is one already, and returns a flow that starts there.
    pub(crate) fn seal(&mut self, flow: Flow, name: &str) -> Flow {
        if let ([feed], []) = (flow.feeds.as_slice(), flow.operators.as_slice())
            && feed.exchange == Exchange::Forward
        {
            return flow;
        }
        let parallelism_max = self.parallelism_max(&flow.feeds);
        let mut operators = flow.operators;
        if operators.is_empty() {
            operators.push(Arc::new(headwater_operators::Union::new(flow.schema.inner().clone())));
        }
        let name = self.unique(name);
        let node = self.graph.add(name, NodeBody::Chain(operators), parallelism_max);
        self.connect(node, flow.feeds);
        let feed = Feed { from: node, input: 0, exchange: Exchange::Forward, changing: flow.changing };
        Flow { feeds: vec![feed], operators: Vec::new(), ..flow_like(flow.schema, flow.changing, flow.lateness) }
    }

    /// Connects feeds to a node.
    pub(crate) fn connect(&mut self, node: NodeId, feeds: Vec<Feed>) {
        for Feed { from, input, exchange, changing } in feeds {
            self.graph.connect(Edge { from, to: node, input, exchange, changing });
        }
    }

    /// Returns how many subtasks a node with these feeds may have.
    pub(crate) fn parallelism_max(&self, feeds: &[Feed]) -> usize {
        let of = |feed: &Feed| match feed.exchange {
            Exchange::Forward => self.graph.nodes[feed.from].parallelism_max,
            Exchange::Hash(_) => PARALLELISM_BY_KEY_MAX,
            Exchange::Gather => 1,
        };
        feeds.iter().map(of).max().unwrap_or(1)
    }

    /// Ends a chain and lets what follows start at an exchange.
    pub(crate) fn exchange(&mut self, flow: Flow, exchange: Exchange, name: &str) -> Flow {
        let mut sealed = self.seal(flow, name);
        for feed in &mut sealed.feeds {
            feed.exchange = exchange.clone();
        }
        sealed
    }
}

/// Returns a flow without feeds and operators.
pub(crate) fn flow_like(schema: DFSchemaRef, changing: bool, lateness: Lateness) -> Flow {
    Flow { feeds: Vec::new(), operators: Vec::new(), schema, changing, lateness, label: "rows" }
}
