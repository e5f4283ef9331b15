//! The state of the epochs: which barrier is on its way, who has reported, and what comes next.
//!
//! Invariants. At most one epoch is on its way: the next barrier waits until the last sink has reported. Sinks are
//! told to commit only after all of them have prepared and, where state is kept, the checkpoint is stored. The stop barrier is the last one and comes once. It is pure:
//! the coordinator feeds it with reports and ticks and does what it says. Its state is bounded by the sources.

use crate::checkpoints::Collected;
use crate::snapshots::Written;
use crate::state::SourcePosition;
use crate::task::{News, Report};
use crate::{EngineOptions, FirstCommit};
use headwater_core::{Barrier, BarrierKind, Epoch, Error, EventTime, Position, Prepared, Result};
use std::collections::{BTreeMap, BTreeSet};

/// What drives the epochs of a pipeline.
#[derive(Debug)]
pub(crate) struct Epochs {
    sources: BTreeSet<usize>,
    n_sinks: usize,
    /// How many tasks report snapshots; `None` where no state is kept.
    n_snapshots: Option<usize>,
    checkpoint_every: u64,
    first_commit: FirstCommit,
    next: Epoch,
    time: EventTime,
    caught_up: BTreeSet<usize>,
    ended: BTreeSet<usize>,
    tick_due: bool,
    stop_wanted: bool,
    stop_sent: bool,
    on_its_way: Option<OnItsWay>,
}

#[derive(Debug)]
struct OnItsWay {
    barrier: Barrier,
    /// Whether every source had been caught up before the barrier went out.
    holds_replay: bool,
    positions: BTreeMap<usize, SourcePosition>,
    snapshots: BTreeMap<usize, Vec<Written>>,
    tokens: BTreeMap<usize, Prepared>,
    n_reached: usize,
    n_committed: usize,
}

/// What the coordinator has to do after a report.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// Nothing.
    Wait,
    /// Tell the world that all sources have been read to their present end.
    CaughtUp,
    /// Store a checkpoint, and say so with [`Epochs::stored`].
    Store(Box<Collected>),
    /// Tell all sinks to commit.
    Commit(Epoch),
    /// An epoch is committed.
    Committed {
        /// Its number.
        epoch: Epoch,
        /// Where each source task stood at its end.
        positions: BTreeMap<usize, Position>,
        /// Whether all that there was when the run began is committed now.
        holds_replay: bool,
    },
}

/// What is to be sent when no epoch is on its way.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing yet.
    Nothing,
    /// This barrier.
    Barrier(Barrier),
    /// Nothing ever: the run was stopped before it was allowed to commit.
    Abandon,
}

impl Epochs {
    /// Makes the state of a pipeline that has not begun, by the numbers of its source tasks, how many sinks it has, and
    /// how many tasks report snapshots where state is kept.
    pub(crate) fn new(
        sources: BTreeSet<usize>,
        n_sinks: usize,
        n_snapshots: Option<usize>,
        options: &EngineOptions,
    ) -> Self {
        Self {
            sources,
            n_sinks,
            n_snapshots,
            checkpoint_every: options.checkpoint_every,
            first_commit: options.first_commit,
            next: Epoch(1),
            time: EventTime::MIN,
            caught_up: BTreeSet::new(),
            ended: BTreeSet::new(),
            tick_due: false,
            stop_wanted: false,
            stop_sent: false,
            on_its_way: None,
        }
    }

    /// Lets a run that begins use numbers that no earlier one has used.
    pub(crate) fn number_from(&mut self, last: Epoch) {
        self.next = Epoch(last.0 + 1);
    }

    /// Lets the epochs go on after one of an earlier run.
    pub(crate) fn go_on_after(&mut self, epoch: Epoch, time: EventTime) {
        self.next = Epoch(epoch.0 + 1);
        self.time = time;
        // What there was before that epoch is there already; the rest is news.
        self.first_commit = FirstCommit::Immediately;
    }

    /// Notes that a flush interval has passed.
    pub(crate) fn tick(&mut self) {
        self.tick_due = true;
    }

