//! Opening what a run needs, and bringing it to where an earlier run left off: state before sinks, sinks before
//! sources, so that nothing is read that could not be written.
//!
//! A run that keeps no state fails at once when something is away: whoever started it is still there to hear of it. One
//! that does keep state is meant to be started again and again, and waits as it would have waited in the middle.

use crate::coordinator::Coordinator;
use crate::fused::Fused;
use crate::kept_answers::KeptAnswers;
use crate::restore::{Loaded, Restore, Target, take_over};
use crate::retry::Backoff;
use crate::start::{Unopened, UnopenedBody};
use headwater_core::{Error, EventTime, Result, Sink, SinkSpec, Source, SourceSpec, TaskContext};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::sleep;

/// Something that holds state, on its way through a thread that fills it.
enum Holder {
    Operators(Fused),
    Answers(KeptAnswers),
}

impl Coordinator {
    /// Gives each task the state that belongs to it, all tasks at the same time.
    pub(crate) async fn take_state_over(&self, tasks: &mut [(usize, Unopened)]) -> Result<()> {
        let Some(restore) = &self.restore else { return Ok(()) };
        let mut filling = JoinSet::new();
        for (at, (_, task)) in tasks.iter_mut().enumerate() {
            let operators = task.identity.operators.clone();
            let loaded = self.load(restore, &operators).await?;
            let holder = match &mut task.body {
                _ if loaded.is_empty() => continue,
                UnopenedBody::Source { operators, .. } | UnopenedBody::Chain { operators, .. } => {
                    Holder::Operators(operators.take())
                }
                UnopenedBody::Async { kept: kept @ Some(_), .. } => match kept.take() {
                    Some(kept) => Holder::Answers(kept),
                    None => continue,
                },
                UnopenedBody::Async { kept: None, .. } | UnopenedBody::Sink { .. } => {
                    return Err(Error::internal("state for a task that keeps none"));
                }
            };
            let (subtask, parallelism) = (task.context.subtask, task.context.parallelism);
            let place = format!("node '{}', subtask {subtask}", task.context.node);
            filling.spawn(async move {
                let filled = spawn_blocking(move || fill(loaded, subtask, parallelism, holder)).await;
                let filled =
                    filled.unwrap_or_else(|error| Err(Error::internal(format!("restoring ended early: {error}"))));
                filled.map(|holder| (at, holder)).map_err(|error| error.at(place))
            });
        }
        while let Some(filled) = filling.join_next().await {
            let (at, holder) = filled.map_err(|error| Error::internal(format!("restoring ended early: {error}")))??;
            match (&mut tasks[at].1.body, holder) {
                (
                    UnopenedBody::Source { operators, .. } | UnopenedBody::Chain { operators, .. },
                    Holder::Operators(filled),
                ) => *operators = filled,
                (UnopenedBody::Async { kept, .. }, Holder::Answers(filled)) => *kept = Some(filled),
                _ => return Err(Error::internal("state of another task")),
            }
        }
        restore.forget().await;
        Ok(())
    }

    async fn load(&self, restore: &Restore, operators: &[String]) -> Result<Vec<Loaded>> {
        let mut backoff = Backoff::new(&self.options.retry, 0);
        loop {
            match restore.load(operators).await {
                Ok(loaded) => return Ok(loaded),
                Err(error) => sleep(backoff.failed(error)?).await,
            }
        }
    }

    /// Opens a sink, and commits what it had prepared for the checkpoint.
    pub(crate) async fn open_sink(
        &self,
        spec: &dyn SinkSpec,
        context: &TaskContext,
        identity: &str,
        number: usize,
    ) -> Result<Box<dyn Sink>> {
        if self.options.state.is_none() {
            return spec.open(context).await;
        }
        let mut backoff = Backoff::new(&self.options.retry, number);
        let mut sink = loop {
            match spec.open(context).await {
                Ok(sink) => break sink,
                Err(error) => sleep(backoff.failed(error)?).await,
            }
        };
        let Some(restore) = &self.restore else { return Ok(sink) };
        for token in restore.tokens(identity, context.subtask, context.parallelism) {
            while let Err(error) = sink.commit(restore.epoch(), &token).await {
                sleep(backoff.failed(error)?).await;
            }
            backoff.succeeded();
        }
        Ok(sink)
    }

    /// Opens a source and lets it go on; returns the watermark that it had promised.
    pub(crate) async fn open_source(
        &self,
        spec: &dyn SourceSpec,
        context: &TaskContext,
        identity: &str,
        number: usize,
    ) -> Result<(Box<dyn Source>, Option<EventTime>)> {
        if self.options.state.is_none() {
            return Ok((spec.open(context).await?, None));
        }
        let restore = self.restore.as_ref();
        let from = restore.and_then(|restore| restore.source(identity, context.subtask, context.parallelism));
        let mut backoff = Backoff::new(&self.options.retry, number);
        loop {
            let opened = async {
                let mut source = spec.open(context).await?;
                if let Some((position, _)) = &from {
                    source.seek(position).await?;
                }
                Ok(source)
            };
            match opened.await {
                Ok(source) => return Ok((source, from.and_then(|(_, watermark)| watermark))),
                Err(error) => sleep(backoff.failed(error)?).await,
            }
        }
    }
}

fn fill(loaded: Vec<Loaded>, subtask: usize, parallelism: usize, holder: Holder) -> Result<Holder> {
    match holder {
        Holder::Operators(mut operators) => {
            take_over(loaded, subtask, parallelism, &mut Target::Operators(&mut operators))?;
            Ok(Holder::Operators(operators))
        }
        Holder::Answers(mut answers) => {
            take_over(loaded, subtask, parallelism, &mut Target::Answers(&mut answers))?;
            Ok(Holder::Answers(answers))
        }
    }
}
