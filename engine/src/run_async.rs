//! The loop of an asynchronous task: rows become requests, several of which are on their way at a time, and answers
//! go out.
//!
//! Invariants. An answer never passes a watermark or barrier that came after its row, nor one that came before. A
//! barrier waits for all answers, so each epoch holds exactly the answers of its rows. Ordered results leave in the
//! order of their rows; the results of a changing input are always ordered, because a retraction that came first would
//! have nothing to retract. A row that failed for good is a dead letter. What bounds memory: at most `in_flight_max`
//! requests are waiting for their answer or for their turn to leave, and no further row is read meanwhile.

use crate::RetryPolicy;
use crate::event_time::{payloads, positions};
use crate::exchange::slices;
use crate::inputs::{Event, Inputs};
use crate::kept_answers::{KeptAnswers, Looked};
use crate::output::TaskOutput;
use crate::requests::ask;
use crate::retry::Backoff;
use crate::snapshots::Snapshots;
use crate::task::{Emitted, Interrupt};
use arrow::array::UInt32Array;
use arrow::compute::take_record_batch;
use headwater_core::{
    Answer, AsyncOperator, AsyncSettings, Barrier, Batch, Counter, DeadLetter, Error, Message, Reason, Result,
    Watermark,
};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::task::{JoinError, JoinSet};

/// An asynchronous operator with everything that its loop needs.
pub(crate) struct AsyncTask {
    pub(crate) name: Arc<str>,
    pub(crate) operator: Arc<dyn AsyncOperator>,
    pub(crate) settings: AsyncSettings,
    pub(crate) reason: Reason,
    pub(crate) inputs: Inputs,
    pub(crate) output: TaskOutput,
    /// Where the input is changing.
    pub(crate) kept: Option<KeptAnswers>,
    pub(crate) snapshots: Snapshots,
    pub(crate) retry: RetryPolicy,
    /// The number of the task, by which its chance differs from that of others.
    pub(crate) number: usize,
}

/// What waits for its turn to leave.
enum Waiting {
    Rows(Box<Pending>),
    Watermark(Watermark),
}

/// Rows that are being asked for, or have their answer and wait for those before them.
struct Pending {
    request: u64,
    batch: Batch,
    /// Where the input is changing: what is known already.
    looked: Option<Looked>,
    answer: Option<Answer>,
}

/// Where the loop stands.
#[derive(Default)]
struct Progress {
    /// Rows for which nobody has asked yet.
    backlog: VecDeque<Batch>,
    line: VecDeque<Waiting>,
    /// How many of those in line are rows.
    n_pending: usize,
    n_requests: u64,
    barrier: Option<Barrier>,
}

type Requests = JoinSet<(u64, Result<Answer>)>;

/// Runs an asynchronous task until all its inputs have ended.
pub(crate) async fn run_async(mut task: AsyncTask) -> Result<(), Interrupt> {
    let mut progress = Progress::default();
    let mut requests = Requests::new();
    loop {
        task.advance(&mut progress, &mut requests).await?;
        if progress.line.is_empty()
            && progress.backlog.is_empty()
            && let Some(barrier) = progress.barrier.take()
        {
            if task.snapshots.wanted(&barrier) {
                let taken = task.kept.as_mut().map(|kept| Ok::<_, Error>((0, kept.snapshot()?))).transpose()?;
                task.snapshots.take(&barrier, taken.into_iter().collect()).await?;
            }
            task.output.barrier(barrier).await?;
        }
        let may_read = progress.backlog.is_empty()
            && progress.barrier.is_none()
            && progress.n_pending < task.settings.in_flight_max;
        tokio::select! {
            // Answers first: they make room.
            biased;
            Some(joined) = requests.join_next(), if !requests.is_empty() => progress.answered(joined)?,
            event = task.inputs.next(), if may_read => match event? {
                Event::Batch(_, batch) => {
                    task.output.counters.add(Counter::RowsIn, batch.n_rows() as u64);
                    progress.backlog.extend(slices(batch, task.settings.request_rows_max));
                }
                Event::Watermark(watermark) => progress.watermark(watermark),
                Event::Barrier(barrier) => progress.barrier = Some(barrier),
                Event::End => return Ok(task.output.end().await?),
            },
        }
    }
}

impl AsyncTask {
    /// Asks for as many rows as may be on their way, and sends what has its turn.
    async fn advance(&mut self, progress: &mut Progress, requests: &mut Requests) -> Result<(), Interrupt> {
        loop {
            while progress.n_pending < self.settings.in_flight_max
                && let Some(batch) = progress.backlog.pop_front()
            {
                self.start(batch, progress, requests)?;
            }
            while let Some(next) = progress.next(self.ordered()) {
                match next {
                    Waiting::Rows(pending) => {
                        let emitted = self.emitted(*pending)?;
                        self.output.emitted(emitted).await?;
                    }
                    Waiting::Watermark(watermark) => self.output.watermark(watermark).await?,
                }
            }
            // What was known without asking makes room for more at once.
            if progress.backlog.is_empty() || progress.n_pending >= self.settings.in_flight_max {
                return Ok(());
            }
        }
    }

