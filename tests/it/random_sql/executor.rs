//! Runs a graph step by step, without tasks or channels: rows and watermarks are handed from node to node by calls, a
//! barrier visits the nodes in order, and what reaches the sinks is looked at after every epoch. The engine runs the
//! same operators with tasks and channels; the files of `tests/sql` go through it.
//!
//! Its state is that of the operators, and the rows that each sink holds.

use headwater_core::{
    Barrier, BarrierKind, Batch, Epoch, EventTime, EventTimeSpec, FixedClock, Graph, Message, NodeBody, NodeId,
    Operator, Output, Polled, Source, TaskContext, Watermark,
};
use headwater_engine::WatermarkMerge;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a sink holds: rows as text with their multiplicities.
pub(super) type Held = BTreeMap<Vec<String>, i64>;

struct Node {
    source: Option<Box<dyn Source>>,
    event_time: Option<Arc<dyn EventTimeSpec>>,
    operators: Vec<Box<dyn Operator>>,
    merge: WatermarkMerge,
    /// The greatest watermark of the rows that a source has read.
    reached: i64,
    is_sink: bool,
}

/// A graph that runs.
pub(super) struct Executor {
    graph: Graph,
    nodes: Vec<Node>,
    order: Vec<NodeId>,
    epoch: u64,
    held: Held,
    /// Rows that no operator could use.
    pub(super) letters: Vec<String>,
}

impl Executor {
    /// Opens the sources and builds the operators of a graph with one sink.
    pub(super) async fn new(graph: Graph) -> Self {
        let mut nodes = Vec::new();
        for (id, node) in graph.nodes.iter().enumerate() {
            let context = TaskContext::new("random", node.name.as_str(), Arc::new(FixedClock::new(EventTime(0))));
            let build = |specs: &[Arc<dyn headwater_core::OperatorSpec>]| -> Vec<Box<dyn Operator>> {
                specs.iter().map(|spec| spec.build(&context).expect("the operator builds")).collect()
            };
            let (source, event_time, operators, is_sink) = match &node.body {
                NodeBody::Source { source, operators, event_time } => {
                    let opened = source.open(&context).await.expect("the source opens");
                    (Some(opened), event_time.clone(), build(operators), false)
                }
                NodeBody::Chain(operators) => (None, None, build(operators), false),
                NodeBody::Async(_) => panic!("no query here asks the world"),
                NodeBody::Sink(_) => (None, None, Vec::new(), true),
            };
            let merge = WatermarkMerge::new(graph.inputs(id).count());
            nodes.push(Node { source, event_time, operators, merge, reached: i64::MIN, is_sink });
        }
        let order = graph.topological_order().expect("there is no cycle");
        Self { graph, nodes, order, epoch: 0, held: Held::new(), letters: Vec::new() }
    }

    /// Reads what the sources have, ends the epoch, and returns what the sink holds.
    pub(super) async fn epoch(&mut self) -> &Held {
        let mut is_idle = vec![false; self.nodes.len()];
        while let Some(id) = (0..self.nodes.len()).find(|id| self.nodes[*id].source.is_some() && !is_idle[*id]) {
            match self.nodes[id].source.as_mut().expect("it was asked").poll(usize::MAX).await.expect("rows") {
                Polled::Batch(read) => self.read(id, read.batch),
                Polled::Idle | Polled::End => is_idle[id] = true,
            }
        }
        self.barrier(BarrierKind::Flush);
        &self.held
    }

    /// Ends the input: the watermark passes everything.
    pub(super) fn end(&mut self) -> &Held {
        for id in self.order.clone() {
            if self.nodes[id].source.is_some() {
                self.emit(id, Message::Watermark(Watermark::At(EventTime::MAX)));
            }
        }
        self.barrier(BarrierKind::Stop);
        &self.held
    }

    /// Returns the watermark that the sources have reached.
    pub(super) fn watermark(&self) -> i64 {
        self.nodes.iter().filter(|node| node.event_time.is_some()).map(|node| node.reached).min().unwrap_or(i64::MAX)
    }

