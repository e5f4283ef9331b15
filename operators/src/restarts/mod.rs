//! Kills operators and starts them again at another parallelism, in the middle of any test.
//!
//! [`Restarting`] stands for one operator and is several: rows find their subtask as the engine sends them. At random
//! barriers it takes snapshots, drops all subtasks, and restores others from what was stored. Next to them runs one
//! that is never interrupted, and after each epoch both must have shown the same: rows, dead letters, counts and
//! watermark.

mod model;
mod tests;

use crate::oracle::Table;
use crate::testing::context;
use arrow::array::UInt32Array;
use headwater_core::{
    Barrier, Batch, Counter, Epoch, KeyGroups, Message, Operator, OperatorSpec, Output, Result, Snapshot, StateSize,
    Watermark, subtask_of,
};
use model::StoredState;
use rand::prelude::*;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many subtasks there are at most.
const PARALLELISM_MAX: usize = 5;

static N_BUILT: AtomicU64 = AtomicU64::new(0);
static N_RESTARTS: AtomicU64 = AtomicU64::new(0);

/// An operator in several subtasks that is killed now and then.
pub(crate) struct Restarting<'a> {
    spec: &'a dyn OperatorSpec,
    routes: Vec<Vec<usize>>,
    rng: ChaCha8Rng,
    subtasks: Vec<Subtask>,
    stored: StoredState,
    uninterrupted: Box<dyn Operator>,
    /// What has been shown in this epoch, and what the uninterrupted one has shown.
    shown: [Shown; 2],
    n_restarts: usize,
}

struct Subtask {
    operator: Box<dyn Operator>,
    /// What it last said of its watermark.
    watermark: Option<Watermark>,
}

/// What an operator has let out during an epoch.
#[derive(Default, PartialEq, Debug)]
struct Shown {
    net: Table,
    letters: BTreeMap<String, usize>,
    counts: BTreeMap<&'static str, u64>,
    watermark: Option<i64>,
}

impl Shown {
    fn take(&mut self, messages: &[Message], letters: Vec<String>, counts: &[(Counter, u64)]) {
        for message in messages {
            match message {
                Message::Batch(batch) => self.net.apply(batch),
                Message::Watermark(Watermark::At(time)) => {
                    self.watermark = Some(self.watermark.map_or(time.0, |last| last.max(time.0)));
                }
                Message::Watermark(Watermark::Idle) => {}
                Message::Barrier(_) | Message::End => panic!("an operator must not emit {message:?}"),
            }
        }
        for letter in letters {
            *self.letters.entry(letter).or_default() += 1;
        }
        for (counter, n) in counts {
            *self.counts.entry(counter.name()).or_default() += n;
        }
    }
}

/// Makes an operator that is killed now and then. `routes` has for each input the columns by which rows find their
/// subtask; without any there is only one.
pub(crate) fn restarting<'a>(spec: &'a dyn OperatorSpec, routes: &[&[usize]], seed: u64) -> Restarting<'a> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x5eed);
    let routes: Vec<Vec<usize>> = routes.iter().map(|columns| columns.to_vec()).collect();
    let parallelism = if has_key(&routes) { rng.random_range(1..=PARALLELISM_MAX) } else { 1 };
    let subtasks = (0..parallelism).map(|number| build(spec, &routes, (number, parallelism), None)).collect();
    let uninterrupted = spec.build(&context().with_routes(routes.clone())).expect("the operator builds");
    N_BUILT.fetch_add(1, Ordering::Relaxed);
    let (stored, shown) = (StoredState::default(), Default::default());
    Restarting { spec, routes, rng, subtasks, stored, uninterrupted, shown, n_restarts: 0 }
}

/// Prints how often operators were killed in this process.
pub(crate) fn report(what: &str) {
    let (n_built, n_restarts) = (N_BUILT.load(Ordering::Relaxed), N_RESTARTS.load(Ordering::Relaxed));
    println!("{what}: {n_built} cases, {n_restarts} restarts");
}

