//! `headwater explain --analyze`: runs a pipeline to the end of its input without writing anything, and shows its graph
//! with what each node read, emitted and kept.
//!
//! Sources are read as declared. Every sink is replaced by one that counts, so the run leaves nothing behind.

use crate::output::show;
use async_trait::async_trait;
use headwater_core::{
    Batch, Changes, Counter, Epoch, Error, Exchange, Graph, NodeBody, Prepared, Result, Sink, SinkSpec, StateSize,
    SystemClock, TaskContext,
};
use headwater_engine::{EngineOptions, NodeReport, RunReport, start};
use std::fmt::Write;
use std::sync::Arc;

/// Runs a graph and prints it with its numbers.
pub(crate) async fn analyze(name: String, graph: Graph, parallelism: usize) -> Result<()> {
    let nodes = describe(&graph)?;
    let mut options = EngineOptions::new(name, Arc::new(SystemClock));
    options.parallelism = parallelism;
    let handle = start(without_sinks(graph), options)?;
    let report = tokio::select! {
        biased;
        report = handle.join() => report?,
        result = tokio::signal::ctrl_c() => {
            result.map_err(|e| Error::io("cannot wait for Ctrl-C", e))?;
            handle.stop();
            handle.join().await?
        }
    };
    show(print(&nodes, &report));
    Ok(())
}

/// A node as it is shown.
struct Shown {
    name: String,
    /// What it does and keeps, a line for each.
    lines: Vec<String>,
    /// Where its rows go.
    outputs: Vec<String>,
}

fn describe(graph: &Graph) -> Result<Vec<Shown>> {
    let mut shown = Vec::with_capacity(graph.nodes.len());
    for id in graph.topological_order()? {
        let node = &graph.nodes[id];
        let mut lines = Vec::new();
        let operators = match &node.body {
            NodeBody::Source { source, operators, .. } => {
                lines.push(format!("source {}", source.describe()));
                operators.as_slice()
            }
            NodeBody::Chain(operators) => operators.as_slice(),
            NodeBody::Async(operator) => {
                lines.push(operator.describe());
                &[]
            }
            NodeBody::Sink(sink) => {
                lines.push(format!("sink {}", sink.describe()));
                &[]
            }
        };
        for operator in operators {
            lines.push(operator.describe());
            lines.extend(operator.state().map(|state| format!("  keeps {state}")));
        }
        let output = |edge: &headwater_core::Edge| {
            let how = match &edge.exchange {
                Exchange::Forward => "forward",
                Exchange::Gather => "gather",
                Exchange::Hash(_) => "hash",
            };
            let what = if edge.changing { "changing" } else { "append-only" };
            format!("  → {} [{how}, {what}]", graph.nodes[edge.to].name)
        };
        shown.push(Shown { name: node.name.clone(), lines, outputs: graph.outputs(id).map(output).collect() });
    }
    Ok(shown)
}

fn print(nodes: &[Shown], report: &RunReport) -> String {
    let mut text = String::new();
    for node in nodes {
        let counted = report.node(&node.name);
        let parallelism = counted.map_or(1, |node| node.parallelism);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{} ×{parallelism}", node.name);
        node.lines.iter().for_each(|line| text.push_str(&format!("    {line}\n")));
        if let Some(counted) = counted {
            let _ = writeln!(text, "    {}", numbers(counted));
        }
        node.outputs.iter().for_each(|line| text.push_str(&format!("{line}\n")));
    }
    for (reason, n) in &report.dead_letters {
        let _ = writeln!(text, "dead letters {reason}: {n}");
    }
    text
}

fn numbers(node: &NodeReport) -> String {
    let mut text = format!("rows in {}, out {}", node.count(Counter::RowsIn), node.count(Counter::RowsOut));
    let others = [Counter::DeadLetters, Counter::Duplicates, Counter::Corrections];
    for counter in others.into_iter().filter(|counter| node.count(*counter) > 0) {
        text.push_str(&format!(", {} {}", counter.name().replace('_', " "), node.count(counter)));
    }
    let StateSize { rows, bytes } = node.state_peak;
    if rows > 0 {
        text.push_str(&format!("; state at most {rows} rows, {bytes} bytes, in the end {} rows", node.state.rows));
    }
    text
}

fn without_sinks(mut graph: Graph) -> Graph {
    for node in &mut graph.nodes {
        if let NodeBody::Sink(sink) = &mut node.body {
            *sink = Arc::new(Counting(sink.clone()));
        }
    }
    graph.dead_letters = None;
    graph
}

/// A sink in the place of another, which is never opened.
#[derive(Debug)]
struct Counting(Arc<dyn SinkSpec>);

#[async_trait]
impl SinkSpec for Counting {
    fn describe(&self) -> String {
        self.0.describe()
    }

    fn changes(&self) -> Changes {
        self.0.changes()
    }

    fn parallelism_max(&self) -> usize {
        self.0.parallelism_max()
    }

    async fn open(&self, _context: &TaskContext) -> Result<Box<dyn Sink>> {
        Ok(Box::new(Counted))
    }
}

struct Counted;

#[async_trait]
impl Sink for Counted {
    async fn write(&mut self, _batch: Batch) -> Result<()> {
        Ok(())
    }

    async fn prepare(&mut self, _epoch: Epoch) -> Result<Prepared> {
        Ok(Prepared::default())
    }

    async fn commit(&mut self, _epoch: Epoch, _prepared: &Prepared) -> Result<()> {
        Ok(())
    }
}
