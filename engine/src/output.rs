//! The sending side of a task: its edges, and the way to the dead-letter sink.
//!
//! Rows go where the exchange of each edge says; watermarks, barriers and the end go to everybody who may get rows.
//! A send waits for room, and that is how a slow reader slows the sources down. It buffers nothing.

use crate::channel::{Gone, Sender};
use crate::exchange::{HashRouter, slices};
use crate::report::LetterCounts;
use crate::task::{Emitted, Interrupt};
use headwater_core::{Barrier, Batch, Clock, Counter, Counters, DeadLetter, Error, Message, Reason, Result, Watermark};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// One edge as a subtask of the sending node sees it.
pub(crate) struct OutputEdge {
    /// Splits rows by key; `None` where one receiver gets all rows of this subtask.
    pub(crate) router: Option<HashRouter>,
    /// The receiving subtasks.
    pub(crate) receivers: Vec<Sender>,
}

/// Everything that a source or chain task can send.
pub(crate) struct TaskOutput {
    pub(crate) edges: Vec<OutputEdge>,
    pub(crate) letters: Sender,
    pub(crate) counters: Arc<Counters>,
    pub(crate) letter_counts: Arc<LetterCounts>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) batch_rows_max: usize,
    /// How long sends have taken so far, which is how long others have held this task up.
    pub(crate) held_up: Duration,
}

impl TaskOutput {
    /// Sends what a chain emitted: dead letters first, then the rest in order.
    pub(crate) async fn emitted(&mut self, emitted: Emitted) -> Result<(), Interrupt> {
        self.letters(emitted.letters).await?;
        for message in emitted.messages {
            match message {
                Message::Batch(batch) => self.batch(batch).await?,
                Message::Watermark(watermark) => self.watermark(watermark).await?,
                Message::Barrier(_) | Message::End => {
                    return Err(Error::internal("operators pass on rows and watermarks").into());
                }
            }
        }
        Ok(())
    }

    /// Sends rows over every edge, in batches of the configured size.
    pub(crate) async fn batch(&mut self, batch: Batch) -> Result<(), Interrupt> {
        self.counters.add(Counter::RowsOut, batch.n_rows() as u64);
        let before = Instant::now();
        for edge in &mut self.edges {
            let parts = match &mut edge.router {
                Some(router) => router.split(batch.clone())?,
                None => vec![(0, batch.clone())],
            };
            for (receiver, part) in parts {
                for slice in slices(part, self.batch_rows_max) {
                    edge.receivers[receiver].send(Message::Batch(slice)).await?;
                }
            }
        }
        self.held_up += before.elapsed();
        Ok(())
    }

    /// Sends a watermark to all receivers of rows.
    pub(crate) async fn watermark(&mut self, watermark: Watermark) -> Result<(), Gone> {
        let before = Instant::now();
        for receiver in self.edges.iter().flat_map(|edge| &edge.receivers) {
            receiver.send(Message::Watermark(watermark)).await?;
        }
        self.held_up += before.elapsed();
        Ok(())
    }

    /// Sends a barrier to everybody, the dead-letter sink included.
    pub(crate) async fn barrier(&mut self, barrier: Barrier) -> Result<(), Gone> {
        let before = Instant::now();
        for receiver in self.everybody() {
            receiver.send(Message::Barrier(barrier)).await?;
        }
        self.held_up += before.elapsed();
        Ok(())
    }

    /// Tells everybody that nothing follows.
    pub(crate) async fn end(&self) -> Result<(), Gone> {
        for receiver in self.everybody() {
            receiver.send(Message::End).await?;
        }
        Ok(())
    }

    /// Counts dead letters and sends them to their sink.
    pub(crate) async fn letters(&mut self, letters: Vec<DeadLetter>) -> Result<(), Interrupt> {
        if letters.is_empty() {
            return Ok(());
        }
        let late = letters.iter().filter(|letter| letter.reason == Reason::Late).count();
        self.counters.add(Counter::DeadLetters, letters.len() as u64);
        self.counters.add(Counter::Late, late as u64);
        self.letter_counts.add(&letters);
        let before = Instant::now();
        for slice in letters.chunks(self.batch_rows_max) {
            let rows = DeadLetter::to_rows(slice, self.clock.now())?;
            self.letters.send(Message::Batch(Batch::append_only(rows))).await?;
        }
        self.held_up += before.elapsed();
        Ok(())
    }

    fn everybody(&self) -> impl Iterator<Item = &Sender> {
        self.edges.iter().flat_map(|edge| &edge.receivers).chain([&self.letters])
    }
}