fn has_key(routes: &[Vec<usize>]) -> bool {
    !routes.is_empty() && routes.iter().all(|columns| !columns.is_empty())
}

/// Makes a subtask (which of how many) in a run that goes on from an epoch, or begins.
fn build(
    spec: &dyn OperatorSpec,
    routes: &[Vec<usize>],
    (number, parallelism): (usize, usize),
    restored: Option<Epoch>,
) -> Subtask {
    let context = context().with_subtask(number, parallelism).with_routes(routes.to_vec()).with_restored(restored);
    Subtask { operator: spec.build(&context).expect("the operator builds"), watermark: None }
}

/// Which call of an operator it is.
enum Call<'a> {
    Batch(usize, Batch),
    Watermark(Watermark),
    Barrier(&'a Barrier),
}

impl Restarting<'_> {
    /// Ends an epoch as the engine does: the net change, then a snapshot, then perhaps an accident.
    fn settle(&mut self) {
        let shown = std::mem::take(&mut self.shown);
        let case =
            || format!("{}, {} subtasks, {} restarts", self.spec.describe(), self.subtasks.len(), self.n_restarts);
        assert_eq!(shown[0], shown[1], "what runs after restarts is left, without them right: {}", case());
        if self.rng.random_bool(0.6) {
            self.checkpoint();
            if self.rng.random_bool(0.6) {
                self.restart();
            }
        }
    }

    fn checkpoint(&mut self) {
        let parallelism = self.subtasks.len();
        for (number, subtask) in self.subtasks.iter_mut().enumerate() {
            self.stored.add((number, parallelism), subtask.operator.snapshot().expect("a snapshot"));
            let again = subtask.operator.snapshot().expect("a snapshot");
            assert!(is_empty(&again), "{}: nothing has changed, but {again:?}", self.spec.describe());
        }
    }

    fn restart(&mut self) {
        let kept = self.state_size();
        let parallelism = if has_key(&self.routes) { self.rng.random_range(1..=PARALLELISM_MAX) } else { 1 };
        let restored = Some(Epoch(self.n_restarts as u64 + 1));
        self.subtasks = (0..parallelism).map(|n| build(self.spec, &self.routes, (n, parallelism), restored)).collect();
        for (number, subtask) in self.subtasks.iter_mut().enumerate() {
            self.stored.restore((number, parallelism), subtask.operator.as_mut(), &mut self.rng);
            let taken_over = subtask.operator.snapshot().expect("a snapshot");
            assert!(is_empty(&taken_over), "{}: it was stored before: {taken_over:?}", self.spec.describe());
        }
        assert_eq!(self.state_size().rows, kept.rows, "{}: as much is kept as before", self.spec.describe());
        self.n_restarts += 1;
        N_RESTARTS.fetch_add(1, Ordering::Relaxed);
    }

    /// Calls each subtask that the call concerns and the one that is never interrupted, and notes what they show.
    fn call(&mut self, call: Call<'_>, out: &mut Output) -> Result<()> {
        let mut reference = Output::default();
        let mut shares: Vec<Option<Batch>> = vec![None; self.subtasks.len()];
        match &call {
            Call::Batch(input, batch) => {
                self.uninterrupted.on_batch(*input, batch.clone(), &mut reference)?;
                shares = split(batch, &self.routes[*input], self.subtasks.len())?;
            }
            Call::Watermark(watermark) => self.uninterrupted.on_watermark(*watermark, &mut reference)?,
            Call::Barrier(barrier) => self.uninterrupted.on_barrier(barrier, &mut reference)?,
        }
        note(&mut self.shown[1], reference);
        for (number, share) in shares.into_iter().enumerate() {
            let mut own = Output::default();
            let operator = &mut self.subtasks[number].operator;
            match &call {
                Call::Batch(input, _) => match share {
                    Some(share) => operator.on_batch(*input, share, &mut own)?,
                    None => continue,
                },
                Call::Watermark(watermark) => operator.on_watermark(*watermark, &mut own)?,
                Call::Barrier(barrier) => operator.on_barrier(barrier, &mut own)?,
            }
            self.pass_on(number, own, out);
        }
        Ok(())
    }

    /// Passes on what a subtask has let out; a watermark when all have reached it.
    fn pass_on(&mut self, number: usize, mut own: Output, out: &mut Output) {
        let (messages, letters, counts) = (own.take_messages(), own.take_dead_letters(), own.take_counts());
        let mut merged = Vec::new();
        for message in messages {
            let Message::Watermark(watermark) = message else {
                merged.push(message);
                continue;
            };
            let before = self.watermark();
            self.subtasks[number].watermark = Some(watermark);
            let after = self.watermark();
            merged.extend(after.filter(|_| before != after).map(Message::Watermark));
            self.shown[0].take(&after.map(Message::Watermark).into_iter().collect::<Vec<_>>(), Vec::new(), &[]);
        }
        let texts = letters.iter().map(|letter| format!("{letter:?}")).collect();
        self.shown[0].take(&merged, texts, &counts);
        for message in merged {
            match message {
                Message::Batch(batch) => out.emit(batch),
                Message::Watermark(watermark) => out.watermark(watermark),
                Message::Barrier(_) | Message::End => panic!("an operator must not emit {message:?}"),
            }
        }
        letters.into_iter().for_each(|letter| out.dead_letter(letter));
        counts.into_iter().for_each(|(counter, n)| out.count(counter, n));
    }

    /// The watermark of all subtasks; none before each has one.
    fn watermark(&self) -> Option<Watermark> {
        let all: Option<Vec<Watermark>> = self.subtasks.iter().map(|subtask| subtask.watermark).collect();
        let times = all?.into_iter().filter_map(|watermark| match watermark {
            Watermark::At(time) => Some(time),
            Watermark::Idle => None,
        });
        Some(times.min().map_or(Watermark::Idle, Watermark::At))
    }
}

