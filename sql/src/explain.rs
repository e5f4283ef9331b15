//! Prints what a pipeline will do: its nodes and edges, what each operator keeps and what frees it, and on request the
//! columns, the optimized plans, or how changes are told on each edge. It never runs anything; no state.

use crate::lower::Lowered;
use crate::share::{Insert, Shared, Unit};
use datafusion::arrow::datatypes::SchemaRef;
use headwater_core::{Edge, Exchange, Graph, Node, NodeBody, NodeId, OperatorSpec, Result};
use std::fmt::{self, Write};
use std::sync::Arc;

/// How much an explanation says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Detail {
    /// The graph.
    #[default]
    Plan,
    /// The graph with all columns, and the optimized plans that it was made from.
    Verbose,
    /// The graph, with how changes are told on each edge: never, as retractions, or as upserts by key.
    Changes,
}

/// Prints a graph.
pub(crate) fn explanation(lowered: &Lowered, inserts: &[Insert], shared: &Shared, detail: Detail) -> Result<String> {
    let mut text = String::new();
    // Writing to a text does not fail.
    let _ = graph(&mut text, lowered, detail)?;
    if detail == Detail::Verbose {
        for planned in &shared.plans {
            let what = match &planned.unit {
                Unit::Insert(number) => format!("insert into {}", inserts[*number].target),
                Unit::Relation(name) => name.clone(),
            };
            let plan = planned.plan.display_indent().to_string();
            let _ = writeln!(text, "\nplan of {what}");
            plan.lines().for_each(|line| {
                let _ = writeln!(text, "    {line}");
            });
        }
    }
    Ok(text)
}

fn graph(text: &mut String, lowered: &Lowered, detail: Detail) -> Result<fmt::Result> {
    let graph = &lowered.graph;
    for (place, id) in graph.topological_order()?.into_iter().enumerate() {
        if place > 0 {
            text.push('\n');
        }
        let is_changing = graph.inputs(id).any(|edge| edge.changing);
        let printed = node(text, &graph.nodes[id], is_changing, detail)
            .and_then(|()| graph.outputs(id).try_for_each(|edge| self::edge(text, lowered, edge, detail)));
        if printed.is_err() {
            return Ok(printed);
        }
    }
    Ok(Ok(()))
}

fn node(text: &mut String, node: &Node, is_changing: bool, detail: Detail) -> fmt::Result {
    writeln!(text, "{} (parallelism {})", node.name, parallelism(node))?;
    match &node.body {
        NodeBody::Source { source, operators, event_time } => {
            writeln!(text, "    source {}\n        {}", source.describe(), source.guarantee().words())?;
            if detail == Detail::Verbose {
                columns(text, &source.schema())?;
            }
            operators.iter().try_for_each(|operator| self::operator(text, operator.as_ref(), detail))?;
            match event_time {
                Some(event_time) => writeln!(text, "    {}", event_time.describe()),
                None => writeln!(text, "    no event time"),
            }
        }
        NodeBody::Chain(operators) => {
            operators.iter().try_for_each(|operator| self::operator(text, operator.as_ref(), detail))
        }
        NodeBody::Async(operator) => {
            writeln!(text, "    {}", operator.describe())?;
            if is_changing {
                // The engine does, so that a row takes back what it was answered.
                writeln!(text, "        keeps the answers to all rows; an answer is freed when its row is taken back")?;
            }
            if detail == Detail::Verbose {
                columns(text, &operator.schema())?;
            }
            Ok(())
        }
        NodeBody::Sink(sink) => writeln!(text, "    sink {}\n        {}", sink.describe(), sink.guarantee().words()),
    }
}

/// What a node may have at most; how many subtasks it gets is up to who runs it.
fn parallelism(node: &Node) -> String {
    let component_max = match &node.body {
        NodeBody::Source { source, .. } => source.parallelism_max(),
        NodeBody::Chain(_) | NodeBody::Async(_) => usize::MAX,
        NodeBody::Sink(sink) => sink.parallelism_max(),
    };
    match node.parallelism_max.min(component_max) {
        0 | 1 => "1".to_owned(),
        n => format!("up to {n}"),
    }
}

fn operator(text: &mut String, operator: &dyn OperatorSpec, detail: Detail) -> fmt::Result {
    writeln!(text, "    {}", operator.describe())?;
    if let Some(state) = operator.state() {
        writeln!(text, "        keeps {state}")?;
    }
    if detail == Detail::Verbose {
        columns(text, &operator.schema())?;
    }
    Ok(())
}

fn columns(text: &mut String, schema: &SchemaRef) -> fmt::Result {
    let column = |field: &Arc<datafusion::arrow::datatypes::Field>| {
        let not_null = if field.is_nullable() { "" } else { " not null" };
        format!("{} {}{not_null}", field.name(), field.data_type())
    };
    writeln!(text, "        columns {}", schema.fields().iter().map(column).collect::<Vec<_>>().join(", "))
}

fn edge(text: &mut String, lowered: &Lowered, edge: &Edge, detail: Detail) -> fmt::Result {
    let Lowered { graph, keys } = lowered;
    let how = match &edge.exchange {
        Exchange::Forward => "forward".to_owned(),
        Exchange::Gather => "gather".to_owned(),
        Exchange::Hash(columns) => format!("hash({})", names(graph, edge.from, columns)),
    };
    let key = keys.get(&edge.from).or_else(|| keys.get(&edge.to)).filter(|key| !key.is_empty());
    let what = match (edge.changing, detail, key) {
        (false, _, _) => "append-only".to_owned(),
        (true, Detail::Plan | Detail::Verbose, _) => "changing".to_owned(),
        (true, Detail::Changes, None) => "retract".to_owned(),
        (true, Detail::Changes, Some(key)) => format!("upsert by ({})", key.join(", ")),
    };
    let has_several = graph.inputs(edge.to).any(|other| other.input > 0);
    let input = if has_several { format!("#{}", edge.input) } else { String::new() };
    writeln!(text, "  → {}{input} [{how}, {what}]", graph.nodes[edge.to].name)
}

fn names(graph: &Graph, node: NodeId, columns: &[usize]) -> String {
    let schema = graph.nodes[node].body.schema();
    let name = |index: &usize| schema.as_ref().map_or_else(|| index.to_string(), |s| s.field(*index).name().clone());
    columns.iter().map(name).collect::<Vec<_>>().join(", ")
}
