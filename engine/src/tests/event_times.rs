//! Event time through a whole pipeline: watermarks, idle partitions, rows that are ahead of the clock.

use super::fixtures::{GraphBuilder, MemorySource, Step, Store, options, rows, timed, watch_time};
use crate::start;
use headwater_core::{EventTime, Exchange, Reason, Watermark};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Runs a bounded source and returns the watermarks that the chain behind it saw.
async fn watermarks(partitions: &[Vec<Step>], parallelism: usize) -> Vec<Watermark> {
    watermarks_of(MemorySource::bounded(partitions, parallelism), parallelism).await
}

async fn watermarks_of(source: MemorySource, parallelism: usize) -> Vec<Watermark> {
    let (store, seen) = (Store::default(), Arc::default());
    let graph = GraphBuilder::line(source, vec![watch_time(&seen)], &store);
    start(graph, options(parallelism)).unwrap().join().await.unwrap();
    let seen: &Mutex<Vec<Watermark>> = &seen;
    seen.lock().unwrap().clone()
}

fn at(time: i64) -> Watermark {
    Watermark::At(EventTime(time))
}

const END: Watermark = Watermark::At(EventTime::MAX);

#[tokio::test(start_paused = true)]
async fn the_watermark_follows_the_rows_and_ends_with_everything() {
    assert_eq!(watermarks(&[vec![rows([5, 3]), rows([4]), rows([9])]], 1).await, [at(5), at(9), END]);
}

#[tokio::test(start_paused = true)]
async fn an_idle_partition_does_not_hold_the_watermark() {
    // Partition 1 says 2 and then nothing for longer than the idle timeout, while partition 0 goes on.
    let second = Step::Pause(Duration::from_secs(1));
    let busy: Vec<Step> = (0..8).flat_map(|n| [rows([10 + n]), second.clone()]).collect();
    let seen = watermarks(&[vec![rows([2])], busy], 1).await;
    assert_eq!(seen[0], at(2), "{seen:?}");
    assert!(matches!(seen[1], Watermark::At(EventTime(14..=16))), "after five seconds: {seen:?}");
    assert_eq!(seen.last(), Some(&END));
}

#[tokio::test(start_paused = true)]
async fn a_source_with_unread_older_input_holds_its_watermark_and_is_not_idle() {
    let pause = Step::Pause(Duration::from_secs(60));
    let partitions = [vec![rows([7]), rows([8])], vec![rows([2]), pause, rows([9])]];
    let seen = watermarks_of(MemorySource::bounded(&partitions, 1), 1).await;
    assert_eq!(seen[0], at(7), "the older partition has not begun: {seen:?}");
    let seen = watermarks_of(MemorySource::bounded(&partitions, 1).holding(), 1).await;
    assert_eq!(seen[0], at(2), "{seen:?}");
    let waits = [vec![Step::Pause(Duration::from_secs(60)), rows([2])]];
    let seen = watermarks_of(MemorySource::bounded(&waits, 1), 1).await;
    assert_eq!(seen, [Watermark::Idle, at(i64::MIN), at(2), END]);
    let late_start = [vec![rows([5]), Step::Pause(Duration::from_secs(60)), rows([6])], vec![]];
    let seen = watermarks_of(MemorySource::bounded(&late_start, 1).holding(), 1).await;
    assert_eq!(seen, [END], "the second partition never begins");
}

#[tokio::test(start_paused = true)]
async fn a_source_without_rows_is_idle_and_wakes_again() {
    let pause = Step::Pause(Duration::from_secs(8));
    let seen = watermarks(&[vec![rows([5]), pause.clone(), rows([7]), pause]], 1).await;
    assert_eq!(seen, [at(5), Watermark::Idle, at(5), at(7), Watermark::Idle, END]);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_waits_for_a_slow_sink_is_not_idle() {
    let (store, seen) = (Store::default(), Arc::default());
    store.0.lock().unwrap().write_pause = Duration::from_secs(60);
    let source = MemorySource::bounded(&[(0..6).map(|n| rows([n])).collect()], 1);
    let mut options = options(1);
    options.channel_rows_max = 1;
    start(GraphBuilder::line(source, vec![watch_time(&seen)], &store), options).unwrap().join().await.unwrap();
    let seen: &Mutex<Vec<Watermark>> = &seen;
    assert!(!seen.lock().unwrap().contains(&Watermark::Idle), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn rows_ahead_of_the_clock_are_dead_letters_and_move_nothing() {
    let letters = Store::default();
    let store = Store::default();
    let seen = Arc::default();
    // The clock stands at one second; an hour later is still allowed, a nanosecond more is not.
    let limit = EventTime::SECOND * 3_601;
    let script = vec![rows([1]), Step::Rows(timed(&[(2, Some(limit + 1)), (3, Some(3))])), rows([limit])];
    let mut graph = GraphBuilder::line(MemorySource::bounded(&[script], 1), vec![watch_time(&seen)], &store);
    graph.dead_letters = Some(Arc::new(letters.clone()));
    let report = start(graph, options(1)).unwrap().join().await.unwrap();
    let seen: &Mutex<Vec<Watermark>> = &seen;
    assert_eq!(*seen.lock().unwrap(), [at(1), at(3), at(limit), END]);
    assert_eq!(letters.texts("reason"), [Reason::Ahead.code()]);
    assert_eq!(store.numbers(), [1, 3, limit]);
    assert_eq!(report.totals().source_rows, report.totals().sink_rows + report.totals().dead_letters);
}

#[tokio::test(start_paused = true)]
async fn a_stop_closes_no_window() {
    let (store, seen) = (Store::default(), Arc::default());
    let source = MemorySource::endless(&[vec![rows([5])]]);
    let handle = start(GraphBuilder::line(source, vec![watch_time(&seen)], &store), options(1)).unwrap();
    assert!(handle.caught_up().await);
    handle.stop();
    handle.join().await.unwrap();
    let seen: &Mutex<Vec<Watermark>> = &seen;
    assert_eq!(*seen.lock().unwrap(), [at(5)]);
}

#[tokio::test(start_paused = true)]
async fn a_source_without_event_time_promises_nothing_until_it_ends() {
    let (store, seen) = (Store::default(), Arc::default());
    let mut graph = GraphBuilder::default();
    let pause = Step::Pause(Duration::from_secs(20));
    let source = graph.source("source", MemorySource::bounded(&[vec![rows([5]), pause]], 1), None);
    let chain = graph.chain("chain", vec![watch_time(&seen)], 1);
    let sink = graph.sink("sink", &store);
    graph.connect(source, chain, Exchange::Forward);
    graph.connect(chain, sink, Exchange::Forward);
    start(graph.graph, options(1)).unwrap().join().await.unwrap();
    let seen: &Mutex<Vec<Watermark>> = &seen;
    assert_eq!(*seen.lock().unwrap(), [END]);
}
