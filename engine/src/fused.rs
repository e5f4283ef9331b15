//! Operators fused into one task: what one emits is handed to the next by a call, not over a channel.
//!
//! At a barrier each operator is asked in turn, and what it emits passes through the later ones before they are asked
//! themselves, so the net change of the whole chain leaves before the barrier does. It holds the operators and no
//! rows of its own. It is synchronous.

use crate::report::StateGauge;
use crate::task::Emitted;
use arrow::array::RecordBatch;
use headwater_core::{
    Barrier, Batch, Counter, Counters, Error, Message, Operator, Output, Result, Snapshot, StateSize, Watermark,
};
use std::sync::Arc;

/// A chain of operators; an empty one passes everything on.
pub(crate) struct Fused {
    operators: Vec<Box<dyn Operator>>,
    out: Output,
    counters: Arc<Counters>,
    state: Arc<StateGauge>,
}

impl Fused {
    /// Makes a chain that counts into `counters` and tells `state` how much it keeps.
    pub(crate) fn new(operators: Vec<Box<dyn Operator>>, counters: Arc<Counters>, state: Arc<StateGauge>) -> Self {
        Self { operators, out: Output::default(), counters, state }
    }

    /// Takes the operators out, for as long as somebody else fills them.
    pub(crate) fn take(&mut self) -> Self {
        let operators = std::mem::take(&mut self.operators);
        Self { operators, out: Output::default(), counters: self.counters.clone(), state: self.state.clone() }
    }

    fn measure(&self) {
        let sizes = self.operators.iter().map(|operator| operator.state_size());
        self.state.set(sizes.fold(StateSize::default(), |sum, size| sum + size));
    }

    /// Passes rows of one input of the first operator through all of them.
    pub(crate) fn batch(&mut self, input: usize, batch: Batch) -> Result<Emitted> {
        let mut emitted = Emitted::default();
        self.push(0, input, Message::Batch(batch), &mut emitted)?;
        Ok(emitted)
    }

    /// Passes a watermark through.
    pub(crate) fn watermark(&mut self, watermark: Watermark) -> Result<Emitted> {
        self.measure();
        let mut emitted = Emitted::default();
        self.push(0, 0, Message::Watermark(watermark), &mut emitted)?;
        Ok(emitted)
    }

    /// Asks every operator for the net change of the epoch.
    pub(crate) fn barrier(&mut self, barrier: &Barrier) -> Result<Emitted> {
        self.measure();
        let mut emitted = Emitted::default();
        for at in 0..self.operators.len() {
            self.operators[at].on_barrier(barrier, &mut self.out)?;
            self.drain(at, &mut emitted)?;
        }
        self.measure();
        Ok(emitted)
    }

    /// Returns what has changed in each operator's state since the last call, with the number of the operator.
    pub(crate) fn snapshot(&mut self) -> Result<Vec<(usize, Snapshot)>> {
        self.operators.iter_mut().enumerate().map(|(at, operator)| Ok((at, operator.snapshot()?))).collect()
    }

    /// Hands rows of one table of an earlier snapshot to an operator.
    pub(crate) fn restore(&mut self, at: usize, table: &str, rows: RecordBatch) -> Result<()> {
        let operator = self.operators.get_mut(at).ok_or_else(|| Error::internal("state of no operator"))?;
        operator.restore(table, rows)
    }

    /// Tells every operator that it has all of its state.
    pub(crate) fn restore_end(&mut self) -> Result<()> {
        self.operators.iter_mut().try_for_each(|operator| operator.restore_end())?;
        self.measure();
        Ok(())
    }

    fn push(&mut self, at: usize, input: usize, message: Message, emitted: &mut Emitted) -> Result<()> {
        let Some(operator) = self.operators.get_mut(at) else {
            emitted.messages.push(message);
            return Ok(());
        };
        match message {
            Message::Batch(batch) => operator.on_batch(input, batch, &mut self.out)?,
            Message::Watermark(watermark) => operator.on_watermark(watermark, &mut self.out)?,
            Message::Barrier(_) | Message::End => return Err(Error::internal("operators pass on rows and watermarks")),
        }
        self.drain(at, emitted)
    }

    /// Hands what operator `at` emitted to the next one.
    fn drain(&mut self, at: usize, emitted: &mut Emitted) -> Result<()> {
        emitted.letters.append(&mut self.out.take_dead_letters());
        for (counter, n) in self.out.take_counts() {
            match counter {
                // The engine sees these itself; counting them twice would break the books.
                Counter::RowsIn | Counter::RowsOut | Counter::DeadLetters | Counter::Late => {}
                Counter::Duplicates | Counter::Corrections => self.counters.add(counter, n),
            }
        }
        for message in self.out.take_messages() {
            self.push(at + 1, 0, message, emitted)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::fixtures::{numbers, values};
    use headwater_core::{BarrierKind, Epoch, EventTime};

    /// Adds `step` to every number, and at a barrier emits its own step as a row.
    struct Add(i64);

    impl Operator for Add {
        fn on_batch(&mut self, _: usize, batch: Batch, out: &mut Output) -> Result<()> {
            out.emit(Batch::append_only(numbers(values(&batch.rows).into_iter().map(|value| value + self.0))));
            out.count(Counter::Duplicates, 1);
            out.count(Counter::RowsOut, 1_000);
            Ok(())
        }

        fn on_barrier(&mut self, _: &Barrier, out: &mut Output) -> Result<()> {
            out.emit(Batch::append_only(numbers([self.0])));
            Ok(())
        }
    }

    fn rows(emitted: &Emitted) -> Vec<i64> {
        let of = |message: &Message| match message {
            Message::Batch(batch) => values(&batch.rows),
            other => panic!("no rows: {other:?}"),
        };
        emitted.messages.iter().flat_map(of).collect()
    }

    #[test]
    fn each_operator_feeds_the_next_also_at_a_barrier() {
        let counters = Arc::new(Counters::default());
        let mut fused = Fused::new(vec![Box::new(Add(1)), Box::new(Add(10))], counters.clone(), Arc::default());
        let emitted = fused.batch(0, Batch::append_only(numbers([5]))).unwrap();
        assert_eq!(rows(&emitted), [16]);
        let barrier = Barrier { epoch: Epoch(1), kind: BarrierKind::Flush, time: EventTime(0) };
        assert_eq!(rows(&fused.barrier(&barrier).unwrap()), [11, 10]);
        assert_eq!((counters.get(Counter::Duplicates), counters.get(Counter::RowsOut)), (3, 0));
    }

    #[test]
    fn an_empty_chain_passes_everything_on() {
        let mut fused = Fused::new(Vec::new(), Arc::default(), Arc::default());
        assert_eq!(rows(&fused.batch(0, Batch::append_only(numbers([5]))).unwrap()), [5]);
        let watermark = fused.watermark(Watermark::At(EventTime(1))).unwrap();
        assert!(matches!(watermark.messages[..], [Message::Watermark(Watermark::At(EventTime(1)))]));
    }
}
