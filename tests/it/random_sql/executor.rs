//! Runs a graph step by step, without tasks or channels: rows and watermarks are handed from node to node by calls, a
//! barrier visits the nodes in order, and what reaches the sinks is looked at after every epoch. At random epochs all
//! operators are dropped, and others go on from what was stored of them, with another number of subtasks. The engine
//! runs the same operators with tasks and channels; the files of `tests/sql` go through it.
//!
//! Its state is that of the operators, what is stored of it, and the rows that each sink holds.

use super::stored::StoredState;
use super::subtasks::{self, Subtask};
use headwater_core::{
    Barrier, BarrierKind, Batch, Epoch, EventTime, EventTimeSpec, Graph, Message, NodeBody, NodeId, Output, Polled,
    Source, Watermark,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many subtasks a node has at most.
const PARALLELISM_MAX: usize = 4;

/// How often graphs were killed.
pub(super) static N_RESTARTS: AtomicU64 = AtomicU64::new(0);

/// What a sink holds: rows as text with their multiplicities.
pub(super) type Held = BTreeMap<Vec<String>, i64>;

struct Node {
    source: Option<Box<dyn Source>>,
    event_time: Option<Arc<dyn EventTimeSpec>>,
    subtasks: Vec<Subtask>,
    /// What is stored of each operator.
    stored: Vec<StoredState>,
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
    /// Decides about accidents.
    chance: ChaCha8Rng,
    /// Rows that no operator could use.
    pub(super) letters: Vec<String>,
}

impl Executor {
    /// Opens the sources and builds the operators of a graph with one sink; `seed` decides when it is killed.
    pub(super) async fn new(graph: Graph, seed: u64) -> Self {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let subtasks = subtasks::build(&graph, chance.random_range(1..=PARALLELISM_MAX), None);
        let mut nodes = Vec::new();
        for (id, (node, subtasks)) in graph.nodes.iter().zip(subtasks).enumerate() {
            let (source, event_time) = match &node.body {
                NodeBody::Source { source, event_time, .. } => {
                    let opened =
                        source.open(&subtasks::context(&graph, id, (0, 1), None)).await.expect("the source opens");
                    (Some(opened), event_time.clone())
                }
                NodeBody::Chain(_) | NodeBody::Async(_) | NodeBody::Sink(_) => (None, None),
            };
            let stored = subtasks::specs(&node.body).iter().map(|_| StoredState::default()).collect();
            let is_sink = matches!(node.body, NodeBody::Sink(_));
            nodes.push(Node { source, event_time, subtasks, stored, reached: i64::MIN, is_sink });
        }
        let order = graph.topological_order().expect("there is no cycle");
        Self { graph, nodes, order, epoch: 0, held: Held::new(), chance, letters: Vec::new() }
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
        if self.chance.random_bool(0.7) {
            self.barrier(BarrierKind::Checkpoint);
            self.checkpoint();
            if self.chance.random_bool(0.7) {
                self.restart();
            }
        } else {
            self.barrier(BarrierKind::Flush);
        }
        &self.held
    }

    /// Ends the input: the watermark passes everything.
    pub(super) fn end(&mut self) -> &Held {
        for id in self.order.clone() {
            if self.nodes[id].source.is_some() {
                self.emit(id, 0, Message::Watermark(Watermark::At(EventTime::MAX)));
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
        self.operate((id, 0), 0, 0, Message::Batch(batch));
        if let Some(watermarks) = watermarks {
            let watermarks =
                arrow::array::AsArray::as_primitive::<arrow::datatypes::TimestampNanosecondType>(&watermarks);
            let highest = arrow::compute::max(watermarks).unwrap_or(i64::MIN);
            self.nodes[id].reached = self.nodes[id].reached.max(highest);
            self.send_watermark(id);
        }
    }

    fn send_watermark(&mut self, id: NodeId) {
        let reached = EventTime(self.nodes[id].reached);
        self.emit(id, 0, Message::Watermark(Watermark::At(reached)));
    }

    fn barrier(&mut self, kind: BarrierKind) {
        self.epoch += 1;
        let barrier = Barrier { epoch: Epoch(self.epoch), kind, time: self.now() };
        for id in self.order.clone() {
            for subtask in 0..self.nodes[id].subtasks.len() {
                for at in 0..self.nodes[id].stored.len() {
                    let mut out = Output::default();
                    let operator = &mut self.nodes[id].subtasks[subtask].operators[at];
                    operator.on_barrier(&barrier, &mut out).expect("the epoch ends");
                    self.pass_on((id, subtask), at, out);
                }
            }
        }
    }

    /// Stores what has changed.
    fn checkpoint(&mut self) {
        for node in &mut self.nodes {
            let n_subtasks = node.subtasks.len();
            for (number, subtask) in node.subtasks.iter_mut().enumerate() {
                for (stored, operator) in node.stored.iter_mut().zip(&mut subtask.operators) {
                    stored.add((number, n_subtasks), operator.snapshot().expect("a snapshot"));
                }
            }
        }
    }

    /// Drops all operators and lets others go on from what is stored.
    fn restart(&mut self) {
        let wanted = self.chance.random_range(1..=PARALLELISM_MAX);
        let all = subtasks::build(&self.graph, wanted, Some(Epoch(self.epoch)));
        for (node, subtasks) in self.nodes.iter_mut().zip(all) {
            node.subtasks = subtasks;
            let n_subtasks = node.subtasks.len();
            for (number, subtask) in node.subtasks.iter_mut().enumerate() {
                for (stored, operator) in node.stored.iter().zip(&mut subtask.operators) {
                    stored.restore((number, n_subtasks), operator.as_mut(), &mut self.chance);
                }
            }
        }
        N_RESTARTS.fetch_add(1, Ordering::Relaxed);
        for id in self.order.clone() {
            if self.nodes[id].event_time.is_some() && self.nodes[id].reached > i64::MIN {
                self.send_watermark(id);
            }
        }
    }

    /// Hands a message to operator `at` of a subtask, or on to its readers behind the last.
    fn operate(&mut self, (id, subtask): (NodeId, usize), at: usize, input: usize, message: Message) {
        let operator = self.nodes[id].subtasks[subtask].operators.get_mut(at);
        let Some(operator) = operator else { return self.emit(id, subtask, message) };
        let mut out = Output::default();
        match message {
            Message::Batch(batch) => operator.on_batch(input, batch, &mut out).expect("a good batch"),
            Message::Watermark(watermark) => operator.on_watermark(watermark, &mut out).expect("a good watermark"),
            Message::Barrier(_) | Message::End => panic!("operators pass on rows and watermarks"),
        }
        self.pass_on((id, subtask), at, out);
    }

    fn pass_on(&mut self, of: (NodeId, usize), at: usize, mut out: Output) {
        self.letters.extend(out.take_dead_letters().into_iter().map(|letter| format!("{letter:?}")));
        for message in out.take_messages() {
            self.operate(of, at + 1, 0, message);
        }
    }

    fn emit(&mut self, id: NodeId, subtask: usize, message: Message) {
        let edges: Vec<_> = self.graph.edges.iter().cloned().enumerate().filter(|(_, edge)| edge.from == id).collect();
        for (number, edge) in edges {
            let n_receivers = self.nodes[edge.to].subtasks.len();
            if let Message::Batch(batch) = &message {
                assert!(edge.changing || batch.diffs.is_none(), "an append-only edge carries changes: {edge:?}");
            }
            match &message {
                Message::Batch(batch) if self.nodes[edge.to].is_sink => self.hold(batch),
                Message::Batch(batch) => {
                    for (receiver, share) in subtasks::split(&edge, subtask, n_receivers, batch) {
                        self.operate((edge.to, receiver), 0, edge.input, Message::Batch(share));
                    }
                }
                Message::Watermark(_) if self.nodes[edge.to].is_sink => {}
                Message::Watermark(watermark) => {
                    for receiver in subtasks::receivers(&edge, subtask, n_receivers) {
                        let Subtask { channels, merge, .. } = &mut self.nodes[edge.to].subtasks[receiver];
                        let channel = channels.iter().position(|from| *from == (number, subtask));
                        let merged = merge.update(channel.expect("it listens to the sender"), *watermark);
                        if let Some(merged) = merged {
                            self.operate((edge.to, receiver), 0, 0, Message::Watermark(merged));
                        }
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