fn note(shown: &mut Shown, mut output: Output) {
    let letters = output.take_dead_letters().iter().map(|letter| format!("{letter:?}")).collect();
    shown.take(&output.take_messages(), letters, &output.take_counts());
}

fn is_empty(snapshot: &Snapshot) -> bool {
    snapshot.tables.iter().all(|t| t.rows.num_rows() == 0 && t.removed.as_ref().is_none_or(|r| r.num_rows() == 0))
}

/// Splits a batch as the engine's exchange does.
fn split(batch: &Batch, columns: &[usize], parallelism: usize) -> Result<Vec<Option<Batch>>> {
    let groups = KeyGroups::new(&batch.schema(), columns)?.of(&batch.rows)?;
    let share = |number: usize| {
        let rows = (0_u32..).zip(&groups).filter(|(_, group)| subtask_of(**group, parallelism) == number);
        let rows: Vec<u32> = rows.map(|(row, _)| row).collect();
        (!rows.is_empty()).then(|| batch.take(&UInt32Array::from(rows))).transpose()
    };
    (0..parallelism).map(share).collect()
}

impl Operator for Restarting<'_> {
    fn on_batch(&mut self, input: usize, batch: Batch, out: &mut Output) -> Result<()> {
        self.call(Call::Batch(input, batch), out)
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut Output) -> Result<()> {
        self.call(Call::Watermark(watermark), out)
    }

    fn on_barrier(&mut self, barrier: &Barrier, out: &mut Output) -> Result<()> {
        self.call(Call::Barrier(barrier), out)?;
        self.settle();
        Ok(())
    }

    fn state_size(&self) -> StateSize {
        let sizes = self.subtasks.iter().map(|subtask| subtask.operator.state_size());
        sizes.fold(StateSize::default(), |sum, size| sum + size)
    }
}