    /// Notes that the pipeline is to stop.
    pub(crate) fn stop(&mut self) {
        self.stop_wanted = true;
    }

    /// Returns whether the pipeline is to stop.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stop_wanted
    }

    /// Returns whether all sources have ended.
    pub(crate) fn all_ended(&self) -> bool {
        self.ended == self.sources
    }

    /// Takes a report.
    pub(crate) fn report(&mut self, report: Report) -> Result<Step> {
        let Report { task, news } = report;
        match news {
            News::CaughtUp => {
                let last = self.caught_up.insert(task) && self.caught_up == self.sources;
                Ok(if last { Step::CaughtUp } else { Step::Wait })
            }
            News::Ended => {
                self.ended.insert(task);
                Ok(Step::Wait)
            }
            News::Position(epoch, position) => {
                self.expect(epoch)?.positions.insert(task, position);
                Ok(Step::Wait)
            }
            News::Snapshot(epoch, written) => {
                self.expect(epoch)?.snapshots.insert(task, written);
                self.reached(epoch)
            }
            News::Reached(epoch, token) => {
                let on_its_way = self.expect(epoch)?;
                on_its_way.n_reached += 1;
                on_its_way.tokens.extend(token.map(|token| (task, token)));
                self.reached(epoch)
            }
            News::Failed(error) => Err(error),
            News::Committed(epoch) => {
                let n_sinks = self.n_sinks;
                let on_its_way = self.expect(epoch)?;
                on_its_way.n_committed += 1;
                if on_its_way.n_committed < n_sinks {
                    return Ok(Step::Wait);
                }
                let holds_replay = on_its_way.holds_replay;
                let positions = std::mem::take(&mut on_its_way.positions).into_iter();
                let positions = positions.map(|(task, reached)| (task, reached.position)).collect();
                self.on_its_way = None;
                Ok(Step::Committed { epoch, positions, holds_replay })
            }
        }
    }

    /// Notes that the checkpoint of an epoch is stored.
    pub(crate) fn stored(&mut self, epoch: Epoch) -> Result<Step> {
        self.expect(epoch).map(|_| Step::Commit(epoch))
    }

    /// Looks whether everybody has reached the end of an epoch.
    fn reached(&mut self, epoch: Epoch) -> Result<Step> {
        let (n_sinks, n_snapshots) = (self.n_sinks, self.n_snapshots);
        let on_its_way = self.expect(epoch)?;
        let commits = on_its_way.barrier.kind.commits();
        let snapshots_missing = commits && n_snapshots.is_some_and(|wanted| on_its_way.snapshots.len() < wanted);
        if on_its_way.n_reached < n_sinks || snapshots_missing {
            return Ok(Step::Wait);
        }
        if !commits {
            self.on_its_way = None;
            return Ok(Step::Wait);
        }
        if n_snapshots.is_none() {
            return Ok(Step::Commit(epoch));
        }
        Ok(Step::Store(Box::new(Collected {
            barrier: on_its_way.barrier,
            positions: on_its_way.positions.clone(),
            snapshots: std::mem::take(&mut on_its_way.snapshots),
            tokens: std::mem::take(&mut on_its_way.tokens),
        })))
    }

    /// Returns what is to be done at a wall time, and takes it as done. A clock that is set back does not take the
    /// epochs with it.
    pub(crate) fn due(&mut self, now: EventTime) -> Due {
        if self.on_its_way.is_some() || self.stop_sent {
            return Due::Nothing;
        }
        let caught_up = self.caught_up == self.sources;
        let may_commit = match self.first_commit {
            FirstCommit::Immediately => true,
            FirstCommit::WhenCaughtUp => caught_up,
        };
        let stops = self.stop_wanted || self.all_ended();
        let kind = match (may_commit, stops, self.tick_due) {
            (false, true, _) => return Due::Abandon,
            (false, false, _) | (true, false, false) => return Due::Nothing,
            (true, true, _) => BarrierKind::Stop,
            (true, false, true) if self.next.0.is_multiple_of(self.checkpoint_every) => BarrierKind::Checkpoint,
            (true, false, true) => BarrierKind::Flush,
        };
        self.time = self.time.max(now);
        let barrier = Barrier { epoch: self.next, kind, time: self.time };
        self.next = Epoch(self.next.0 + 1);
        self.tick_due = false;
        self.stop_sent = kind == BarrierKind::Stop;
        self.on_its_way = Some(OnItsWay {
            barrier,
            holds_replay: caught_up,
            positions: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            tokens: BTreeMap::new(),
            n_reached: 0,
            n_committed: 0,
        });
        Due::Barrier(barrier)
    }

    fn expect(&mut self, epoch: Epoch) -> Result<&mut OnItsWay> {
        let on_its_way = self.on_its_way.as_mut().filter(|on_its_way| on_its_way.barrier.epoch == epoch);
        on_its_way.ok_or_else(|| Error::internal(format!("a task reports epoch {epoch}, which is not on its way")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::fixtures::options;

    fn epochs(checkpoint_every: u64, first_commit: FirstCommit) -> Epochs {
        let options = EngineOptions { checkpoint_every, first_commit, ..options(1) };
        Epochs::new(BTreeSet::from([0, 1]), 2, None, &options)
    }

    fn report(epochs: &mut Epochs, task: usize, news: News) -> Step {
        epochs.report(Report { task, news }).unwrap()
    }

    fn barrier(epoch: u64, kind: BarrierKind) -> Due {
        Due::Barrier(Barrier { epoch: Epoch(epoch), kind, time: EventTime(0) })
    }

    #[test]
    fn the_next_barrier_waits_for_the_commit_of_the_last() {
        let mut epochs = epochs(1, FirstCommit::Immediately);
        assert_eq!(epochs.due(EventTime(0)), Due::Nothing);
        epochs.tick();
        assert_eq!(epochs.due(EventTime(0)), barrier(1, BarrierKind::Checkpoint));
        epochs.tick();
        assert_eq!(epochs.due(EventTime(0)), Due::Nothing);
        let here = Position([("a".to_owned(), "1".to_owned())].into());
        assert_eq!(
            report(
                &mut epochs,
                0,
                News::Position(Epoch(1), SourcePosition { position: here.clone(), watermark: None })
            ),
            Step::Wait
        );
        assert_eq!(report(&mut epochs, 7, News::Reached(Epoch(1), None)), Step::Wait);
        assert_eq!(report(&mut epochs, 8, News::Reached(Epoch(1), None)), Step::Commit(Epoch(1)));
        assert_eq!(report(&mut epochs, 8, News::Committed(Epoch(1))), Step::Wait);
        assert_eq!(epochs.due(EventTime(0)), Due::Nothing);
        let committed = Step::Committed { epoch: Epoch(1), positions: [(0, here)].into(), holds_replay: false };
        assert_eq!(report(&mut epochs, 7, News::Committed(Epoch(1))), committed);
        assert_eq!(epochs.due(EventTime(0)), barrier(2, BarrierKind::Checkpoint), "the tick that came meanwhile");
    }

    #[test]
    fn a_commit_waits_for_every_snapshot_and_for_the_checkpoint_to_be_stored() {
        let options = options(1);
        let mut epochs = Epochs::new(BTreeSet::from([0]), 1, Some(2), &options);
        epochs.go_on_after(Epoch(41), EventTime(7));
        report(&mut epochs, 0, News::CaughtUp);
        epochs.tick();
        let Due::Barrier(barrier) = epochs.due(EventTime(0)) else { panic!("a barrier is due") };
        assert_eq!((barrier.epoch, barrier.time), (Epoch(42), EventTime(7)));
        let here = SourcePosition { position: Position::default(), watermark: Some(EventTime(5)) };
        assert_eq!(report(&mut epochs, 0, News::Position(Epoch(42), here.clone())), Step::Wait);
        assert_eq!(report(&mut epochs, 0, News::Snapshot(Epoch(42), Vec::new())), Step::Wait);
        assert_eq!(report(&mut epochs, 7, News::Reached(Epoch(42), Some(Prepared::default()))), Step::Wait);
        let collected = Collected {
            barrier,
            positions: [(0, here)].into(),
            snapshots: [(0, Vec::new()), (1, Vec::new())].into(),
            tokens: [(7, Prepared::default())].into(),
        };
        let stored = report(&mut epochs, 1, News::Snapshot(Epoch(42), Vec::new()));
        assert_eq!(stored, Step::Store(Box::new(collected)));
        assert_eq!(epochs.stored(Epoch(42)).unwrap(), Step::Commit(Epoch(42)));
        epochs.report(Report { task: 1, news: News::Failed(Error::data("torn")) }).unwrap_err();
    }

    #[test]
    fn a_flush_is_over_when_all_sinks_have_it() {
        let mut epochs = epochs(2, FirstCommit::Immediately);
        for (epoch, kind) in [(1, BarrierKind::Flush), (2, BarrierKind::Checkpoint)] {
            epochs.tick();
            assert_eq!(epochs.due(EventTime(0)), barrier(epoch, kind));
            report(&mut epochs, 7, News::Reached(Epoch(epoch), None));
            report(&mut epochs, 8, News::Reached(Epoch(epoch), None));
        }
    }

    #[test]
    fn stops_once_when_all_sources_have_ended() {
        let mut epochs = epochs(1, FirstCommit::Immediately);
        report(&mut epochs, 0, News::Ended);
        assert_eq!(epochs.due(EventTime(0)), Due::Nothing);
        report(&mut epochs, 1, News::Ended);
        assert_eq!(epochs.due(EventTime(0)), barrier(1, BarrierKind::Stop));
        for task in [7, 8] {
            report(&mut epochs, task, News::Reached(Epoch(1), None));
        }
        for task in [7, 8] {
            report(&mut epochs, task, News::Committed(Epoch(1)));
        }
        epochs.tick();
        epochs.stop();
        assert_eq!(epochs.due(EventTime(0)), Due::Nothing);
    }

    #[test]
    fn nothing_is_committed_before_all_sources_are_caught_up() {
        let mut epochs = epochs(1, FirstCommit::WhenCaughtUp);
        epochs.tick();
        assert_eq!(report(&mut epochs, 0, News::CaughtUp), Step::Wait);
        assert_eq!(epochs.due(EventTime(0)), Due::Nothing);
        assert_eq!(report(&mut epochs, 1, News::CaughtUp), Step::CaughtUp);
        assert_eq!(epochs.due(EventTime(0)), barrier(1, BarrierKind::Checkpoint));
    }

    #[test]
    fn a_stop_before_that_abandons_the_run() {
        let mut epochs = epochs(1, FirstCommit::WhenCaughtUp);
        report(&mut epochs, 0, News::CaughtUp);
        epochs.stop();
        assert_eq!(epochs.due(EventTime(0)), Due::Abandon);
    }

    #[test]
    fn a_report_about_another_epoch_is_our_own_fault() {
        let mut epochs = epochs(1, FirstCommit::Immediately);
        epochs.tick();
        epochs.due(EventTime(0));
        epochs.report(Report { task: 7, news: News::Reached(Epoch(2), None) }).unwrap_err();
    }

    #[test]
    fn the_time_of_an_epoch_never_falls() {
        let mut epochs = epochs(1, FirstCommit::Immediately);
        let mut time_of = |epoch, now| {
            epochs.tick();
            let Due::Barrier(barrier) = epochs.due(EventTime(now)) else { panic!("a barrier is due") };
            for task in [7, 8] {
                report(&mut epochs, task, News::Reached(Epoch(epoch), None));
            }
            for task in [7, 8] {
                report(&mut epochs, task, News::Committed(Epoch(epoch)));
            }
            barrier.time.0
        };
        assert_eq!([time_of(1, 10), time_of(2, 5), time_of(3, 12)], [10, 10, 12]);
    }
}