    fn ordered(&self) -> bool {
        self.settings.ordered || self.kept.is_some()
    }

    fn start(&mut self, batch: Batch, progress: &mut Progress, requests: &mut Requests) -> Result<()> {
        let looked = self.kept.as_mut().map(|kept| kept.look(&batch)).transpose()?;
        let rows = match &looked {
            Some(looked) => looked.request.clone(),
            None => Some(batch.rows.clone()),
        };
        let request = progress.n_requests;
        progress.n_requests += 1;
        progress.n_pending += 1;
        let answer = match rows {
            Some(rows) => {
                let policy = RetryPolicy {
                    tries: self.settings.tries,
                    seed: self.retry.seed.wrapping_add(request),
                    ..self.retry.clone()
                };
                let backoff = Backoff::new(&policy, self.number);
                let (operator, patience) = (self.operator.clone(), self.settings.timeout);
                requests.spawn(async move { (request, ask(operator, rows, patience, backoff).await) });
                None
            }
            None => Some(Answer { rows: batch.rows.slice(0, 0), of: Vec::new(), failed: Vec::new() }),
        };
        progress.line.push_back(Waiting::Rows(Box::new(Pending { request, batch, looked, answer })));
        Ok(())
    }

    /// Lays out what an answer says, with the multiplicities of the rows that it is about.
    fn emitted(&mut self, pending: Pending) -> Result<Emitted> {
        let Pending { batch, looked, answer, .. } = pending;
        let answer = answer.ok_or_else(|| Error::internal("rows were passed on before their answer"))?;
        let (out, failed) = match (&self.kept, looked) {
            (Some(kept), Some(looked)) => {
                kept.keep(&looked, &answer)?;
                kept.changes(&batch, &looked)?
            }
            _ if batch.diffs.is_some() => {
                return Err(Error::internal("rows are taken back on an edge that is append-only"));
            }
            _ => (Batch::append_only(answer.rows), answer.failed),
        };
        let letters = self.letters(&batch, &failed)?;
        let messages = if out.is_empty() { Vec::new() } else { vec![Message::Batch(out)] };
        Ok(Emitted { messages, letters })
    }

    fn letters(&self, batch: &Batch, failed: &[(u32, Error)]) -> Result<Vec<DeadLetter>> {
        if failed.is_empty() {
            return Ok(Vec::new());
        }
        let numbers = UInt32Array::from_iter_values(failed.iter().map(|(row, _)| *row));
        let rows = take_record_batch(&batch.rows, &numbers)?;
        let letter = |((payload, position), (_, error)): ((String, String), &(u32, Error))| DeadLetter {
            reason: self.reason,
            message: error.to_string(),
            path: String::new(),
            source: self.name.to_string(),
            position,
            payload,
        };
        Ok(payloads(&rows)?.into_iter().zip(positions(&rows)).zip(failed).map(letter).collect())
    }
}

impl Progress {
    /// Puts a watermark in line; of several next to each other the last says all.
    fn watermark(&mut self, watermark: Watermark) {
        match self.line.back_mut() {
            Some(Waiting::Watermark(last)) => *last = watermark,
            _ => self.line.push_back(Waiting::Watermark(watermark)),
        }
    }

    fn answered(&mut self, joined: Result<(u64, Result<Answer>), JoinError>) -> Result<()> {
        let (request, answer) = joined.map_err(|error| match error.try_into_panic() {
            Ok(panic) => Error::internal(format!("panicked: {}", crate::coordinator::panic_message(panic.as_ref()))),
            Err(error) => Error::internal(format!("a request ended early: {error}")),
        })?;
        let answer = answer?;
        let pending = self.line.iter_mut().find_map(|waiting| match waiting {
            Waiting::Rows(pending) if pending.request == request => Some(pending),
            _ => None,
        });
        pending.ok_or_else(|| Error::internal("an answer that nobody waits for"))?.answer = Some(answer);
        Ok(())
    }

    /// Takes out what may leave now: the first in line, or where order does not matter any before the next watermark.
    fn next(&mut self, ordered: bool) -> Option<Waiting> {
        let is_ready = |waiting: &Waiting| match waiting {
            Waiting::Rows(pending) => pending.answer.is_some(),
            Waiting::Watermark(_) => true,
        };
        if ordered || matches!(self.line.front(), Some(Waiting::Watermark(_))) {
            if !self.line.front().is_some_and(is_ready) {
                return None;
            }
            return self.take(0);
        }
        let before = self.line.iter().take_while(|waiting| matches!(waiting, Waiting::Rows(_)));
        let ready = before.enumerate().find(|(_, waiting)| is_ready(waiting)).map(|(index, _)| index)?;
        self.take(ready)
    }

    fn take(&mut self, index: usize) -> Option<Waiting> {
        let taken = self.line.remove(index);
        if matches!(taken, Some(Waiting::Rows(_))) {
            self.n_pending -= 1;
        }
        taken
    }
}
