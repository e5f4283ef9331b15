//! Bounded and stopped runs: every row arrives exactly once, whatever the parallelism, and the books are balanced.

use super::fixtures::{GraphBuilder, MemorySource, Step, Store, each, letter, options, rows, timed};
use crate::{Outcome, start};
use headwater_core::{Batch, Counter, ErrorKind, Exchange, Graph, Reason};
use std::sync::Arc;
use std::time::Duration;

fn scripts(n_partitions: i64, n_batches: i64, n_rows: i64) -> Vec<Vec<Step>> {
    let batch = |p: i64, b: i64| rows((0..n_rows).map(move |n| (p * n_batches + b) * n_rows + n));
    (0..n_partitions).map(|p| (0..n_batches).map(|b| batch(p, b)).collect()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_bounded_run_ends_with_all_rows_at_any_parallelism() {
    for parallelism in [1, 2, 4, 7] {
        let store = Store::default();
        let source = MemorySource::bounded(&scripts(5, 4, 50), 3);
        let handle = start(GraphBuilder::line(source, Vec::new(), &store), options(parallelism)).unwrap();
        let report = handle.join().await.unwrap();
        assert_eq!(store.numbers(), (0..1_000).collect::<Vec<_>>(), "parallelism {parallelism}");
        assert_eq!(report.outcome, Outcome::Finished);
        assert_eq!((report.totals().source_rows, report.totals().sink_rows), (1_000, 1_000));
        assert_eq!(report.node("chain").unwrap().parallelism, parallelism);
        assert_eq!(report.node("source").unwrap().parallelism, parallelism.min(3));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_on_several_threads() {
    for parallelism in [1, 2, 4] {
        let store = Store::default();
        let source = MemorySource::bounded(&scripts(8, 20, 100), 8);
        let mut options = options(parallelism);
        options.channel_rows_max = 150;
        options.flush_interval = Duration::from_millis(1);
        let handle = start(GraphBuilder::line(source, Vec::new(), &store), options).unwrap();
        handle.join().await.unwrap();
        assert_eq!(store.numbers(), (0..16_000).collect::<Vec<_>>());
    }
}

/// Two sources into both inputs of one chain, and from there into two sinks.
fn diamond(store: &Store) -> Graph {
    let mut graph = GraphBuilder::default();
    let left = graph.source("left", MemorySource::bounded(&scripts(4, 3, 10), 4), Some(0));
    let right = graph.source("right", MemorySource::bounded(&scripts(1, 3, 10), 1), None);
    let number_of_input = each(|input, batch, out| {
        out.emit(batch);
        out.count(if input == 0 { Counter::Duplicates } else { Counter::Corrections }, 1);
        Ok(())
    });
    let both = graph.chain("both", vec![number_of_input], 4);
    let narrow = graph.chain("narrow", Vec::new(), 1);
    let sink = graph.sink("sink", store);
    graph.connect_input(left, both, 0, Exchange::Hash(vec![0]));
    graph.connect_input(right, both, 1, Exchange::Forward);
    graph.connect(both, narrow, Exchange::Gather);
    graph.connect(narrow, sink, Exchange::Forward);
    graph.connect(both, sink, Exchange::Forward);
    graph.graph
}

#[tokio::test(start_paused = true)]
async fn several_inputs_and_outputs_meet_at_any_parallelism() {
    for parallelism in [1, 2, 4] {
        let store = Store::default();
        let report = start(diamond(&store), options(parallelism)).unwrap().join().await.unwrap();
        let mut expected: Vec<i64> = (0..120).chain(0..30).flat_map(|n| [n, n]).collect();
        expected.sort_unstable();
        assert_eq!(store.numbers(), expected);
        assert_eq!(report.totals().corrections, 3, "the batches of the second input are known as such");
    }
}

#[tokio::test(start_paused = true)]
async fn batches_are_cut_to_size_on_their_way() {
    let store = Store::default();
    let source = MemorySource::bounded(&scripts(1, 1, 10), 1);
    let thrice = each(|_, batch: Batch, out| {
        out.emit(Batch::concat(&batch.schema(), &[batch.clone(), batch.clone(), batch])?);
        Ok(())
    });
    let mut options = options(1);
    options.batch_rows_max = 12;
    start(GraphBuilder::line(source, vec![thrice], &store), options).unwrap().join().await.unwrap();
    let stored = store.0.lock().unwrap();
    let sizes: Vec<usize> = stored.committed.iter().flat_map(|(_, batches)| batches).map(|b| b.num_rows()).collect();
    assert_eq!(sizes, [12, 12, 6]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_drains_and_commits_what_was_read() {
    let store = Store::default();
    let source = MemorySource::endless(&[vec![rows(0..10), rows(10..20)]]);
    let handle = start(GraphBuilder::line(source, Vec::new(), &store), options(2)).unwrap();
    assert!(handle.caught_up().await);
    handle.stop();
    let report = handle.join().await.unwrap();
    assert_eq!(report.outcome, Outcome::Stopped);
    assert_eq!(store.numbers(), (0..20).collect::<Vec<_>>());
    assert_eq!(handle.join().await.unwrap().last_epoch, report.last_epoch, "joining again gives the same");
}

#[tokio::test(start_paused = true)]
async fn letters_of_sources_and_operators_reach_their_sink_and_the_books_are_balanced() {
    let (store, letters) = (Store::default(), Store::default());
    let script = vec![rows(0..3), Step::Letter("x"), Step::Rows(timed(&[(3, None)])), Step::Letter("y")];
    let refuse_two = each(|_, batch: Batch, out| {
        let late = headwater_core::DeadLetter { reason: Reason::Late, ..letter("two") };
        if super::fixtures::values(&batch.rows).contains(&2) {
            out.dead_letter(late);
            out.emit(batch.slice(0, 2));
        }
        Ok(())
    });
    let mut graph = GraphBuilder::line(MemorySource::bounded(&[script], 1), vec![refuse_two], &store);
    graph.dead_letters = Some(Arc::new(letters.clone()));
    let report = start(graph, options(1)).unwrap().join().await.unwrap();
    let mut seen: Vec<_> = letters.texts("reason").into_iter().zip(letters.texts("payload")).collect();
    seen.sort();
    let expected = [("late", "two"), ("missing_field", r#"{"n":3}"#), ("undecodable", "x"), ("undecodable", "y")];
    assert_eq!(seen, expected.map(|(reason, payload)| (reason.to_owned(), payload.to_owned())));
    let totals = report.totals();
    assert_eq!(totals.source_rows, totals.sink_rows + totals.dead_letters);
    assert_eq!((totals.source_rows, totals.dead_letters, totals.late), (6, 4, 1));
    assert_eq!(report.dead_letters, [(Reason::Undecodable, 2), (Reason::MissingField, 1), (Reason::Late, 1)]);
    assert!(report.dead_letters_kept.is_empty());
}

#[tokio::test(start_paused = true)]
async fn without_a_sink_the_first_letters_are_kept_in_memory() {
    let store = Store::default();
    let source = MemorySource::bounded(&[vec![Step::Letter("x"), Step::Letter("y")]], 1);
    let report = start(GraphBuilder::line(source, Vec::new(), &store), options(1)).unwrap().join().await.unwrap();
    assert_eq!(report.dead_letters_kept.iter().map(arrow::array::RecordBatch::num_rows).sum::<usize>(), 2);
    assert_eq!(report.totals().dead_letters, 2);
}

#[tokio::test(start_paused = true)]
async fn a_slow_sink_bounds_the_rows_in_flight() {
    let store = Store::default();
    store.0.lock().unwrap().write_pause = Duration::from_secs(1);
    let source = MemorySource::bounded(&scripts(1, 200, 10), 1);
    let mut options = options(1);
    options.channel_rows_max = 30;
    let handle = start(GraphBuilder::line(source, Vec::new(), &store), options).unwrap();
    let mut most_in_flight = 0;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let read = usize::try_from(handle.report().totals().source_rows).unwrap();
        most_in_flight = most_in_flight.max(read - store.0.lock().unwrap().n_written);
    }
    // Two channels of 30 rows, and a batch of 10 in each of the three tasks.
    assert!((30..=90).contains(&most_in_flight), "{most_in_flight} rows in flight");
    handle.join().await.unwrap();
    assert_eq!(store.numbers().len(), 2_000);
}

#[tokio::test]
async fn what_cannot_run_is_refused_at_once() {
    let empty = start(Graph::default(), options(1)).unwrap_err();
    assert_eq!(empty.to_string(), "pipeline test: there is nothing to run: the graph is empty");
    let line = GraphBuilder::line(MemorySource::bounded(&[], 1), Vec::new(), &Store::default());
    let error = start(line, options(0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let mut loose = GraphBuilder::default();
    loose.sink("sink", &Store::default());
    assert_eq!(start(loose.graph, options(1)).unwrap_err().kind(), ErrorKind::Internal);
}