    /// Returns the wall time of the epoch that was last: time goes on within what the rows' times range over.
    pub(super) fn now(&self) -> EventTime {
        EventTime((100 + 40 * self.epoch as i64) * EventTime::SECOND)
    }

    fn read(&mut self, id: NodeId, batch: Batch) {
        let spec = self.nodes[id].event_time.clone();
        let watermarks = spec.map(|spec| spec.watermark(&batch.rows).expect("a watermark for each row"));
        self.operate(id, 0, 0, Message::Batch(batch));
        if let Some(watermarks) = watermarks {
            let watermarks =
                arrow::array::AsArray::as_primitive::<arrow::datatypes::TimestampNanosecondType>(&watermarks);
            let highest = arrow::compute::max(watermarks).unwrap_or(i64::MIN);
            self.nodes[id].reached = self.nodes[id].reached.max(highest);
            let reached = EventTime(self.nodes[id].reached);
            self.emit(id, Message::Watermark(Watermark::At(reached)));
        }
    }

    fn barrier(&mut self, kind: BarrierKind) {
        self.epoch += 1;
        let barrier = Barrier { epoch: Epoch(self.epoch), kind, time: self.now() };
        for id in self.order.clone() {
            for at in 0..self.nodes[id].operators.len() {
                let mut out = Output::default();
                self.nodes[id].operators[at].on_barrier(&barrier, &mut out).expect("the epoch ends");
                self.pass_on(id, at, out);
            }
        }
    }

    /// Hands a message to operator `at` of a node, or on to its readers behind the last.
    fn operate(&mut self, id: NodeId, at: usize, input: usize, message: Message) {
        let Some(operator) = self.nodes[id].operators.get_mut(at) else { return self.emit(id, message) };
        let mut out = Output::default();
        match message {
            Message::Batch(batch) => operator.on_batch(input, batch, &mut out).expect("a good batch"),
            Message::Watermark(watermark) => operator.on_watermark(watermark, &mut out).expect("a good watermark"),
            Message::Barrier(_) | Message::End => panic!("operators pass on rows and watermarks"),
        }
        self.pass_on(id, at, out);
    }

    fn pass_on(&mut self, id: NodeId, at: usize, mut out: Output) {
        self.letters.extend(out.take_dead_letters().into_iter().map(|letter| format!("{letter:?}")));
        for message in out.take_messages() {
            self.operate(id, at + 1, 0, message);
        }
    }

    fn emit(&mut self, id: NodeId, message: Message) {
        for edge in self.graph.outputs(id).cloned().collect::<Vec<_>>() {
            match &message {
                Message::Batch(batch) => {
                    assert!(edge.changing || batch.diffs.is_none(), "an append-only edge carries changes: {edge:?}");
                    if self.nodes[edge.to].is_sink {
                        self.hold(batch);
                    } else {
                        self.operate(edge.to, 0, edge.input, Message::Batch(batch.clone()));
                    }
                }
                Message::Watermark(watermark) => {
                    let inputs: Vec<_> = self.graph.inputs(edge.to).collect();
                    let channel = inputs.iter().position(|other| **other == edge).expect("an edge has two ends");
                    let merged = self.nodes[edge.to].merge.update(channel, *watermark);
                    if let Some(merged) = merged.filter(|_| !self.nodes[edge.to].is_sink) {
                        self.operate(edge.to, 0, 0, Message::Watermark(merged));
                    }
                }
                Message::Barrier(_) | Message::End => panic!("operators pass on rows and watermarks"),
            }
        }
    }

    fn hold(&mut self, batch: &Batch) {
        for (row, text) in super::texts(&batch.rows).into_iter().enumerate() {
            let n = self.held.entry(text).or_default();
            *n += batch.diff(row);
        }
        self.held.retain(|_, n| *n != 0);
    }
}
