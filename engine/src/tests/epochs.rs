//! Epochs as sinks and readers see them: consistent, in order, complete at the first commit, resumable.

use super::fixtures::{GraphBuilder, MemorySource, Step, Store, options, rows};
use crate::state::StateStore;
use crate::{FirstCommit, Outcome, StateOptions, start};
use headwater_core::{Epoch, Exchange};
use object_store::memory::InMemory;
use std::sync::Arc;
use std::time::Duration;

/// A batch of ten rows every 300 ms, for as long as it lasts.
fn drip(n_batches: i64) -> Vec<Step> {
    let step = |b: i64| [rows(b * 10..b * 10 + 10), Step::Pause(Duration::from_millis(300))];
    (0..n_batches).flat_map(step).collect()
}

#[tokio::test(start_paused = true)]
async fn two_sinks_of_one_source_see_the_same_epochs() {
    let (fast, slow) = (Store::default(), Store::default());
    slow.0.lock().unwrap().write_pause = Duration::from_millis(70);
    let mut graph = GraphBuilder::default();
    let source = graph.source("source", MemorySource::bounded(&[drip(10), drip(5)], 2), Some(0));
    let chain = graph.chain("chain", Vec::new(), 4);
    let first = graph.sink("first", &fast);
    let second = graph.sink("second", &slow);
    graph.connect(source, chain, Exchange::Hash(vec![0]));
    graph.connect(source, first, Exchange::Forward);
    graph.connect(chain, second, Exchange::Gather);
    start(graph.graph, options(2)).unwrap().join().await.unwrap();
    assert_eq!(fast.epochs(), slow.epochs());
    assert!(fast.epochs().len() >= 3, "the run takes three seconds: {:?}", fast.epochs());
    assert_eq!(fast.numbers().len(), 150);
}

#[tokio::test(start_paused = true)]
async fn sinks_commit_every_few_flushes() {
    let store = Store::default();
    let mut options = options(1);
    options.checkpoint_every = 2;
    let source = MemorySource::endless(&[drip(20)]);
    let handle = start(GraphBuilder::line(source, Vec::new(), &store), options).unwrap();
    let mut committed = handle.committed();
    committed.wait_for(|epoch| *epoch >= Some(Epoch(4))).await.unwrap();
    let epochs: Vec<u64> = store.0.lock().unwrap().committed.iter().map(|(epoch, _)| epoch.0).collect();
    assert_eq!(epochs, [2, 4]);
    handle.stop();
    assert_eq!(handle.join().await.unwrap().last_epoch, Some(Epoch(5)));
}

#[tokio::test(start_paused = true)]
async fn the_first_commit_holds_the_whole_replay() {
    let store = Store::default();
    let mut options = options(1);
    options.first_commit = FirstCommit::WhenCaughtUp;
    let mut script = drip(20);
    script.push(Step::Idle);
    script.extend([Step::Pause(Duration::from_secs(3)), rows(1_000..1_001)]);
    let handle = start(GraphBuilder::line(MemorySource::endless(&[script]), Vec::new(), &store), options).unwrap();
    assert!(handle.replayed().await);
    assert_eq!(store.epochs(), [(1, (0..200).collect())]);
    assert_eq!(store.0.lock().unwrap().committed.len(), 1);
    handle.stop();
    handle.join().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stop_before_the_first_commit_of_a_replay_leaves_nothing() {
    let store = Store::default();
    let mut options = options(1);
    options.first_commit = FirstCommit::WhenCaughtUp;
    let handle = start(GraphBuilder::line(MemorySource::endless(&[drip(20)]), Vec::new(), &store), options).unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    handle.stop();
    let report = handle.join().await.unwrap();
    assert_eq!((report.outcome, report.last_epoch), (Outcome::Abandoned, None));
    assert!(report.totals().source_rows > 0 && store.0.lock().unwrap().committed.is_empty());
    assert!(!handle.replayed().await, "and nobody waits for it any longer");
}

#[tokio::test(start_paused = true)]
async fn a_later_run_continues_where_the_last_commit_was_at_any_parallelism() {
    for parallelism in [2, 1, 3] {
        let (store, bucket) = (Store::default(), StateStore::new(Arc::new(InMemory::new()), "test"));
        let scripts = [drip(8), drip(8), drip(8)];
        let source = MemorySource::bounded(&scripts, 3);
        let mut first = options(2);
        first.state = Some(StateOptions::new(bucket.clone()));
        let handle = start(GraphBuilder::line(source.clone(), Vec::new(), &store), first).unwrap();
        handle.committed().wait_for(Option::is_some).await.unwrap();
        // Dropping the handle is the crash: what was not committed is read again.
        drop(handle);
        let mut later = options(parallelism);
        later.state = Some(StateOptions::latest(bucket).await.unwrap());
        let report = start(GraphBuilder::line(source, Vec::new(), &store), later).unwrap().join().await.unwrap();
        let mut expected: Vec<i64> = (0..80).flat_map(|n| [n, n, n]).collect();
        expected.sort_unstable();
        assert_eq!(store.numbers(), expected);
        assert_eq!(report.positions["source"].len(), parallelism);
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_cannot_be_resumed_just_now_lets_the_barrier_wait() {
    let store = Store::default();
    let mut options = options(1);
    options.state = Some(StateOptions::new(StateStore::new(Arc::new(InMemory::new()), "test")));
    let source = MemorySource::bounded(&[drip(20)], 1).unresumable_until(15);
    start(GraphBuilder::line(source, Vec::new(), &store), options).unwrap().join().await.unwrap();
    let epochs = store.epochs();
    // Two batches per step and three steps per second: the first commit has all of the first fifteen steps.
    assert!(epochs[0].1.len() >= 80, "{epochs:?}");
    assert_eq!(store.numbers(), (0..200).collect::<Vec<_>>());
}
